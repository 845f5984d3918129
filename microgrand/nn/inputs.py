"""What layers and losses take for input: a tensor, or what can be made one."""

from __future__ import annotations

from typing import Any

from ..kinds import ArrayLike, DTypeLike
from ..tensor import Tensor
from . import checks


def as_tensor(x: ArrayLike, dtype: DTypeLike = None, kinds: str = "f") -> Tensor:
    """Make `x` a tensor of a dtype whose kind is allowed, and convert it to `dtype` if given."""
    tensor = x if isinstance(x, Tensor) else Tensor(x)
    given = tensor._array.dtype
    if dtype is None:
        checks.check_float(given, kinds)
    elif given != dtype:
        checks.check_float(given, kinds)
        return cast_to(tensor, dtype)
    return tensor


def cast_to(x: Tensor, dtype: DTypeLike) -> Tensor:
    """Convert a tensor's dtype, also from integers and booleans, which have no graph."""
    return x.astype(dtype) if x.dtype.kind == "f" else Tensor(x.data, dtype=dtype)


def hashable(*options: Any) -> list[Any]:
    """Make tuples of lists."""
    return [tuple(option) if isinstance(option, list) else option for option in options]
