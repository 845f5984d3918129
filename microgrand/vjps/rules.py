"""What the files of the table have in common: the dtypes that VJPs compute in."""

from __future__ import annotations

import numpy as np

from ..kinds import ArrayLike, Value
from ..recorded import asarray


def as_array(value: ArrayLike) -> Value:
    """Make lists and numbers arrays; leave tensors and arrays as they are."""
    return value if hasattr(value, "__array_function__") else asarray(value)


def as_in(out: Value, x: Value) -> Value:
    """Convert an operand to the dtype that a ufunc computed its result in."""
    return x.astype(out.dtype) if hasattr(x, "dtype") and x.dtype != out.dtype else x


def wide(x: Value) -> Value:
    """Convert float16 to float32, so that counts and sums neither overflow nor saturate."""
    return x.astype(np.float32) if x.dtype == np.float16 else x
