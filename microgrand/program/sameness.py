"""Which of Python's values a program compares before a run, and when two values are the same."""

from __future__ import annotations

import enum
import types
from typing import Any

import numpy as np

from .devices import is_on_device, same_bytes
from .recording import is_recorded

#: What is compared: all but floats, which each run may be given with other values.
STATIC = (bool, int, str, bytes, complex, types.NoneType, np.generic, np.dtype)
STATIC_OR_FLOAT = (*STATIC, float)


def is_static(value: Any) -> bool:
    """Tell whether all values in a nest can be compared: no arrays, and no state."""
    if isinstance(value, dict):
        return all(map(is_static, value.values()))
    if type(value) is tuple:
        return all(map(is_static, value))
    callables = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    is_known = isinstance(value, (*STATIC_OR_FLOAT, enum.Enum, *callables))
    return is_known and not is_recorded(value)


def all_static(values: Any) -> bool:
    """Tell whether there are only numbers, strings and the like."""
    return all(isinstance(item, STATIC_OR_FLOAT) for item in values)


def same_static(a: Any, b: Any) -> bool:
    """Tell whether two numbers, strings or tuples are the same, down to the sign of zero."""
    if a is b or type(a) is not type(b):
        return a is b
    if type(a) is tuple:
        return len(a) == len(b) and all(map(same_static, a, b))
    is_zero = isinstance(a, (float, complex, np.inexact)) and a == 0
    return bool(a == b) and (not is_zero or str(a) == str(b))


def same_whole(a: Any, b: Any) -> bool:
    """Tell whether a long container is what it was; loops depend on the order of a dict."""
    return bool(a == b) and (not isinstance(a, dict) or [*a] == [*b])


def same_bits(x: Any, y: Any) -> bool:
    """Tell whether two arrays or numbers are the same to the bit, and lie in memory alike."""
    on_device = is_on_device(x)
    x, y = (x, y) if on_device else (np.asarray(x), np.asarray(y))
    same_kind = x.shape == y.shape and x.dtype == y.dtype and x.strides == y.strides
    if on_device:
        return same_kind and same_bytes(x, y)
    if x.dtype.hasobject:
        return same_kind and all(map(same_object, x.ravel().tolist(), y.ravel().tolist()))
    padded = x.dtype.char in "gG"  # the bytes between long doubles mean nothing
    same_numbers = padded and np.array_equal(x, y, equal_nan=True)
    return same_kind and bool(x.tobytes() == y.tobytes() or same_numbers)


def same_object(x: Any, y: Any) -> bool:
    """Tell whether two elements of arrays of objects are identical or equal."""
    return x is y or (type(x) is type(y) and bool(np.all(x == y)))


def same_constant(a: Any, b: Any) -> bool:
    """Tell whether two constants of a program are the same, to the bit."""
    return type(a) is type(b) and same_bits(a, b)


def same_value(a: Any, b: Any) -> bool:
    """Tell whether a program has computed what eager code has."""
    numbers = (np.ndarray, np.generic, float)
    if isinstance(a, numbers) and isinstance(b, numbers):
        can_be_nan = all(np.asarray(x).dtype.kind in "fc" for x in (a, b))
        return same_bits(a, b) or bool(np.array_equal(a, b, equal_nan=can_be_nan))
    return same_static(a, b) if isinstance(b, STATIC) else a is b or type(a) is type(b)
