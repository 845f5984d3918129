"""Functions of the order of elements, and statistics: sort, quantiles, averages, covariances."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..tensor import records_gradient, unwrap
from .rules import as_array, stands_in_for

# ------------------------------------------------------------------------------------ order


def sort_vjp(
    g: Any, out: Any, x: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None
) -> Any:
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


@stands_in_for(np.partition)
def _partition(a: Any, kth: Any, axis: int | None = -1, kind: Any = "introselect") -> Any:
    if axis is None:
        a, axis = np.reshape(a, -1), 0
    return np.take_along_axis(a, np.argpartition(unwrap(a), kth, axis, kind), axis)


# -------------------------------------------------------------------------------- quantiles


def interpolate_order(
    function: Callable[[Any], Any],
    a: Any,
    q: Any,
    axis: Any,
    method: Any,
    keepdims: Any,
    skip_nan: bool,
) -> Any:
    """Interpolate between sorted elements, which is what all kinds of quantiles are.

    Of the numbers 0, 1, 2, ..., n - 1 a quantile is its own place in the order: so NumPy's
    function, called on them, tells which elements the quantile of others lies between. Only where
    numbers are infinite or missing, `function`, which is NumPy's, has a way of its own.
    """
    if records_gradient(q):
        raise TypeError("quantiles have no derivative with respect to q; give q.detach()")
    q, a = unwrap(q), as_array(a)
    dtype = np.quantile(np.zeros(1, a.dtype), q, method=method).dtype
    if axis is None:
        axis = tuple(range(a.ndim))
    axes = [ax % a.ndim for ax in (axis if isinstance(axis, tuple) else (axis,))]
    others = [ax for ax in range(a.ndim) if ax not in axes]
    shape = [a.shape[ax] for ax in others]
    length = math.prod(a.shape[ax] for ax in axes)
    ordered = np.sort(np.reshape(np.transpose(a, axes + others), (length, *shape)), 0)
    value = None if length and np.all(np.isfinite(ordered)) else function(unwrap(a))
    if length == 0:  # where NumPy returns nan, if anything
        ordered, length = np.concatenate([ordered, np.full((1, *shape), np.nan)]), 1

    nans = np.sum(np.isnan(ordered), 0)  # which sorting has put last
    counts = length - nans if skip_nan else np.where(nans > 0, 0, length)
    places = np.full((np.size(q), *shape), np.nan)
    for n in set(np.ravel(counts).tolist()) - {0}:
        found = np.quantile(np.arange(n, dtype=float), np.ravel(q), method=method)
        places[:, counts == n] = found[:, None]
    known = np.where(np.isnan(places), 0, places)
    below, above = np.floor(known).astype(int), np.ceil(known).astype(int)
    low, high = np.take_along_axis(ordered, below, 0), np.take_along_axis(ordered, above, 0)
    out = low + (high - low) * (places - below).astype(dtype)
    if keepdims:
        shape = [1 if ax in axes else a.shape[ax] for ax in range(a.ndim)]
    out = np.reshape(out, (*np.shape(q), *shape))
    return out if value is None else with_value(out, value)


@primitive
def with_value(x: Any, value: Any) -> Any:
    """Return another value than `x`, of which it has the derivative."""
    return value


defvjp(with_value, lambda g, out, x, value: g)


@stands_in_for(np.quantile)
def _quantile(
    a: Any,
    q: Any,
    axis: Any = None,
    *,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    def call(x: Any) -> Any:
        return np.quantile(x, unwrap(q), axis, method=method, keepdims=keepdims)

    return interpolate_order(call, a, q, axis, method, keepdims, skip_nan=False)


@stands_in_for(np.nanquantile)
def _nanquantile(
    a: Any,
    q: Any,
    axis: Any = None,
    *,
    overwrite_input: bool = False,
    method: Any = "linear",
    keepdims: Any = False,
) -> Any:
    def call(x: Any) -> Any:
        return np.nanquantile(x, unwrap(q), axis, method=method, keepdims=keepdims)

    return interpolate_order(call, a, q, axis, method, keepdims, skip_nan=True)


@stands_in_for(np.percentile)
def _percentile(a: Any, q: Any, axis: Any = None, **options: Any) -> Any:
    return np.quantile(a, as_fraction(q), axis, **options)


@stands_in_for(np.nanpercentile)
def _nanpercentile(a: Any, q: Any, axis: Any = None, **options: Any) -> Any:
    return np.nanquantile(a, as_fraction(q), axis, **options)


def as_fraction(percent: Any) -> Any:
    """Divide by 100; a list becomes an array."""
    return (np.asarray(percent) if isinstance(percent, (list, tuple)) else percent) / 100


@stands_in_for(np.median)
def _median(
    a: Any, axis: Any = None, *, overwrite_input: bool = False, keepdims: Any = False
) -> Any:
    def call(x: Any) -> Any:
        return np.median(x, axis, keepdims=keepdims)

    return interpolate_order(call, a, 0.5, axis, "linear", keepdims, skip_nan=False)


@stands_in_for(np.nanmedian)
def _nanmedian(
    a: Any, axis: Any = None, *, overwrite_input: bool = False, keepdims: Any = False
) -> Any:
    def call(x: Any) -> Any:
        return np.nanmedian(x, axis, keepdims=keepdims)

    return interpolate_order(call, a, 0.5, axis, "linear", keepdims, skip_nan=True)


# ------------------------------------------------------------------ averages and covariances


@stands_in_for(np.average)
def _average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = False
) -> Any:
    a = as_array(a)
    if weights is None:
        out = np.mean(a, axis=axis, keepdims=keepdims)
        total = np.full(out.shape, a.size / max(out.size, 1), out.dtype)
    else:
        weights = as_array(weights)
        if weights.shape != a.shape:  # one for each place along the axes
            axes = [ax % a.ndim for ax in (axis if isinstance(axis, tuple) else (axis,))]
            if weights.shape != tuple(a.shape[ax] for ax in axes):
                raise ValueError(
                    f"weights of shape {weights.shape} fit neither an array of shape {a.shape} nor "
                    f"its axes {axes}"
                )
            weights = np.transpose(weights, np.argsort(axes))
            weights = np.reshape(weights, [n if ax in axes else 1 for ax, n in enumerate(a.shape)])
        total = np.broadcast_to(weights, a.shape).astype(np.result_type(a.dtype, weights.dtype))
        total = np.sum(total, axis=axis, keepdims=keepdims)
        if np.any(np.equal(total, 0)):
            raise ZeroDivisionError("the weights sum to zero, so there is no average")
        out = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (out, total) if returned else out


@stands_in_for(np.cov)
def _cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    def rows(x: Any) -> Any:
        x = as_array(x)
        return np.transpose(x) if not rowvar and x.ndim == 2 else np.atleast_2d(x)

    x = rows(m) if y is None else np.concatenate([rows(m), rows(y)])
    x = x.astype(np.result_type(x.dtype, np.float64) if dtype is None else dtype)
    ddof = int(not bias) if ddof is None else ddof
    weights = np.ones((), x.dtype) if aweights is None else aweights
    weights = weights if fweights is None else weights * as_array(fweights)
    weights = np.broadcast_to(weights, x.shape[1:])
    total = np.sum(weights)
    lost = ddof if aweights is None else ddof * np.sum(weights * aweights) / total
    centered = x - np.sum(x * weights, 1, keepdims=True) / total
    return np.squeeze((centered * weights) @ np.conj(np.transpose(centered)) / (total - lost))


@stands_in_for(np.corrcoef)
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    covariance = np.cov(x, y, rowvar, dtype=dtype)
    if covariance.ndim == 0:
        return covariance / covariance
    spread = np.sqrt(np.diagonal(covariance))
    return np.clip(covariance / spread[:, None] / spread, -1, 1)
