"""Functions that combine the elements along axes: sums, extrema, products, and their nan-versions.

Also the running versions, such as ``cumsum``, and the methods ``reduce`` and ``accumulate`` of
ufuncs, which are the same under another name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..tensor import stand_ins, unwrap
from .rules import as_array, stands_in_for

# ------------------------------------------------------------------------ sums and extrema


def expand(g: Any, x: Any, axis: Any, keepdims: Any) -> Any:
    """Put back the axes that a reduction of `x` over `axis` removed, as axes of length 1."""
    if keepdims or axis is None or x.ndim == 0:  # NumPy takes axis=0 for a number, too
        return np.reshape(g, g.shape if keepdims else (1,) * x.ndim)
    return np.expand_dims(g, axis)


def spread(g: Any, x: Any, where: Any) -> Any:
    """Give each element of `x` that took part the cotangent `g` of what it was part of."""
    g = np.broadcast_to(g, x.shape)
    return g if where is True else np.where(where, g, 0)


def count(x: Any, axis: Any, where: Any) -> Any:
    """Count the elements of `x` that one result of a reduction over `axis` is made of."""
    if where is not True:
        number = np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=True)
        return np.maximum(number, 1)  # where there are none, nothing is to be divided
    if axis is None or x.ndim == 0:
        return int(x.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[a] for a in axes)


def sum_vjp(
    g: Any,
    out: Any,
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """Give every element the cotangent of the sum it is part of."""
    return spread(expand(g, x, axis, keepdims), x, where)


def mean_vjp(
    g: Any,
    out: Any,
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: Any = False,
    where: Any = True,
) -> Any:
    """Give every element its share of the cotangent of the mean it is part of."""
    return spread(expand(g, x, axis, keepdims) / count(x, axis, where), x, where)


def extremum_vjp(
    g: Any,
    out: Any,
    x: Any,
    axis: Any = None,
    *,
    keepdims: Any = False,
    initial: Any = None,
    where: Any = True,
) -> Any:
    """Share the cotangent evenly among the elements that equal the largest or smallest."""
    out = unwrap(expand(out, x, axis, keepdims))
    winners = (np.equal(x, out) | np.isnan(x)) & where  # nan wins
    ties = np.sum(winners, axis=axis, keepdims=True, dtype=g.dtype)
    if initial is not None:  # it competes, too
        ties = ties + np.equal(out, initial)
    return np.where(winners, expand(g, x, axis, keepdims) / ties, 0)


def var_vjp(
    g: Any,
    out: Any,
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float = 0,
    keepdims: Any = False,
    where: Any = True,
) -> Any:
    """Differentiate: d var / d x = 2 (x - mean) / (n - ddof)."""
    if where is not True:
        x = np.where(where, x, 0)  # what takes no part may be nan
    centered = x - np.mean(x, axis=axis, keepdims=True, where=where)
    slope = 2 * centered / (count(x, axis, where) - ddof - correction)
    if x.dtype.kind == "c":
        slope = np.conj(slope)
    return spread(expand(g, x, axis, keepdims) * slope, x, where)


def std_vjp(
    g: Any,
    out: Any,
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float = 0,
    keepdims: Any = False,
    where: Any = True,
) -> Any:
    """Differentiate the root of the variance; 0 where all elements are equal."""
    g_var = g / (2 * np.where(np.equal(out, 0), 1, out))
    options = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "where": where}
    return var_vjp(g_var, out, x, axis, dtype, **options)


defvjp(np.sum, sum_vjp)
defvjp(np.mean, mean_vjp)
defvjp(np.max, extremum_vjp)
defvjp(np.min, extremum_vjp)
defvjp(np.var, var_vjp)
defvjp(np.std, std_vjp)
stand_ins[np.amax] = np.max
stand_ins[np.amin] = np.min


@stands_in_for(np.ptp)
def _ptp(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


# --------------------------------------------------------------------------------- products

# A product is computed from those of pairs, pairs of pairs, ...: that has the exact derivative of
# every order also at zeros, where out / x would be 0 / 0. It serves any associative ufunc.


def fold(ufunc: np.ufunc) -> Callable[..., Any]:
    """Make the function that reduces with an associative ufunc, pair by pair."""

    def reduction(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        *,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        a = as_array(a) if dtype is None else as_array(a).astype(dtype)
        if where is not True:
            a = np.where(where, a, ufunc.identity)
        if axis is None:
            axis = tuple(range(a.ndim))
        axes = axis if isinstance(axis, tuple) else (axis,)
        for ax in axes:
            a = np.moveaxis(a, ax, 0)
            while len(a) > 1:
                half = len(a) // 2
                pairs = ufunc(a[:half], a[half : 2 * half])
                a = pairs if len(a) % 2 == 0 else np.concatenate([pairs, a[-1:]])
            if len(a) == 0:
                a = np.concatenate([a, np.full((1, *a.shape[1:]), ufunc.identity, a.dtype)])
            a = np.moveaxis(a, 0, ax)
        if initial is not None:
            a = ufunc(initial, a)
        return a if keepdims else np.squeeze(a, axes)

    return reduction


def scan(ufunc: np.ufunc) -> Callable[..., Any]:
    """Make the function that accumulates with an associative ufunc.

    After the k-th step, each element holds the result of the last 2^k elements up to it.
    """

    def accumulation(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        a = as_array(a) if dtype is None else as_array(a).astype(dtype)
        a = np.reshape(a, -1) if axis is None else np.moveaxis(a, axis, 0)
        step = 1
        while step < len(a):
            a = np.concatenate([a[:step], ufunc(a[:-step], a[step:])])
            step *= 2
        return a if axis is None else np.moveaxis(a, 0, axis)

    return accumulation


stand_ins[np.prod] = fold(np.multiply)
stand_ins[np.cumprod] = scan(np.multiply)

# ---------------------------------------------------------------------------- running sums


def cumsum_vjp(g: Any, out: Any, x: Any, axis: Any = None, dtype: Any = None) -> Any:
    """Sum from the end: an element is part of its own and of all later sums."""
    along = -1 if axis is None else axis
    total = np.flip(np.cumsum(np.flip(g, along), along), along)
    return np.reshape(total, x.shape)


defvjp(np.cumsum, cumsum_vjp)


def cumulative(function: Callable[..., Any], identity: int) -> Callable[..., Any]:
    """Make ``np.cumulative_sum`` of ``np.cumsum``, and the same for products."""

    def running(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> Any:
        if axis is None and x.ndim != 1:
            raise ValueError(f"an array of shape {x.shape} needs axis= to say along which axis")
        axis = 0 if axis is None else axis
        out = function(x, axis=axis, dtype=dtype)
        if include_initial:
            shape = list(out.shape)
            shape[axis] = 1
            out = np.concatenate([np.full(shape, identity, out.dtype), out], axis)
        return out

    return running


stands_in_for("cumulative_sum")(cumulative(np.cumsum, 0))
stands_in_for("cumulative_prod")(cumulative(np.cumprod, 1))

# ------------------------------------------------------------------------------ weighted counts


@primitive
def weighted_counts(weights: Any, x: Any, minlength: int) -> Any:
    """Add up the weights of each number in `x`."""
    return np.bincount(x, weights, minlength).astype(float)  # integers where there are no weights


defvjp(weighted_counts, lambda g, out, weights, x, minlength: g[x])


@stands_in_for(np.bincount)
def _bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    x = unwrap(x)
    return (
        np.bincount(x, None, minlength)
        if weights is None
        else weighted_counts(as_array(weights), x, minlength)
    )


# ---------------------------------------------------------------------------- without the nan


def with_nan_as(value: float, function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the version of `function` in which a nan counts as `value`, its neutral element."""

    def nan_version(a: Any, axis: Any = None, **options: Any) -> Any:
        return function(np.where(np.isnan(a), value, a), axis, **options)

    return nan_version


