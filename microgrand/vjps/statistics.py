"""Functions of the order of elements, and statistics: sort, quantiles, averages, covariances."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dispatch import data_of, formula, library_of, needs_recording
from ..engine import defvjp, primitive
from ..kinds import Array, ArrayLike, Axis, DTypeLike, Function, Option, Value, Values
from ..traced import in_one_call
from .rules import as_array, filled, wide
from .shapes import add_up

# ------------------------------------------------------------------------------------ order


def sort_vjp(
    g: Value,
    out: Value,
    x: Value,
    axis: int | None = -1,
    kind: Option = None,
    *,
    stable: Option = None,
) -> Value:
    """Send each cotangent to where its element came from."""
    shape = x.shape
    if axis is None:
        x, axis = np.reshape(x, (-1,)), 0
    order = np.argsort(x, axis=axis, kind="stable")
    shared = average_over_ties(g, data_of(out), axis)
    return np.reshape(np.take_along_axis(shared, np.argsort(order, axis=axis), axis=axis), shape)


@primitive
@in_one_call
def average_over_ties(g: Value, ordered: Value, axis: int) -> Value:
    """Replace the cotangents of each run of equal elements in `ordered` by their mean."""
    ordered = np.moveaxis(ordered, axis, -1)
    starts = np.ones_like(ordered, dtype=bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    if np.all(starts):
        return g
    run = np.cumsum(starts) - 1
    along = np.moveaxis(g, axis, -1)
    mean = add_up(run, along, int(run[-1]) + 1) / np.bincount(run)
    return np.moveaxis(np.reshape(mean[run], along.shape), -1, axis).astype(g.dtype)


defvjp(np.sort, sort_vjp)
defvjp(average_over_ties, lambda h, out, g, ordered, axis: average_over_ties(h, ordered, axis))


def partition_vjp(
    g: Value,
    out: Value,
    a: Value,
    kth: int | Sequence[int],
    axis: int | None = -1,
    kind: Option = "introselect",
) -> Value:
    """Sort what has been put in a partial order; the rest is as for `sort`."""
    along = 0 if axis is None else axis
    order = np.argsort(data_of(out), axis=along, kind="stable")
    ordered = np.take_along_axis(data_of(out), order, axis=along)
    return sort_vjp(np.take_along_axis(g, order, axis=along), ordered, a, axis)


defvjp(np.partition, partition_vjp)

# -------------------------------------------------------------------------------- quantiles


def interpolate_order(
    a: Value, q: Value, axis: Axis, method: Option, keepdims: bool, skip_nan: bool
) -> Value:
    """Interpolate between sorted elements, which is what all kinds of quantiles are.

    Of the numbers 0, 1, 2, ..., n - 1 a quantile is its own place in the order: so NumPy's
    function, called on them, tells which elements the quantile of others lies between.
    """
    a = as_array(a)
    if axis is None or a.ndim == 0:
        axis = tuple(range(a.ndim))
    axes = [ax % a.ndim for ax in (axis if isinstance(axis, tuple) else (axis,))]
    others = [ax for ax in range(a.ndim) if ax not in axes]
    shape = [a.shape[ax] for ax in others]
    length = math.prod(a.shape[ax] for ax in axes)
    ordered = np.sort(np.reshape(np.transpose(a, axes + others), (length, *shape)), 0)
    if length == 0:  # where NumPy returns nan, if anything
        ordered, length = (
            np.concatenate([ordered, filled((1, *shape), np.nan, a.dtype, a)]),
            1,
        )

    nans = np.sum(np.isnan(ordered), 0)  # which sorting has put last
    counts = length - nans if skip_nan else np.where(nans > 0, 0, length)
    places = places_of_quantiles(counts, q, method)
    known = np.where(np.isnan(places), 0, places)
    below, above = np.floor(known).astype(int), np.ceil(known).astype(int)
    low, high = np.take_along_axis(ordered, below, 0), np.take_along_axis(ordered, above, 0)
    share = places - below
    out = low * (1 - share) + high * share
    if keepdims:
        shape = [1 if ax in axes else a.shape[ax] for ax in range(a.ndim)]
    return np.reshape(out, (*np.shape(q), *shape))


@in_one_call
def places_of_quantiles(counts: Array, q: ArrayLike, method: Option) -> Array:
    """Return where the quantiles of 0, 1, ..., n - 1 lie, for each number n; nan for n = 0."""
    place = library_of(counts)
    flat = np.ravel(q)
    fractions = np.array(flat.tolist(), flat.dtype)  # np.quantile is asked on the host
    places = filled((np.size(q), *np.shape(counts)), np.nan, float, counts)
    for n in set(np.ravel(counts).tolist()) - {0}:
        found = np.quantile(np.arange(n, dtype=float), fractions, method=method)
        found = np.reshape(np.asarray(found, like=place), (-1,) + (1,) * np.ndim(counts))
        places = np.where(np.equal(counts, n), found, places)
    return places


def quantiles(one: float, skip_nan: bool) -> Function:
    """Make the formula of ``np.quantile``, where `one` is 1, or of ``np.percentile``, 100."""

    def formula_of(
        a: ArrayLike,
        q: ArrayLike,
        axis: Axis = None,
        *,
        overwrite_input: bool = False,
        method: Option = "linear",
        keepdims: bool = False,
    ) -> Value:
        if needs_recording(q):
            raise TypeError("quantiles have no derivative with respect to q; give q.detach()")
        fraction = as_array(data_of(q)) / one
        return interpolate_order(a, fraction, axis, method, keepdims, skip_nan)

    return formula_of


def medians(skip_nan: bool) -> Function:
    """Make the formula of ``np.median`` or ``np.nanmedian``."""

    def formula_of(
        a: ArrayLike, axis: Axis = None, *, overwrite_input: bool = False, keepdims: bool = False
    ) -> Value:
        return interpolate_order(a, 0.5, axis, "linear", keepdims, skip_nan)

    return formula_of


formula(np.quantile)(quantiles(1, skip_nan=False))
formula(np.nanquantile)(quantiles(1, skip_nan=True))
formula(np.percentile)(quantiles(100, skip_nan=False))
formula(np.nanpercentile)(quantiles(100, skip_nan=True))
formula(np.median)(medians(skip_nan=False))
formula(np.nanmedian)(medians(skip_nan=True))

# ------------------------------------------------------------------ averages and covariances


@formula(np.average)
def _average(
    a: ArrayLike,
    axis: Axis = None,
    weights: ArrayLike = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Values:
    a = wide(as_array(a))
    if weights is None:
        out = np.mean(a, axis=axis, keepdims=keepdims)
        return (out, filled(out.shape, a.size / max(out.size, 1), float, a)) if returned else out
    weights = wide(as_array(weights, a))
    if weights.shape != a.shape:  # one for each place along the axes
        axes = [ax % a.ndim for ax in (axis if isinstance(axis, tuple) else (axis,))]
        weights = np.transpose(weights, np.argsort(axes).tolist())
        weights = np.reshape(weights, [n if ax in axes else 1 for ax, n in enumerate(a.shape)])
    total = np.broadcast_to(weights, a.shape).astype(np.result_type(a.dtype, weights.dtype))
    total = np.sum(total, axis=axis, keepdims=keepdims)
    out = np.sum(a * weights, axis=axis, keepdims=keepdims) / total
    return (out, total) if returned else out


@formula(np.cov)
def _cov(
    m: ArrayLike,
    y: ArrayLike = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: ArrayLike = None,
    aweights: ArrayLike = None,
    *,
    dtype: DTypeLike = None,
) -> Value:
    m = as_array(m)
    x = np.atleast_2d(m)
    x = x if rowvar or m.ndim == 1 else np.transpose(x)
    if len(x) == 0:
        return np.zeros((0, 0), like=library_of(x))
    if y is not None:
        y = np.atleast_2d(as_array(y, m))
        x = np.concatenate([x, y if rowvar or len(y) == 1 else np.transpose(y)])
    x = x.astype(np.result_type(x.dtype, np.float64) if dtype is None else dtype)
    ddof = int(not bias) if ddof is None else ddof
    one = filled(x.shape[1], 1, float, x)
    fweights, aweights = (
        one if w is None else as_array(w, m).astype(float) for w in (fweights, aweights)
    )
    weights = fweights * aweights
    total = np.sum(weights)
    lost = ddof if aweights is one else ddof * np.sum(weights * aweights) / total
    centered = x - np.sum(x * weights, 1, keepdims=True) / total
    return np.squeeze((centered * weights) @ np.conj(np.transpose(centered)) / (total - lost))


@formula(np.corrcoef)
def _corrcoef(
    x: ArrayLike, y: ArrayLike = None, rowvar: bool = True, *, dtype: DTypeLike = None
) -> Value:
    covariance = np.cov(x, y, rowvar, dtype=dtype)
    if covariance.size == 0:
        return covariance
    if covariance.ndim == 0:
        return covariance / covariance
    spread = np.sqrt(np.real(np.diagonal(covariance)))
    return covariance / spread[:, None] / spread
