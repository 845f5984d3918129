"""Functions that combine the elements along axes: sums, extrema, products, orders."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..tensor import stand_ins, unwrap
from .rules import stands_in_for

# ------------------------------------------------------------------------------- reductions


def expand(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Put back the axes that a reduction of `x` over `axis` removed, as axes of length 1."""
    if keepdims or axis is None:
        return np.reshape(g, g.shape if keepdims else (1,) * x.ndim)
    return np.expand_dims(g, axis)


def count(x: Any, axis: Any) -> int:
    """Count the elements of `x` that one result of a reduction over `axis` is made of."""
    if axis is None:
        return int(x.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[a] for a in axes)


def extremum_vjp(g: Any, out: Any, x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Share the cotangent evenly among the elements that equal the largest or smallest."""
    winners = np.equal(x, unwrap(expand(out, x, axis, keepdims))) | np.isnan(x)  # nan wins
    ties = np.sum(winners, axis=axis, keepdims=True, dtype=g.dtype)
    return np.where(winners, expand(g, x, axis, keepdims) / ties, 0)


def var_vjp(
    g: Any, out: Any, x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    """Differentiate: d var / d x = 2 (x - mean) / (n - ddof)."""
    centered = x - np.mean(x, axis=axis, keepdims=True)
    return expand(g, x, axis, keepdims) * 2 * centered / (count(x, axis) - ddof)


def std_vjp(
    g: Any, out: Any, x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    """Differentiate: d std / d x = (x - mean) / ((n - ddof) std); 0 where all are equal."""
    spread = expand(out, x, axis, keepdims)
    centered = x - np.mean(x, axis=axis, keepdims=True)
    slope = centered / ((count(x, axis) - ddof) * np.where(spread == 0, 1, spread))
    return expand(g, x, axis, keepdims) * slope


def cumsum_vjp(g: Any, out: Any, x: Any, axis: Any = None) -> Any:
    """Sum from the end: an element is part of its own and of all later sums."""
    along = -1 if axis is None else axis
    total = np.flip(np.cumsum(np.flip(g, along), along), along)
    return np.reshape(total, x.shape)


defvjp(
    np.sum,
    lambda g, out, x, axis=None, dtype=None, *, keepdims=False: np.broadcast_to(
        expand(g, x, axis, keepdims), x.shape
    ),
)
defvjp(
    np.mean,
    lambda g, out, x, axis=None, dtype=None, *, keepdims=False: np.broadcast_to(
        expand(g, x, axis, keepdims) / count(x, axis), x.shape
    ),
)
defvjp(np.max, extremum_vjp)
defvjp(np.min, extremum_vjp)
defvjp(np.var, var_vjp)
defvjp(np.std, std_vjp)
defvjp(np.cumsum, cumsum_vjp)
stand_ins[np.amax] = np.max
stand_ins[np.amin] = np.min


@stands_in_for(np.ptp)
def _ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


# ------------------------------------------------------------------------ products


@stands_in_for(np.prod)
def _prod(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    # Multiplying pairs, then pairs of pairs, ... has the exact derivative of every order also
    # at zeros, where out / x would be 0 / 0.
    if axis is None:
        axis = tuple(range(a.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for ax in axes:
        a = np.moveaxis(a, ax, 0)
        while len(a) > 1:
            half = len(a) // 2
            pairs = a[:half] * a[half : 2 * half]
            a = pairs if len(a) % 2 == 0 else np.concatenate([pairs, a[-1:]])
        if len(a) == 0:
            a = np.concatenate([a, np.ones((1, *a.shape[1:]), a.dtype)])
        a = np.moveaxis(a, 0, ax)
    return a if keepdims else np.squeeze(a, axes)


@stands_in_for(np.cumprod)
def _cumprod(a: Any, axis: int | None = None) -> Any:
    # After the k-th step each element is the product of the last 2^k elements up to it.
    a = np.reshape(a, -1) if axis is None else np.moveaxis(a, axis, 0)
    step = 1
    while step < len(a):
        a = np.concatenate([a[:step], a[step:] * a[:-step]])
        step *= 2
    return a if axis is None else np.moveaxis(a, 0, axis)


@stands_in_for(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    a = np.moveaxis(a, axis, 0)
    for _ in range(n):
        a = a[1:] - a[:-1]
    return np.moveaxis(a, 0, axis)


# --------------------------------------------------------------------------- order


def sort_vjp(g: Any, out: Any, x: Any, axis: int = -1, kind: Any = None) -> Any:
    """Send each cotangent to where its element came from."""
    shape = x.shape
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    order = np.argsort(x, axis=axis, kind="stable")
    shared = average_over_ties(g, unwrap(out), axis)
    return np.reshape(np.take_along_axis(shared, np.argsort(order, axis=axis), axis=axis), shape)


@primitive
def average_over_ties(g: Any, ordered: Any, axis: int) -> Any:
    """Replace the cotangents of each run of equal elements in `ordered` by their mean."""
    ordered = np.moveaxis(ordered, axis, -1)
    starts = np.ones_like(ordered, dtype=bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    if np.all(starts):
        return g
    run = np.cumsum(starts) - 1
    along = np.moveaxis(g, axis, -1)
    mean = np.bincount(run, weights=np.ravel(along)) / np.bincount(run)
    return np.moveaxis(np.reshape(mean[run], along.shape), -1, axis).astype(g.dtype)


defvjp(np.sort, sort_vjp)
defvjp(average_over_ties, lambda h, out, g, ordered, axis: average_over_ties(h, ordered, axis))

# ------------------------------------------------------------------------ methods of ufuncs


def reduce_with(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for ``ufunc.reduce``, whose axis is 0 where the function's is None."""

    def reduce(array: Any, axis: Any = 0, *, keepdims: bool = False) -> Any:
        return function(array, axis=axis, keepdims=keepdims)

    return reduce


def accumulate_with(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for ``ufunc.accumulate``, whose axis is 0 where the function's is None."""

    def accumulate(array: Any, axis: int = 0) -> Any:
        return function(array, axis=axis)

    return accumulate


stand_ins[(np.add, "reduce")] = reduce_with(np.sum)
stand_ins[(np.multiply, "reduce")] = reduce_with(np.prod)
stand_ins[(np.maximum, "reduce")] = reduce_with(np.max)
stand_ins[(np.minimum, "reduce")] = reduce_with(np.min)
stand_ins[(np.add, "accumulate")] = accumulate_with(np.cumsum)
stand_ins[(np.multiply, "accumulate")] = accumulate_with(np.cumprod)
