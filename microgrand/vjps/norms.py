"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch import data_of, formula
from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Axis, Option, Value
from .elementwise import absolute_vjp
from .linalg import check_matrix
from .reductions import expand, extremum_vjp
from .rules import as_array, extreme, wide


def vector_norm_vjp(
    g: Value,
    out: Value,
    x: Value,
    *,
    axis: Axis = None,
    keepdims: bool = False,
    ord: Option = 2,
) -> Value:
    """``sign(x) (|x| / norm)^(ord - 1)``, which is 0 where x or the norm is 0, as for `abs`."""
    if not isinstance(axis, (tuple, type(None))):
        axis = int(axis)
    x, g = wide(x), expand(wide(g), x, axis, keepdims)
    if ord == 0:
        return np.zeros_like(data_of(x))
    size = np.abs(x)
    if abs(ord) == np.inf:
        return absolute_vjp(
            extremum_vjp(g, expand(out, x, axis, keepdims), size, axis, keepdims=True), size, x
        )
    absolute = data_of(size)
    zero = absolute == 0
    # In units of the largest element, or the smallest for a negative power: so no power is above 1.
    if ord > 0:
        unit = extreme(np.max, absolute, axis, default=0)
    else:
        unit = extreme(np.min, np.where(zero, np.inf, absolute), axis, default=np.inf)
    unit = np.where((unit == 0) | np.isinf(unit), 1, unit).astype(absolute.dtype)
    ratio = np.where(zero, 1, size / unit)
    powers = np.where(zero, 0, ratio**ord)
    # The norm is 0 where all elements are; of a negative power, where one is.
    flat = (np.all if ord > 0 else np.any)(zero, axis=axis, keepdims=True)
    total = np.where(flat, 1, np.sum(powers, axis=axis, keepdims=True))
    slope = (ratio / total ** (1 / ord)) ** (ord - 1)
    return absolute_vjp(g * np.where(zero | flat, 0, slope), size, x)


defvjp(np.linalg.vector_norm, vector_norm_vjp)


@primitive
def norm(x: Value, *, axis: Axis = None, keepdims: bool = False, ord: Any = None) -> Value:
    """Call ``np.linalg.norm``, which more libraries have than ``vector_norm``."""
    return np.linalg.norm(x, ord, axis, keepdims)


defvjp(
    norm,
    lambda g, out, x, axis=None, keepdims=False, ord=None: vector_norm_vjp(
        g, out, x, axis=axis, keepdims=keepdims, ord=2 if ord in (None, "fro") else ord
    ),
)


@formula(np.linalg.matrix_norm)
def _matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: Option = "fro") -> Value:
    x = as_array(x)
    if ord in (None, "fro", "f"):
        return norm(x, axis=(-2, -1), keepdims=keepdims, ord="fro")
    zero = np.all(np.equal(x, 0), axis=(-2, -1), keepdims=True)
    x = np.where(zero, 0, x)  # there a norm's derivative is 0
    if ord == "nuc":
        out = np.sum(np.linalg.svdvals(x), axis=-1)
    else:
        if ord in (2, -2):
            totals = np.linalg.svdvals(x)
        else:  # 1, -1, inf or -inf, or NumPy has refused it
            totals = np.sum(wide(np.abs(x)), axis=-2 if abs(ord) == 1 else -1)
        if totals.shape[-1] == 0:  # for which NumPy has a maximum, 0, but no minimum
            out = np.sum(totals, axis=-1)
        else:
            out = (np.max if ord > 0 else np.min)(totals, axis=-1)
    return np.expand_dims(out, (-2, -1)) if keepdims else out


@formula(np.linalg.norm)
def _norm(x: ArrayLike, ord: Option = None, axis: Axis = None, keepdims: bool = False) -> Value:
    x = as_array(x)
    axes: Any = axis if isinstance(axis, tuple) or axis is None else (int(axis),)
    if (ord is None and axes is None) or (len(axes) if axes is not None else x.ndim) == 1:
        return norm(x, axis=axes if axes is None else axes[0], keepdims=keepdims, ord=ord)
    axes = tuple(range(x.ndim)) if axes is None else axes
    out = _matrix_norm(np.moveaxis(x, axes, (-2, -1)), ord=ord)
    return np.expand_dims(out, axes) if keepdims else out


@formula(np.linalg.cond)
def _cond(x: ArrayLike, p: Option = None) -> Value:
    x = check_matrix("cond", x)
    if p in (None, 2, -2):
        s = np.linalg.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return _matrix_norm(x, ord=p) * _matrix_norm(np.linalg.inv(x), ord=p)
