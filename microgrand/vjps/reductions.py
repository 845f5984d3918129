"""Functions that combine the elements along axes: sums, extrema, products, and their nan-versions.

Also the running versions, such as ``cumsum``, and the methods ``reduce`` and ``accumulate`` of
ufuncs, which are the same under another name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dispatch import check_no_gradient, data_of, formula
from ..engine import defvjp, primitive
from ..kinds import Array, ArrayLike, Axis, DTypeLike, Function, Value
from .rules import as_array, extreme, wide

# ------------------------------------------------------------------------ sums and extrema


def expand(g: Value, x: Value, axis: Axis, keepdims: bool) -> Value:
    """Put back the axes that a reduction of `x` over `axis` removed, as axes of length 1."""
    if keepdims or axis is None or x.ndim == 0:  # NumPy takes axis=0 for a number, too
        return np.reshape(g, g.shape if keepdims else (1,) * x.ndim)
    return np.expand_dims(g, axis)


def spread(g: Value, x: Value, where: ArrayLike) -> Value:
    """Give each element of `x` that took part the cotangent `g` of what it was part of."""
    g = np.broadcast_to(g, x.shape)
    return g if where is True else np.where(where, g, 0)


def count(x: Value, axis: Axis, where: ArrayLike) -> Value:
    """Count the elements of `x` reduced over `axis` into each result."""
    if where is not True:
        number = np.sum(np.broadcast_to(where, x.shape), axis=axis, keepdims=True)
        return np.maximum(number, 1)  # where there are none, nothing is to be divided
    if axis is None or x.ndim == 0:
        return int(x.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[a] for a in axes)


def sum_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = True,
) -> Value:
    """Give every element the cotangent of the sum it is part of."""
    return spread(expand(g, x, axis, keepdims), x, where)


def mean_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    keepdims: bool = False,
    where: ArrayLike = True,
) -> Value:
    """Give every element its share of the cotangent of the mean it is part of."""
    return spread(wide(expand(g, x, axis, keepdims)) / count(x, axis, where), x, where)


def extremum_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = True,
) -> Value:
    """Share the cotangent evenly among the elements that equal the largest or smallest."""
    out = data_of(expand(out, x, axis, keepdims))
    winners = (np.equal(x, out) | np.isnan(x)) & where  # nan wins
    ties = np.sum(winners, axis=axis, keepdims=True)
    if initial is not None:  # it competes, too
        ties = ties + np.equal(out, initial)
    share = wide(expand(g, x, axis, keepdims)) / np.maximum(ties, 1).astype(wide(out).dtype)
    return np.where(winners, share, 0)


def deviations(x: Value, axis: Axis, dtype: DTypeLike, where: ArrayLike) -> Value:
    """Subtract the mean; 0 for what takes no part, which may be nan."""
    x = wide(x if dtype is None else x.astype(np.result_type(x.dtype, dtype)))
    if where is not True:
        x = np.where(where, x, 0)
    given = {} if where is True else {"where": where}
    for _ in range(2):  # twice: the second pass removes the rounding error of a mean far from 0
        x = x - np.mean(x, axis=axis, keepdims=True, **given)
    return x if where is True else np.where(where, x, 0)


def var_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    ddof: float = 0,
    correction: float = 0,
    keepdims: bool = False,
    where: ArrayLike = True,
) -> Value:
    """Differentiate: d var / d x = 2 (x - mean) / (n - ddof)."""
    check_real_dtype("var", x, dtype)
    freedom = count(x, axis, where) - float(ddof) - float(correction)  # np.uint8 is too small
    slope = np.conj(deviations(x, axis, dtype, where)) * (2 / freedom)
    return wide(expand(np.real(g), x, axis, keepdims)) * slope  # a variance is real in any dtype


def std_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    ddof: float = 0,
    correction: float = 0,
    keepdims: bool = False,
    where: ArrayLike = True,
) -> Value:
    """Differentiate: d std / d x = (x - mean) / (n - ddof) / std; 0 where all are equal."""
    check_real_dtype("std", x, dtype)
    freedom = count(x, axis, where) - float(ddof) - float(correction)  # np.uint8 is too small
    centered = deviations(x, axis, dtype, where)
    # In units of the largest deviation, as squares overflow and underflow long before it does.
    largest = extreme(np.max, np.abs(data_of(centered)), axis, default=0)
    centered = centered / np.where(largest == 0, 1, largest)
    squares = np.sum(np.real(centered * np.conj(centered)), axis=axis, keepdims=True)
    spread_out = np.sqrt(np.where(largest == 0, 1, squares * freedom))
    return wide(expand(np.real(g), x, axis, keepdims)) * (np.conj(centered) / spread_out)


def check_real_dtype(name: str, x: Value, dtype: DTypeLike) -> None:
    """Raise TypeError if complex numbers are to be computed with in a real dtype."""
    if dtype is not None and x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        raise TypeError(
            f"np.{name} of complex numbers is not differentiable with dtype={np.dtype(dtype)}, in "
            "which their imaginary parts are lost; take np.real first, or leave dtype out"
        )


defvjp(np.sum, sum_vjp)
defvjp(np.mean, mean_vjp)
defvjp(np.max, extremum_vjp)
defvjp(np.min, extremum_vjp)
defvjp(np.var, var_vjp)
defvjp(np.std, std_vjp)
formula(np.amax, exact=True)(np.max)
formula(np.amin, exact=True)(np.min)


@formula(np.ptp)
def _ptp(a: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Value:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


# --------------------------------------------------------------------------------- products

# The derivative of a product is a product again, of all the other elements: exact at zeros, where
# out / x would be 0 / 0. It is computed from products of pairs, pairs of pairs, ..., which have
# derivatives of every order. Such partial products may be far outside the range of a dtype where
# the whole is not, so they are kept as m 2^e, with m from 1/2 to 1.


def split_exponent(x: Value) -> tuple[Value, Value]:
    """Return m and e with ``x = m 2^e``; e is an array of integers, a constant."""
    size = np.maximum(np.abs(np.real(data_of(x))), np.abs(np.imag(data_of(x))))
    exponent = np.where(np.isfinite(size), np.frexp(size)[1], 0)
    return times_power(x, -exponent), exponent


def times_power(x: Value, exponent: Array) -> Value:
    """Return ``x 2^e``."""
    if x.dtype.kind == "c":
        return np.ldexp(np.real(x), exponent) + 1j * np.ldexp(np.imag(x), exponent)
    return np.ldexp(x, exponent)


def products_before(x: Value, first: ArrayLike = 1) -> tuple[Value, Value]:
    """Return, as m and e, the product of `first` and all before each along the first axis."""
    m, e = split_exponent(np.concatenate([np.full_like(data_of(x[:1]), first), x[:-1]]))
    step = 1
    while step < len(m):  # now each element is the product of the last `step` ones up to it
        product, more = split_exponent(m[:-step] * m[step:])
        m = np.concatenate([m[:step], product])
        e = np.concatenate([e[:step], e[:-step] + e[step:] + more])
        step *= 2
    return m, e


def products_of_others(x: Value, first: ArrayLike = 1) -> Value:
    """Return, for each element along the first axis, the product of `first` and the others."""
    if len(x) == 0:
        return x
    before, e = products_before(x, first)
    after, f = products_before(np.flip(x, 0))
    return times_power(before * np.flip(after, 0), e + np.flip(f, 0))


def prod_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike = None,
    where: ArrayLike = True,
) -> Value:
    """Multiply the cotangent by the product of the other elements."""
    check_real_dtype("prod", x, dtype)
    shape = x.shape
    x = wide(x) if dtype is None else wide(x.astype(np.result_type(x.dtype, dtype)))
    axes = tuple(range(len(shape))) if axis is None or not shape else axis
    axes = axes if isinstance(axes, tuple) else (axes,)
    factors = x if where is True else np.where(where, x, 1)
    # All axes that are multiplied over become one, the first.
    front = np.moveaxis(factors, axes, range(len(axes)))
    rows = np.reshape(front, (math.prod(front.shape[: len(axes)]), *front.shape[len(axes) :]))
    others = products_of_others(rows, 1 if initial is None else initial)
    others = np.moveaxis(np.reshape(others, front.shape), range(len(axes)), axes)
    return spread(expand(g, x, axis, keepdims), x, where) * others


defvjp(np.prod, prod_vjp)


def cumprod_vjp(
    g: Value, out: Value, x: Value, axis: Axis = None, dtype: DTypeLike = None
) -> Value:
    """Multiply the product of what is before an element by h, which collects what comes after.

    With ``out_k = x_0 ... x_k``, the cotangent of x_i is ``x_0 ... x_(i-1) h_i``, where
    ``h_i = g_i + x_(i+1) h_(i+1)``.
    """
    check_real_dtype("cumprod", x, dtype)
    shape = x.shape
    x = wide(x) if dtype is None else wide(x.astype(np.result_type(x.dtype, dtype)))
    if axis is None or not shape:
        x, g, axis = np.reshape(x, (-1,)), np.reshape(g, (-1,)), 0
    x, g = np.moveaxis(x, axis, 0), np.moveaxis(g, axis, 0)
    if len(x) == 0:
        return np.reshape(x, shape)
    before, e = products_before(x)
    after, f = weighted_products_after(x, wide(g))
    return np.reshape(np.moveaxis(times_power(before * after, e + f), 0, axis), shape)


def weighted_products_after(x: Value, g: Value) -> tuple[Value, Value]:
    """Return, as m and e, the solution h of ``h_i = g_i + x_(i+1) h_(i+1)``.

    Composing the maps ``h -> g + x h`` of neighbours, and of neighbours of those, solves it in a
    few steps.
    """
    next_x = np.concatenate([x[1:], np.zeros_like(data_of(x[:1]))])
    (m, e), (h, f) = split_exponent(next_x), split_exponent(g)
    step = 1
    while step < len(h):
        here, here_e = h[:-step], f[:-step]
        later, later_e = m[:-step] * h[step:], e[:-step] + f[step:]
        # Two numbers are added in units of the larger one; a 0 is not a large number.
        common = np.maximum(here_e, later_e)
        common = np.where(data_of(here) == 0, later_e, common)
        common = np.where(data_of(later) == 0, here_e, common)
        total = times_power(here, here_e - common) + times_power(later, later_e - common)
        total, more = split_exponent(total)
        product, product_e = split_exponent(m[:-step] * m[step:])
        h = np.concatenate([total, h[-step:]])
        f = np.concatenate([common + more, f[-step:]])
        m = np.concatenate([product, m[-step:]])
        e = np.concatenate([e[:-step] + e[step:] + product_e, e[-step:]])
        step *= 2
    return h, f


defvjp(np.cumprod, cumprod_vjp)

# --------------------------------------------------------------- any associative ufunc


def fold(ufunc: np.ufunc) -> Function:
    """Make the function that reduces with an associative ufunc, pair by pair."""

    def reduction(
        a: ArrayLike,
        axis: Axis = None,
        dtype: DTypeLike = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike = None,
        where: ArrayLike = True,
    ) -> Value:
        a = as_array(a) if dtype is None else as_array(a).astype(dtype)
        if where is not True:
            a = np.where(where, a, ufunc.identity)
        if axis is None or a.ndim == 0:
            axis = tuple(range(a.ndim))
        axes = axis if isinstance(axis, tuple) else (axis,)
        for ax in axes:
            a = np.moveaxis(a, ax, 0)
            while len(a) > 1:
                half = len(a) // 2
                pairs = ufunc(a[:half], a[half : 2 * half])
                a = pairs if len(a) % 2 == 0 else np.concatenate([pairs, a[-1:]])
            if len(a) == 0:
                none = np.full_like(data_of(a), ufunc.identity, shape=(1, *a.shape[1:]))
                a = np.concatenate([a, none])
            a = np.moveaxis(a, 0, ax)
        if initial is not None:
            a = ufunc(initial, a)
        return a if keepdims else np.squeeze(a, axes)

    return reduction


def scan(ufunc: np.ufunc) -> Function:
    """Make the function that accumulates with an associative ufunc.

    After the k-th step, each element holds the result of the last 2^k elements up to it.
    """

    def accumulation(a: ArrayLike, axis: int | None = None, dtype: DTypeLike = None) -> Value:
        a = as_array(a) if dtype is None else as_array(a).astype(dtype)
        a = np.reshape(a, (-1,)) if axis is None else np.moveaxis(a, axis, 0)
        step = 1
        while step < len(a):
            a = np.concatenate([a[:step], ufunc(a[:-step], a[step:])])
            step *= 2
        return a if axis is None else np.moveaxis(a, 0, axis)

    return accumulation


# ---------------------------------------------------------------------------- running sums


def cumsum_vjp(g: Value, out: Value, x: Value, axis: Axis = None, dtype: DTypeLike = None) -> Value:
    """Sum from the end: an element is part of its own and of all later sums."""
    along = -1 if axis is None or x.ndim == 0 else axis
    total = np.flip(np.cumsum(np.flip(wide(g), along), along), along)
    return np.reshape(total, x.shape)


defvjp(np.cumsum, cumsum_vjp)


def cumulative(function: Function, identity: int) -> Function:
    """Make ``np.cumulative_sum`` of ``np.cumsum``, and the same for products."""

    def running(
        x: ArrayLike,
        /,
        *,
        axis: int | None = None,
        dtype: DTypeLike = None,
        include_initial: bool = False,
    ) -> Value:
        x = np.atleast_1d(x)
        axis = 0 if axis is None else axis
        out = function(x, axis=axis, dtype=dtype)
        if include_initial:
            shape = list(out.shape)
            shape[axis] = 1
            first = np.full_like(data_of(out), identity, shape=shape)
            out = np.concatenate([first, out], axis)
        return out

    return running


formula("cumulative_sum")(cumulative(np.cumsum, 0))
formula("cumulative_prod")(cumulative(np.cumprod, 1))

# ------------------------------------------------------------------------------ weighted counts


@primitive
def weighted_counts(weights: Value, x: Value, minlength: int) -> Value:
    """Add up the weights of each number in `x`."""
    return np.bincount(x, weights, minlength).astype(float)  # integers where there are no weights


defvjp(weighted_counts, lambda g, out, weights, x, minlength: g[x])


@formula(np.bincount)
def _bincount(x: ArrayLike, /, weights: ArrayLike = None, minlength: int = 0) -> Value:
    x = data_of(x)
    return (
        np.bincount(x, None, minlength)
        if weights is None
        else weighted_counts(as_array(weights), x, minlength)
    )


# ---------------------------------------------------------------------------- without the nan


def with_nan_as(value: float, function: Function) -> Function:
    """Make the version of `function` in which a nan counts as `value`, its neutral element."""

    def nan_version(a: Value, axis: Axis = None, **options: Any) -> Value:
        return function(np.where(np.isnan(a), value, a), axis, **options)

    return nan_version


def without_nan(function: Function) -> Function:
    """Make the version of `function` in which a nan takes no part."""

    def nan_version(
        a: Value, axis: Axis = None, *, where: ArrayLike = True, **options: Any
    ) -> Value:
        number = ~np.isnan(a)
        return function(np.where(number, a, 0), axis, where=number & where, **options)

    return nan_version


def nanmean_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: Axis = None,
    dtype: DTypeLike = None,
    *,
    keepdims: bool = False,
    where: ArrayLike = True,
) -> Value:
    """Give every number its share of the cotangent of the mean it is part of."""
    number = ~np.isnan(x) & where
    return mean_vjp(g, out, x, axis, dtype, keepdims=keepdims, where=number)


def nan_where_all_are(function: Function) -> Function:
    """Make the version of an extremum in which a nan loses, unless there is nothing else."""
    worst = -np.inf if function is np.max else np.inf

    def nan_version(
        a: Value, axis: Axis = None, *, keepdims: bool = False, **options: Any
    ) -> Value:
        out = function(np.where(np.isnan(a), worst, a), axis, keepdims=keepdims, **options)
        if options:  # an initial value counts as a number
            return out
        return np.where(np.all(np.isnan(a), axis=axis, keepdims=keepdims), np.nan, out)

    return nan_version


formula(np.nansum)(with_nan_as(0, np.sum))
formula(np.nanprod)(with_nan_as(1, np.prod))
formula(np.nancumsum)(with_nan_as(0, np.cumsum))
formula(np.nancumprod)(with_nan_as(1, np.cumprod))
defvjp(np.nanmean, nanmean_vjp)
formula(np.nanvar)(without_nan(np.var))
formula(np.nanstd)(without_nan(np.std))
formula(np.nanmax)(nan_where_all_are(np.max))
formula(np.nanmin)(nan_where_all_are(np.min))

# ------------------------------------------------------------------------ methods of ufuncs


def along_first_axis(function: Function) -> Function:
    """Make a ufunc's ``reduce`` or ``accumulate``, whose axis is 0 where the function's is None."""

    def method(array: Value, axis: Axis = 0, *args: Any, **options: Any) -> Value:
        check_no_gradient(function, {"where": options.get("where")})
        return function(array, axis, *args, **options)

    return method


def first_and_inverses(function: Function, inverse: np.ufunc) -> Function:
    """Make, of sums or products, the methods of subtract or divide: ``a - b - c = a + -b + -c``."""

    def reduce(
        array: Value, axis: Axis = 0, dtype: DTypeLike = None, *, keepdims: bool = False
    ) -> Value:
        if array.ndim == 0 or axis == ():
            return function(array, (), dtype, keepdims=keepdims)
        axis = 0 if axis is None else axis[0] if isinstance(axis, tuple) else axis
        if array.shape[axis] == 0:
            raise ValueError("an empty axis cannot be reduced by a function without an identity")
        return function(after_first(array, axis), axis, dtype, keepdims=keepdims)

    def accumulate(array: Value, axis: int = 0, dtype: DTypeLike = None) -> Value:
        return function(after_first(array, axis), axis, dtype)

    def after_first(array: Value, axis: int) -> Value:
        first, rest = np.split(array, [1], axis)
        return np.concatenate([first, inverse(rest)], axis)

    return accumulate if function in (np.cumsum, np.cumprod) else reduce


def hypot_reduce(array: Value, *args: Any, **options: Any) -> Value:
    """Reduce with ``np.hypot``: of a single number, that is its absolute value."""
    return fold(np.hypot)(wide(np.abs(array)), *args, **options)


# log(sum(exp(x))), the reduction with np.logaddexp, is computed as m + log(s) with the largest
# number m and s = sum(exp(x - m)). So is each step of the accumulation, as large logarithms lose
# what is small: of three equal numbers at -1e16, logaddexp twice gives the last half of all.


def log_sum(ufunc: np.ufunc, exp: np.ufunc, log: np.ufunc) -> Function:
    """Make the reduction with ``np.logaddexp``, or the same with base 2."""

    def reduction(
        a: ArrayLike,
        axis: Axis = None,
        dtype: DTypeLike = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike = None,
        where: ArrayLike = True,
    ) -> Value:
        a = wide(as_array(a) if dtype is None else as_array(a).astype(dtype))
        if where is not True:
            a = np.where(where, a, -np.inf)
        if a.ndim == 0:
            axis = None
        largest = extreme(np.max, data_of(a), axis, default=-np.inf)
        total = np.sum(exp(below(a, largest)), axis=axis, keepdims=True)
        out = largest + log(np.where(data_of(total) == 0, 1, total))
        out = out if initial is None else ufunc(out, initial)
        return out if keepdims else np.reshape(out, data_of(np.sum(data_of(a), axis=axis)).shape)

    return reduction


@primitive
def below(a: Value, largest: Value) -> Value:
    """Subtract the largest number; equal infinities have the difference 0."""
    equal = (a == largest) & np.isinf(largest)
    return np.where(equal, 0, a) - np.where(equal, 0, largest)


defvjp(below, lambda g, out, a, largest: g)


def log_scan(exp: np.ufunc, log: np.ufunc) -> Function:
    """Make the accumulation with ``np.logaddexp``, or the same with base 2."""

    def accumulation(a: ArrayLike, axis: int = 0, dtype: DTypeLike = None) -> Value:
        a = wide(as_array(a) if dtype is None else as_array(a).astype(dtype))
        a = np.moveaxis(a, axis, 0)
        m = data_of(a)
        s = exp(below(a, m))
        step = 1
        while step < len(m):  # of two sums s e^m, the one with the larger m is as it was
            new = np.maximum(m[:-step], m[step:])
            total = s[:-step] * exp(below(m[:-step], new)) + s[step:] * exp(below(m[step:], new))
            m, s = np.concatenate([m[:step], new]), np.concatenate([s[:step], total])
            step *= 2
        return np.moveaxis(m + log(s), 0, axis)

    return accumulation


METHODS: list[tuple[np.ufunc, Any, Any]] = [
    (np.fmax, np.nanmax, scan(np.fmax)),
    (np.fmin, np.nanmin, scan(np.fmin)),
    (np.logaddexp, log_sum(np.logaddexp, np.exp, np.log), log_scan(np.exp, np.log)),
    (np.logaddexp2, log_sum(np.logaddexp2, np.exp2, np.log2), log_scan(np.exp2, np.log2)),
    (np.hypot, hypot_reduce, scan(np.hypot)),
]
for ufunc, reduction, accumulation in METHODS:
    formula(ufunc.reduce)(along_first_axis(reduction))
    formula(ufunc.accumulate)(along_first_axis(accumulation))
formula(np.maximum.accumulate)(along_first_axis(scan(np.maximum)))
formula(np.minimum.accumulate)(along_first_axis(scan(np.minimum)))
for ufunc, function in (
    (np.add, np.sum),
    (np.multiply, np.prod),
    (np.maximum, np.max),
    (np.minimum, np.min),
):
    formula(ufunc.reduce, exact=True)(along_first_axis(function))
formula(np.add.accumulate)(along_first_axis(np.cumsum))
formula(np.multiply.accumulate)(along_first_axis(np.cumprod))
INVERSE_METHODS: list[tuple[np.ufunc, np.ufunc, Any, Any]] = [
    (np.subtract, np.negative, np.sum, np.cumsum),
    (np.true_divide, np.reciprocal, np.prod, np.cumprod),
]
for ufunc, inverse, reduction, accumulation in INVERSE_METHODS:
    formula(ufunc.reduce)(first_and_inverses(reduction, inverse))
    formula(ufunc.accumulate)(first_and_inverses(accumulation, inverse))
