"""What the files of the table have in common: how a NumPy function gets a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import stand_ins


def stands_in_for(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what is called on tensors instead of NumPy functions; a decorator.

    A function that NumPy 2.0 did not have yet is given by its name.
    """

    def register(stand_in: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            if not isinstance(function, str):
                stand_ins[function] = stand_in
            elif hasattr(np, function):
                stand_ins[getattr(np, function)] = stand_in
        return stand_in

    return register


def as_array(value: Any) -> Any:
    """Make lists and numbers arrays; leave tensors and arrays as they are."""
    return value if hasattr(value, "__array_function__") else np.asarray(value)
