"""Differences, integrals, interpolation and polynomials: calculus on sampled functions."""

from __future__ import annotations

import numpy as np

from ..dispatch import data_of, formula, library_of
from ..kinds import ArrayLike, Axis, DTypeLike, Option, Value, Values
from .rules import as_array, as_arrays, filled, wide

# -------------------------------------------------------------------- differences, integrals


@formula(np.diff)
def _diff(
    a: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike = None, append: ArrayLike = None
) -> Value:
    a = as_array(a)
    if n == 0:
        return a
    a = np.moveaxis(a, axis, 0)
    pieces = [
        np.broadcast_to(piece, (1, *a.shape[1:]))
        if piece.ndim == 0
        else np.moveaxis(piece, axis, 0)
        for piece in (as_array(more, a) for more in (prepend, append) if more is not None)
    ]
    if pieces:
        pieces.insert(prepend is not None, a)
        a = np.concatenate(pieces)
    for _ in range(n):
        a = a[1:] - a[:-1]
    return np.moveaxis(a, 0, axis)


@formula(np.ediff1d)
def _ediff1d(ary: ArrayLike, to_end: ArrayLike = None, to_begin: ArrayLike = None) -> Value:
    ary = as_array(ary)
    pieces = [to_begin, np.diff(np.reshape(ary, (-1,))), to_end]
    pieces = [np.reshape(as_array(piece, ary), -1) for piece in pieces if piece is not None]
    return np.concatenate([piece.astype(ary.dtype) for piece in pieces])


@formula(np.gradient)
def _gradient(f: ArrayLike, *varargs: ArrayLike, axis: Axis = None, edge_order: int = 1) -> Values:
    f = wide(as_float(as_array(f)))
    axes = range(f.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    spacings = varargs or (1.0,)
    if len(spacings) == 1:
        spacings = spacings * len(axes)
    slopes = [slope_along(f, h, ax, edge_order) for h, ax in zip(spacings, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else slopes


def as_float(x: Value) -> Value:
    """Convert integers and booleans to float64."""
    return x if x.dtype.kind in "fc" else x.astype(float)


def slope_along(f: Value, spacing: Value, axis: int, edge_order: int) -> Value:
    """Take the slope of the parabola through each element and its neighbours on both sides."""
    f = np.moveaxis(f, axis, -1)
    spacing = wide(as_float(as_array(spacing, f)))
    ones = filled(f.shape[-1] - 1, 1, spacing.dtype, f)
    steps = np.diff(spacing) if spacing.ndim else spacing * ones
    slopes = (f[..., 1:] - f[..., :-1]) / steps
    before, after = steps[:-1], steps[1:]
    inner = (slopes[..., :-1] * after + slopes[..., 1:] * before) / (before + after)
    first, last = slopes[..., :1], slopes[..., -1:]
    if edge_order == 2:  # the same parabola, at its ends
        first = 2 * first - inner[..., :1]
        last = 2 * last - inner[..., -1:]
    return np.moveaxis(np.concatenate([first, inner, last], -1), -1, axis)


@formula(np.trapezoid)
def _trapezoid(y: ArrayLike, x: ArrayLike = None, dx: ArrayLike = 1.0, axis: int = -1) -> Value:
    y = as_array(y)
    before = (slice(None),) * (axis % y.ndim)
    if x is not None:
        x = as_array(x, y)
        if x.ndim == 1:
            dx = np.reshape(np.diff(x), (-1,) + (1,) * (y.ndim - 1 - len(before)))
        else:
            dx = np.diff(x, axis=axis)
    ends = y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]
    return np.sum(dx * ends / 2.0, axis=axis)


# ------------------------------------------------------------------------------ interpolation


@formula(np.linspace)
def _linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike = None,
    axis: int = 0,
    *,
    device: Option = None,
) -> Values:
    start, stop = as_arrays(start, stop)
    if dtype is not None and np.dtype(dtype).kind not in "fc":
        whole = np.linspace(data_of(start), data_of(stop), num, endpoint, dtype=dtype, axis=axis)
        return (whole, (stop - start) / max(num - endpoint, 1)) if retstep else whole
    share = np.asarray(np.linspace(0.0, 1.0, num, endpoint), like=library_of(start))
    share = np.reshape(share, (num,) + (1,) * max(start.ndim, stop.ndim))
    out = np.moveaxis(start * (1 - share) + stop * share, 0, axis)
    return (out, (stop - start) / max(num - endpoint, 1)) if retstep else out


# ------------------------------------------------------------------------------ interpolation


@formula(np.interp)
def _interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: ArrayLike = None,
    right: ArrayLike = None,
    period: float | None = None,
) -> Value:
    x, xp, fp = as_arrays(x, xp, fp)
    x, xp, fp = x.astype(float), xp.astype(float), fp.astype(np.result_type(fp.dtype, float))
    if period is not None:
        x, xp = np.remainder(x, abs(period)), np.remainder(xp, abs(period))
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - abs(period), xp, xp[:1] + abs(period)])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    below, above = np.less(x, data_of(xp)[0]), np.greater(x, data_of(xp)[-1])
    if len(xp) > 1:
        i = np.searchsorted(xp, x, side="right") - 1
        i = np.clip(i, 0, len(xp) - 2)
        widths = xp[1:] - xp[:-1]
        widths = np.where(np.equal(widths, 0), 1, widths)  # a jump, within which no x lies
        # How far x is on its way from one point to the next; all of it if it began at -inf.
        share = np.where(np.isinf(data_of(xp)[i]), 1, (x - xp[i]) / widths[i])
        inside = fp[i] + (fp[i + 1] - fp[i]) * share
    else:
        inside = np.broadcast_to(fp[0], x.shape)
    out = np.where(below, fp[0] if left is None else left, inside)
    return np.where(above, fp[-1] if right is None else right, out)


# -------------------------------------------------------------------------------- polynomials


@formula(np.polyval)
def _polyval(p: ArrayLike, x: ArrayLike) -> Value:
    p, x = map(wide, as_arrays(p, x))
    y = np.zeros_like(x)
    for k, coefficient in enumerate(p):  # Horner's scheme; 0 x would have 0 times a power of x
        y = (y * x if k else y) + coefficient
    return y


@formula(np.vander)
def _vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Value:  # noqa: N803  NumPy says so
    x = as_array(x)
    x = x.astype(np.promote_types(x.dtype, int))
    n = len(x) if N is None else N
    if n == 0:
        return np.zeros((len(x), 0), like=library_of(x))
    powers = [np.ones_like(data_of(x))]
    while len(powers) < n:
        powers.append(powers[-1] * x)
    return np.stack(powers[:n] if increasing else powers[:n][::-1], 1)
