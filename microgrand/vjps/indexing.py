"""Indexing: ``x[index]``, and its transpose, which puts cotangents back."""

from __future__ import annotations

import operator
from types import EllipsisType

import numpy as np

from ..dispatch import data_of, library_of
from ..engine import defvjp, primitive
from ..kinds import NUMPY_CLASSES, Array, Index
from ..traced import in_one_call


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
    dtype = np.promote_types(g.dtype, np.float32)
    if like.ndim > 1 and is_whole_array(index):
        return add_rows(g.astype(dtype, copy=False), index, len(like)).astype(g.dtype, copy=False)
    library = library_of(like)
    if library is not None:  # whose add.at may take one array of places only
        places = np.arange(like.size, like=library).reshape(like.shape)[index]
        total = np.zeros(like.size, dtype, like=library)
        np.add.at(total, places, g)
        return total.reshape(like.shape).astype(g.dtype, copy=False)
    total = np.zeros_like(like, dtype=dtype)
    np.add.at(total, index, g)
    return total.astype(g.dtype, copy=False)


def is_whole_array(index: Index) -> bool:
    """Tell whether an index is an array of numbers of rows, as when words are looked up."""
    return index.__class__ in NUMPY_CLASSES and index.dtype.kind in "iu"


@in_one_call
def add_rows(g: Array, index: Array, count: int) -> Array:
    """Add each row of `g` to the one of `count` rows that `index` names.

    Sorted by their rows, those for one row lie side by side. The first of each run are put, the
    second added, and so on: calls for many rows each. What is left of long runs is summed run by
    run.
    """
    rows = g.reshape(index.size, *g.shape[index.ndim :])
    numbers = np.remainder(index, count).ravel().astype(np.min_scalar_type(count))  # sorted fast
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    is_first = np.concatenate([[True], numbers[1:] != numbers[:-1]])
    starts = np.flatnonzero(is_first[: len(numbers)])
    lengths = np.diff(starts, append=len(numbers))
    total = np.zeros((count, *rows.shape[1:]), g.dtype)
    total[numbers[starts]] = rows[order[starts]]
    for i in range(1, 8):
        runs = starts[lengths > i]
        total[numbers[runs]] += rows[order[runs + i]]
    starts, lengths = starts[lengths > 8], lengths[lengths > 8]
    if len(starts):
        bounds = np.stack([starts + 8, starts + lengths], 1).ravel()
        total[numbers[starts]] += np.add.reduceat(rows[order[: bounds[-1]]], bounds[:-1], 0)[::2]
    return total


def selects_once(part: Index) -> bool:
    """Tell whether this part of an index surely selects no element twice."""
    if part is None or isinstance(part, (int, slice, EllipsisType)):
        return True
    return getattr(part, "ndim", None) == 0 or getattr(part, "dtype", None) == np.bool_


defvjp(operator.getitem, lambda g, out, x, index: add_at(g, index, data_of(x)))
defvjp(add_at, lambda h, out, g, index, like: h[index])
