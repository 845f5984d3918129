"""Indexing: ``x[index]``, and its transpose, which puts cotangents back."""

from __future__ import annotations

import operator
from types import EllipsisType

import numpy as np

from ..dispatch import unwrap
from ..engine import defvjp, primitive
from ..kinds import Array, Index


@primitive
def add_at(g: Array, index: Index, like: Array) -> Array:
    """Add `g` to zeros of the shape of `like` at ``index``: the transpose of ``like[index]``.

    An element that an integer index selects twice receives both of its cotangents.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if all(selects_once(part) for part in parts):
        total = np.zeros_like(like, dtype=g.dtype)
        total[index] = g
        return total
    # In float16, where 2048 + 1 = 2048, a sum of many would stick.
    total = np.zeros_like(like, dtype=np.promote_types(g.dtype, np.float32))
    np.add.at(total, index, g)
    return total.astype(g.dtype, copy=False)


def selects_once(part: Index) -> bool:
    """Tell whether this part of an index surely selects no element twice."""
    if part is None or isinstance(part, (int, slice, EllipsisType)):
        return True
    return getattr(part, "ndim", None) == 0 or getattr(part, "dtype", None) == np.bool_


defvjp(operator.getitem, lambda g, out, x, index: add_at(g, index, unwrap(x)))
defvjp(add_at, lambda h, out, g, index, like: h[index])
