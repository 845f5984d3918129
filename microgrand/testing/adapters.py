"""What a gradient check needs to know of a framework, for microgrand and for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import backpropagate
from ..tensor import Tensor, unwrap

Array = NDArray[Any]


@dataclass(frozen=True)
class Adapter:
    """What `gradcheck` needs to know of a framework; by default it is microgrand.

    Parameters
    ----------
    tensor
        Makes a tensor from an array, one whose gradient can be asked for.
    array
        Gives the values of a tensor as an array.
    gradients
        Called as ``gradients(outputs, cotangents, leaves, create_graph)``, all sequences of
        tensors: runs backward from the outputs, and returns for each leaf its gradient, or None
        where none arrives. With `create_graph` (for ``order=2`` only) the gradients are tensors
        that can be differentiated again; otherwise arrays or lists will do.
    """

    tensor: Callable[[Array], Any]
    array: Callable[[Any], Any]
    gradients: Callable[[Sequence[Any], Sequence[Any], Sequence[Any], bool], Sequence[Any]]


def gradients(
    outputs: Sequence[Any], cotangents: Sequence[Any], leaves: Sequence[Any], create_graph: bool
) -> list[Any]:
    """Run microgrand's backward pass; other tensors that `fn` uses keep their ``grad``."""
    totals: dict[Any, Any] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if isinstance(output, Tensor) and output.requires_grad:
            start = cotangent if create_graph else cotangent.data
            found = backpropagate(output, start, set(leaves), create_graph, retain_graph=True)
            for leaf, g in found.items():
                totals[leaf] = totals[leaf] + g if leaf in totals else g
    return [totals.get(leaf) for leaf in leaves]


MICROGRAND = Adapter(
    tensor=lambda array: Tensor(array, requires_grad=True),
    array=lambda value: np.asarray(unwrap(value)),
    gradients=gradients,
)
