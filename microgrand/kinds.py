"""Names for the kinds of values that functions take and return: type hints, and sets of classes."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any, TypeAlias

import numpy as np

#: A NumPy array or scalar, or an array of another library that speaks NumPy's protocols.
Array: TypeAlias = Any
#: An array or a tensor: VJPs and formulas run on both.
Value: TypeAlias = Any
#: What NumPy makes an array of: an array, a tensor, a number, a nested list.
ArrayLike: TypeAlias = Any
#: One value, or several in a list, a tuple or a named tuple: what NumPy functions return.
Values: TypeAlias = Any
#: A value, or values nested in dicts, lists and tuples.
Tree: TypeAlias = Any
#: A function of values: NumPy's, a primitive, or one composed of them.
Function: TypeAlias = Callable[..., Any]
#: What NumPy takes for a dtype: a dtype, a scalar class, a name, None for its own choice.
DTypeLike: TypeAlias = Any
#: What NumPy is told by keyword and only passed on: a mode, a norm, the name of a method.
Option: TypeAlias = Any
#: What may stand in the brackets of an array: numbers, slices, arrays, or a tuple of them.
Index: TypeAlias = Any
#: A boolean array, True where something is kept; for Gaussian dropout, an array of factors.
Mask: TypeAlias = Any
#: The lengths of an array's axes.
Shape: TypeAlias = tuple[int, ...]
#: The number of an axis, or several in a tuple, or None for all.
Axis: TypeAlias = Any

#: The classes of NumPy's arrays and scalars, and those of its floats and complex numbers.
NUMPY_CLASSES = frozenset([np.ndarray, *np.sctypeDict.values()])
FLOAT_CLASSES = frozenset(np.dtype(code).type for code in np.typecodes["AllFloat"])
#: The classes of most arguments that neither are tensors nor hold any.
PLAIN_CLASSES = NUMPY_CLASSES | {bool, int, float, complex, NoneType}
