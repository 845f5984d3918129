"""What the files of the table have in common: in which dtype VJPs and formulas compute.

An operand may be a list, or of another dtype than the result: an integer, or a shorter float. A VJP
that computes with more than products and sums converts it first, ``wide(as_in(out, as_array(x)))``.
"""

from __future__ import annotations

import numpy as np

from ..kinds import ArrayLike, Value
from ..recorded import to_array


def as_array(value: ArrayLike) -> Value:
    """Make lists and numbers arrays; leave tensors, and arrays of any library, as they are."""
    return value if hasattr(value, "__array_function__") else to_array(value)


def as_in(out: Value, x: Value) -> Value:
    """Convert an operand to the dtype of a ufunc's result, in which the ufunc computed."""
    return x.astype(out.dtype) if hasattr(x, "dtype") and x.dtype != out.dtype else x


def wide(x: Value) -> Value:
    """Convert float16 to float32, where counts, sums and powers leave float16's range.

    The engine converts cotangents back.
    """
    return x.astype(np.float32) if x.dtype == np.float16 else x
