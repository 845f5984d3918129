"""What the library asks of values that `compile` traces.

`compile` traces a function: it runs it once on values that write down each NumPy call made with
them. Code that needs the numbers themselves, or an array of them, asks here. A traced value answers
by a method of its own; for any other, the answer is what NumPy's own function gives.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .kinds import NUMPY_CLASSES, Array, ArrayLike, DTypeLike, Function, Value


def is_traced(value: Any) -> bool:
    """Tell whether `value` is one traced by `compile`."""
    return hasattr(value, "looked_at")


def look(value: Value) -> Array:
    """Return the numbers themselves, for code that branches on them or raises."""
    if type(value) in NUMPY_CLASSES:
        return value
    array = value._array if hasattr(type(value), "_array") else value  # of a tensor
    return array.looked_at() if is_traced(array) else array


def may_be(condition: Any) -> bool:
    """Tell whether a condition holds, or may hold in a later run of what is being traced."""
    return is_traced(condition) or bool(condition)


def is_view(x: Value) -> bool:
    """Tell whether an array's memory is that of another one."""
    return x.traced_is_view() if is_traced(x) else getattr(x, "base", None) is not None


def to_array(x: ArrayLike, dtype: DTypeLike = None) -> Array:
    """Make an array of a number or a list, as `numpy.asarray` does."""
    return x.traced_as_array(dtype) if is_traced(x) else np.asarray(x, dtype)


def in_one_call(function: Function) -> Function:
    """Trace a function that looks at many values as one call; a decorator."""

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        for arg in args:
            if is_traced(arg):
                return arg.traced_call(function, args)
        return function(*args)

    return called
