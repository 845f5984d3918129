"""Functions that move elements: reshape, select, repeat, join and split.

A function that only moves, repeats or drops elements has one VJP, whichever it is: run it on the
numbers of the elements, see where each one went, and bring its cotangent back (`selection_vjp`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..tensor import stand_ins
from .rules import as_array, stands_in_for

# ------------------------------------------------------------------------------------- axes

defvjp(np.reshape, lambda g, out, x, shape, order="C": np.reshape(g, x.shape, order=order))
defvjp(np.expand_dims, lambda g, out, x, axis: np.reshape(g, x.shape))
defvjp(np.squeeze, lambda g, out, x, axis=None: np.reshape(g, x.shape))
defvjp(np.swapaxes, lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2))
defvjp(np.moveaxis, lambda g, out, x, source, destination: np.moveaxis(g, destination, source))
defvjp(
    np.transpose,
    lambda g, out, x, axes=None: np.transpose(
        g, None if axes is None else np.argsort([axis % x.ndim for axis in axes])
    ),
)
defvjp(np.broadcast_to, lambda g, out, x, shape: g)
defvjp(np.copy, lambda g, out, x, order="K": g)


@stands_in_for(np.ravel)
def _ravel(a: Any, order: Any = "C") -> Any:
    return np.reshape(a, -1, order=order)


def at_least(ndim: int) -> Callable[..., Any]:
    """Make ``np.atleast_1d`` and its siblings, which take one array or several."""

    def single(x: Any) -> Any:
        x = as_array(x)
        if x.ndim >= ndim:
            return x
        if ndim == 3 and x.ndim == 2:
            return np.expand_dims(x, 2)
        return np.reshape(x, {1: (1,), 2: (1, -1), 3: (1, -1, 1)}[ndim])

    def several(*arys: Any) -> Any:
        return single(arys[0]) if len(arys) == 1 else tuple(single(x) for x in arys)

    return several


stand_ins[np.atleast_1d] = at_least(1)
stand_ins[np.atleast_2d] = at_least(2)
stand_ins[np.atleast_3d] = at_least(3)

# ----------------------------------------------------------------------- selections


@primitive
def pick(x: Any, numbers: Any) -> Any:
    """Pick elements of `x` by their number, counted from 1 in C order; number 0 is a zero."""
    return np.concatenate([np.zeros_like(x, shape=1), np.ravel(x)])[numbers]


@primitive
def put_back(g: Any, numbers: Any, shape: tuple[int, ...]) -> Any:
    """Add up what was picked from each element: the transpose of `pick`."""
    total = np.zeros_like(g, shape=math.prod(shape) + 1)
    np.add.at(total, np.ravel(numbers), np.ravel(g))
    return np.reshape(total[1:], shape)


defvjp(pick, lambda h, out, g, numbers: put_back(h, numbers, g.shape))
defvjp(put_back, lambda h, out, g, numbers, shape: pick(h, numbers))


def selection_vjp(function: Callable[..., Any]) -> Callable[..., Any]:
    """Differentiate any function that only moves, repeats or drops elements of its argument.

    Called on the numbers of the elements instead of their values, the function itself tells
    where each element of its result came from, or, where it is 0, that it is a constant zero.
    """

    def vjp(g: Any, out: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        numbers = function(np.reshape(np.arange(1, x.size + 1), x.shape), *args, **kwargs)
        return put_back(g, numbers, x.shape)

    return vjp


SELECTIONS: list[Callable[..., Any]] = [
    *(np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.rollaxis),
    *(np.repeat, np.tile, np.resize, np.take, np.take_along_axis, np.delete),
    *(np.diag, np.diagflat, np.diagonal, np.tril, np.triu),
]
for selection in SELECTIONS:
    defvjp(selection, selection_vjp(selection))

# -------------------------------------------------------------------------- joining


def concatenate_vjp(g: Any, out: Any, needed: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    """Cut the cotangent where the arrays were joined."""
    before = (slice(None),) * (axis % g.ndim)
    cotangents = []
    start = 0
    for array in arrays:
        end = start + array.shape[axis]
        cotangents.append(g[(*before, slice(start, end))])
        start = end
    return cotangents


@primitive
def concatenate(*arrays: Any, axis: int = 0) -> Any:
    """Join arrays along an existing axis."""
    return np.concatenate(arrays, axis)


defvjp(concatenate, joint=concatenate_vjp)


@stands_in_for(np.concatenate)
def _concatenate(arrays: Any, axis: int | None = 0) -> Any:
    if axis is None:
        return concatenate(*[np.reshape(array, -1) for array in arrays])
    return concatenate(*[as_array(array) for array in arrays], axis=axis)


@stands_in_for(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Any:
    arrays = [as_array(array) for array in arrays]
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(
            "np.stack needs arrays of one shape, got "
            + (", ".join(str(array.shape) for array in arrays) or "no arrays")
        )
    return np.concatenate([np.expand_dims(array, axis) for array in arrays], axis)


@stands_in_for(np.vstack)
def _vstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_2d(array) for array in tup], 0)


@stands_in_for(np.hstack)
def _hstack(tup: Any) -> Any:
    arrays = [np.atleast_1d(array) for array in tup]
    return np.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@stands_in_for(np.dstack)
def _dstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_3d(array) for array in tup], 2)


@stands_in_for(np.column_stack)
def _column_stack(tup: Any) -> Any:
    arrays = [as_array(array) for array in tup]
    return np.concatenate([a if a.ndim >= 2 else np.reshape(a, (-1, 1)) for a in arrays], 1)


@stands_in_for(np.append)
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return np.concatenate([arr, values], axis)


# ------------------------------------------------------------------------ splitting


def split_like(splitter: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that splits a tensor where `splitter` splits the numbers of its rows."""

    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
        before = (slice(None),) * (axis % ary.ndim)
        parts = []
        for rows in splitter(np.arange(ary.shape[axis]), indices_or_sections):
            start = int(rows[0]) if rows.size else 0
            parts.append(ary[(*before, slice(start, start + rows.size))])
        return parts

    return split


stand_ins[np.split] = split_like(np.split)
stand_ins[np.array_split] = split_like(np.array_split)


@stands_in_for(np.hsplit)
def _hsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@stands_in_for(np.vsplit)
def _vsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 0)


@stands_in_for(np.dsplit)
def _dsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 2)
