"""What the files of the table have in common: the dtypes that VJPs compute in."""

from __future__ import annotations

import numpy as np

from .. import dispatch
from ..kinds import Array, ArrayLike, Axis, Function, Value


def as_array(value: ArrayLike, beside: ArrayLike = None) -> Value:
    """Make lists and numbers arrays, where `beside` is; leave tensors and arrays as they are."""
    if hasattr(value, "__array_function__"):
        return value
    array = dispatch.as_array(value)
    library = dispatch.library_of(beside)
    return array if library is None else np.asarray(array, like=library)


def as_in(out: Value, x: Value) -> Value:
    """Convert an operand to the dtype that a ufunc computed its result in."""
    return x.astype(out.dtype) if hasattr(x, "dtype") and x.dtype != out.dtype else x


def wide(x: Value) -> Value:
    """Convert float16 to float32, so that counts and sums neither overflow nor saturate."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


def extreme(function: Function, x: Array, axis: Axis, none: float, keepdims: bool = True) -> Array:
    """Return a maximum or minimum, or `none` of no numbers: not every library has ``initial=``."""
    if x.size:
        return function(x, axis=axis, keepdims=keepdims)
    return np.sum(x, axis=axis, keepdims=keepdims) + none
