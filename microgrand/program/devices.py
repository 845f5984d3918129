"""Arrays of a device, as CuPy's: NumPy's protocols are enough to trace them, and to run programs.

Their library is asked by NumPy's own functions, ``np.add(x, y)`` or ``np.zeros(3, like=x)``: a
program for them is the same list of calls. It reuses no memory, as a device's library keeps a pool
of it, and lowers nothing to what only NumPy's arrays can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Node
from ..kinds import PLAIN_CLASSES
from .functions import ARRAYS

#: How generators draw, NumPy's and others.
DRAWS = ("random", "integers", "standard_normal")


def is_on_device(value: Any) -> bool:
    """Tell whether a value is an array of another library, which lies in memory as NumPy's do."""
    kind = value.__class__
    if kind in PLAIN_CLASSES:  # most values are such
        return False
    speaks = hasattr(kind, "__array_function__") and hasattr(kind, "__array_ufunc__")
    if not speaks or issubclass(kind, (np.ndarray, Node)):
        return False
    return all(hasattr(value, fact) for fact in ("shape", "dtype", "strides"))


def is_array(value: Any) -> bool:
    """Tell whether a value is an array, NumPy's or a device's."""
    return isinstance(value, np.ndarray) or is_on_device(value)


def is_plain_array(value: Any) -> bool:
    """Tell whether a value is an array that can be traced, but is not a recorded one."""
    kind = type(value)
    return kind in ARRAYS or (kind is value.__class__ and is_on_device(value))


def share_memory(x: Any, y: Any) -> bool:
    """Tell whether an array of a device that was just made is a view of another one."""
    return type(x) is type(y) and bool(np.may_share_memory(x, y))


def same_bytes(x: Any, y: Any) -> bool:
    """Compare two arrays of one shape and dtype on their device."""
    return bool(np.all(np.ravel(x).view(np.uint8) == np.ravel(y).view(np.uint8)))


def is_devices_generator(value: Any) -> bool:
    """Tell whether a value is a generator like NumPy's, but of a device."""
    kind = type(value)
    return (
        all(hasattr(kind, name) for name in DRAWS)
        and not issubclass(kind, np.random.Generator)
        and hasattr(value, "bit_generator")
    )
