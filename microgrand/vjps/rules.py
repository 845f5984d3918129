"""What the files of the table have in common: in which dtype VJPs and formulas compute.

An operand may be a list, or of another dtype than the result: an integer, or a shorter float. A VJP
that computes with more than products and sums converts it first, ``wide(as_in(out, as_array(x)))``.
"""

from __future__ import annotations

import numpy as np

from ..dispatch import library_of
from ..kinds import Array, ArrayLike, Axis, DTypeLike, Function, Shape, Value
from ..traced import to_array


def as_array(value: ArrayLike, beside: ArrayLike = None) -> Value:
    """Make lists and numbers arrays of the library of `beside`; return other values as they are."""
    if hasattr(value, "__array_function__"):
        return value
    array = to_array(value)
    library = library_of(beside)
    return array if library is None else np.asarray(array, like=library)


def as_arrays(*values: ArrayLike) -> list[Value]:
    """Make lists and numbers arrays of the library that the other values are of."""
    beside = library_of(*values)
    return [as_array(value, beside) for value in values]


def filled(shape: Shape | int, value: float, dtype: DTypeLike, beside: ArrayLike) -> Array:
    """Return an array of one number, in the library of `beside`.

    CuPy takes no ``like=`` of `numpy.full` and `numpy.ones`, but that of `numpy.zeros`.
    """
    return np.zeros(shape, dtype, like=library_of(beside)) + value


def identity(n: int, dtype: DTypeLike, beside: ArrayLike) -> Array:
    """Return the identity matrix, in the library of `beside`."""
    numbers = np.arange(n, like=library_of(beside))
    return np.equal(numbers[:, None], numbers).astype(dtype)


def as_in(out: Value, x: Value) -> Value:
    """Convert an operand to the dtype of a ufunc's result, in which the ufunc computed."""
    return x.astype(out.dtype) if hasattr(x, "dtype") and x.dtype != out.dtype else x


def wide(x: Value) -> Value:
    """Convert float16 to float32, where counts, sums and powers leave float16's range.

    The engine converts cotangents back.
    """
    return x.astype(np.float32) if x.dtype == np.float16 else x


def extreme(
    function: Function, x: Array, axis: Axis, default: float, keepdims: bool = True
) -> Array:
    """Return a maximum or minimum, or `default` of no numbers: some libraries lack ``initial=``."""
    if x.size:
        return function(x, axis=axis, keepdims=keepdims)
    return np.sum(x, axis=axis, keepdims=keepdims) + default
