"""Type hints: names for the kinds of values that functions take and return."""

from __future__ import annotations

from typing import Any, TypeAlias

#: A NumPy array or scalar, or an array of another library that speaks NumPy's protocols.
Array: TypeAlias = Any
#: An array or a tensor: VJPs and formulas run on both.
Value: TypeAlias = Any
#: What NumPy makes an array of: an array, a tensor, a number, a nested list.
ArrayLike: TypeAlias = Any
#: A boolean array, True where something is kept; for Gaussian dropout, an array of factors.
Mask: TypeAlias = Any
#: The lengths of an array's axes.
Shape: TypeAlias = tuple[int, ...]
#: The number of an axis, or several in a tuple, or None for all.
Axis: TypeAlias = Any