def without_nan(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the version of `function` in which a nan takes no part."""

    def nan_version(a: Any, axis: Any = None, *, where: Any = True, **options: Any) -> Any:
        number = ~np.isnan(a)
        return function(np.where(number, a, 0), axis, where=number & where, **options)

    return nan_version


def nan_where_all_are(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make the version of an extremum in which a nan loses, unless there is nothing else."""
    worst = -np.inf if function is np.max else np.inf

    def nan_version(a: Any, axis: Any = None, *, keepdims: Any = False, **options: Any) -> Any:
        out = function(np.where(np.isnan(a), worst, a), axis, keepdims=keepdims, **options)
        if options:  # an initial value counts as a number
            return out
        return np.where(np.all(np.isnan(a), axis=axis, keepdims=keepdims), np.nan, out)

    return nan_version


stand_ins[np.nansum] = with_nan_as(0, np.sum)
stand_ins[np.nanprod] = with_nan_as(1, np.prod)
stand_ins[np.nancumsum] = with_nan_as(0, np.cumsum)
stand_ins[np.nancumprod] = with_nan_as(1, np.cumprod)
stand_ins[np.nanmean] = without_nan(np.mean)
stand_ins[np.nanvar] = without_nan(np.var)
stand_ins[np.nanstd] = without_nan(np.std)
stand_ins[np.nanmax] = nan_where_all_are(np.max)
stand_ins[np.nanmin] = nan_where_all_are(np.min)

# ------------------------------------------------------------------------ methods of ufuncs


def along_first_axis(function: Any) -> Callable[..., Any]:
    """Make a ufunc's ``reduce`` or ``accumulate``, whose axis is 0 where the function's is None."""

    def method(array: Any, axis: Any = 0, *args: Any, **options: Any) -> Any:
        return function(array, axis, *args, **options)

    return method


def first_and_inverses(function: Any, inverse: np.ufunc) -> Callable[..., Any]:
    """Make, of sums or products, the methods of subtract or divide: ``a - b - c = a + -b + -c``."""

    def reduce(array: Any, axis: int = 0, dtype: Any = None, *, keepdims: Any = False) -> Any:
        if array.shape[axis] == 0:
            raise ValueError("an empty axis cannot be reduced by a function without an identity")
        return function(after_first(array, axis), axis, dtype, keepdims=keepdims)

    def accumulate(array: Any, axis: int = 0, dtype: Any = None) -> Any:
        return function(after_first(array, axis), axis, dtype)

    def after_first(array: Any, axis: int) -> Any:
        first, rest = np.split(array, [1], axis)
        return np.concatenate([first, inverse(rest)], axis)

    return accumulate if function in (np.cumsum, np.cumprod) else reduce


def length(array: Any, *args: Any, **options: Any) -> Any:
    """Reduce with ``np.hypot``: of a single number, that is its absolute value."""
    return fold(np.hypot)(np.abs(array), *args, **options)


METHODS: list[tuple[np.ufunc, Any, Any]] = [
    (np.add, np.sum, np.cumsum),
    (np.multiply, np.prod, np.cumprod),
    (np.maximum, np.max, scan(np.maximum)),
    (np.minimum, np.min, scan(np.minimum)),
    (np.fmax, np.nanmax, scan(np.fmax)),
    (np.fmin, np.nanmin, scan(np.fmin)),
    (np.logaddexp, fold(np.logaddexp), scan(np.logaddexp)),
    (np.logaddexp2, fold(np.logaddexp2), scan(np.logaddexp2)),
    (np.hypot, length, scan(np.hypot)),
]
for ufunc, reduction, accumulation in METHODS:
    stand_ins[(ufunc, "reduce")] = along_first_axis(reduction)
    stand_ins[(ufunc, "accumulate")] = along_first_axis(accumulation)
INVERSE_METHODS: list[tuple[np.ufunc, np.ufunc, Any, Any]] = [
    (np.subtract, np.negative, np.sum, np.cumsum),
    (np.true_divide, np.reciprocal, np.prod, np.cumprod),
]
for ufunc, inverse, reduction, accumulation in INVERSE_METHODS:
    stand_ins[(ufunc, "reduce")] = first_and_inverses(reduction, inverse)
    stand_ins[(ufunc, "accumulate")] = first_and_inverses(accumulation, inverse)
