"""The refusals of the pictures: what cannot be drawn, and packages that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..engine import Node
from ..nn.module import Module
from ..program.compiled import Compiled


def check_output(output: Any) -> None:
    """Raise if there is no graph to draw."""
    if not isinstance(output, Node):
        raise TypeError(
            f"expected a tensor, such as a loss, got {type(output).__name__}: the picture is of "
            "the graph that computed it"
        )
    if output.primitive is None:
        raise ValueError(
            "this tensor was not computed by recorded operations, so it has no graph: nothing it "
            "was computed from requires a gradient, or it was computed under no_grad()"
        )
    if not isinstance(output._array, (np.ndarray, np.generic)):
        raise TypeError(
            f"pictures are made of NumPy arrays, and this graph holds {type(output._array)}"
        )


def check_is_not_freed(node: Node) -> None:
    """Raise if backward() has freed the graph."""
    if node.args is None:
        raise ValueError(
            "the graph has been freed by backward(): draw it before, or call "
            "backward(retain_graph=True)"
        )


def check_model(model: Any) -> None:
    """Raise if names are to come from something that is not a module."""
    if not isinstance(model, Module):
        raise TypeError(f"model must be a Module, got {type(model).__name__}")


def check_names(names: Any) -> None:
    """Raise if names do not stand for tensors or arrays of numbers."""
    if not isinstance(names, Mapping):
        raise TypeError(f'names must be a dict such as {{"x": x}}, got {type(names).__name__}')
    for name, value in names.items():
        if not isinstance(value, Node) and np.asarray(value).dtype.kind not in "biufc":
            raise TypeError(
                f"names must be of tensors or arrays of numbers, got {type(value).__name__} for "
                f"{name!r}"
            )


def check_is_list(names: Any) -> None:
    """Raise if it is not several layers that are to be folded."""
    if isinstance(names, str):
        raise TypeError(f"fold takes a list of names, got {names!r}: write [{names!r}]")
    if not isinstance(names, Iterable):
        raise TypeError(f"fold takes True, False or a list of names, got {names!r}")


def check_layers(names: Iterable[str], layers: Sequence[str]) -> None:
    """Raise if a layer is to be folded or opened that is not in the picture."""
    for name in names:
        if name not in layers:
            known = ", ".join(layers) or "none: give graph() the model, whose layers give names"
            raise ValueError(f"there is no layer {name!r} in this picture; there are {known}")


def check_is_scalar(loss: Any) -> None:
    """Raise if a backward pass cannot begin here."""
    if loss.size != 1 or loss.dtype.kind != "f":
        raise ValueError(
            f"the stepper plays the backward pass of a scalar, got a tensor of shape {loss.shape} "
            f"and dtype {loss.dtype}: reduce it with .sum() or .mean()"
        )


def check_has_few_values(number: int, most: int) -> None:
    """Raise if a page would be too long to be played."""
    if number > most:
        raise ValueError(
            f"the graph has {number} values, and a stepper of more than {most} is no longer "
            "followed: step through a smaller net or fewer examples, or draw it with graph()"
        )


def check_compiled(compiled: Any) -> None:
    """Raise if it is not a compiled function."""
    if not isinstance(compiled, Compiled):
        raise TypeError(
            f"expected a function made by microgrand.compile, got {type(compiled).__name__}"
        )


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise if the name of a file does not tell a format that there is."""
    if path.suffix not in suffixes:
        raise ValueError(f"expected a file name that ends with {', '.join(suffixes)}, got {path}")


def import_igraph() -> ModuleType:
    """Return the package that lays graphs out, or say how to get it."""
    try:
        import igraph
    except ImportError as error:
        raise ImportError(
            "microgrand.visual lays graphs out with igraph: pip install 'microgrand[visual]'"
        ) from error
    return igraph
