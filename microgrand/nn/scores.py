"""Standard scores: subtract a mean, divide by a deviation; then scale and shift.

    z = (x - mean) s,    s = 1 / sqrt(var + eps),    out = z weight + bias

The kinds differ in the axes that mean and variance are taken over: those of the batch and of space
(BatchNorm), of the features (LayerNorm), of a group of channels and of space (GroupNorm), of space
alone (InstanceNorm). `RMSNorm` subtracts nothing. As mean and variance depend on x, too, the
cotangent of x is

    g_x = s (g - mean(g) - z mean(g z)),

what is left of ``g`` when its parts along a constant and along ``z`` are taken out: along these, z
does not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ..dispatch import data_of
from ..engine import defvjp, primitive, wider
from ..kinds import Array, Value
from ..tensor import Tensor
from ..vjps.rules import wide

Axes: TypeAlias = tuple[int, ...]


def total(axes: Axes, *factors: Value) -> Value:
    """Sum products over axes, which stay with length 1.

    Where that is many numbers, axis by axis, and along a long axis in a wider dtype.
    """
    shape, dtype = factors[0].shape, factors[0].dtype
    more = wider(dtype, math.prod([shape[axis] for axis in axes]))
    if more is not None and len(axes) > 1:
        return total(axes[:-1], total(axes[-1:], *factors))
    if more is not None:
        factors = tuple([factor.astype(more) for factor in factors])
    every = list(range(len(shape)))
    kept = [axis for axis in every if axis not in axes]
    summed = np.einsum(*[part for factor in factors for part in (factor, every)], kept)
    lengths = [1 if axis in axes else length for axis, length in enumerate(shape)]
    return np.reshape(summed, lengths).astype(dtype, copy=False)


def mean(axes: Axes, *factors: Value) -> Value:
    """Average products over axes, which stay with length 1."""
    return total(axes, *factors) / math.prod([factors[0].shape[axis] for axis in axes])


@dataclass(frozen=True)
class How:
    """Which axes to average over, what to add to the variance, and whether to subtract a mean."""

    axes: Axes
    eps: float
    centered: bool = True


def scores(x: Value, how: How) -> tuple[Value, Value, Value, Value]:
    """Return z and s, and the mean and variance that they are made from."""
    x = wide(x)
    center = mean(how.axes, x) if how.centered else None
    z = x if center is None else x - center
    variance = mean(how.axes, z, z)
    scale = 1 / np.sqrt(variance + how.eps)
    if center is None:
        z = z * scale
    else:
        z *= scale  # where it is
    return z, scale, center, variance


# The derivative of z by x is a symmetric matrix P, its own transpose. It depends on x by z and s,
# whose differentials are dz = P dx and ds = -s^2 (z dx) / n; the product rule does the rest.


@primitive
def standardize(x: Value, z: Array, scale: Array, how: How) -> Value:
    """Return z; it is given as a constant, with s, as the backward pass needs both."""
    return z


@primitive
def project(g: Value, x: Value, z: Array, scale: Array, how: How) -> Value:
    """Return ``P g = s (g - mean(g) - z mean(g z))``."""
    g, z = wide(g), wide(z)
    part = z * mean(how.axes, g, z)
    if how.centered:
        np.add(part, mean(how.axes, g), out=part)
    np.subtract(g, part, out=part)
    return np.multiply(part, scale, out=part)


def project_vjp(
    h: Value, out: Value, g: Value, x: Value, z: Array, scale: Array, how: How
) -> Value:
    """Differentiate ``h P g`` by x."""
    if isinstance(x, Tensor):  # to be differentiated again, for which constants will not do
        z, scale, *_ = scores(x, how)
    g, h, z = wide(g), wide(h), wide(z)
    slope = g * mean(how.axes, h, z) + h * mean(how.axes, g, z)
    projected = project(slope * scale, x, data_of(z), data_of(scale), how)
    return -projected - z * scale * mean(how.axes, h, wide(out))


defvjp(standardize, lambda g, out, x, *constants: project(g, x, *constants))
defvjp(project, lambda h, out, g, x, *constants: project(h, x, *constants), project_vjp)


def standardized(x: Tensor, how: How) -> tuple[Tensor, Array, Array]:
    """Return z of a tensor, and its mean and variance as arrays."""
    z, scale, center, variance = scores(x._array, how)
    return standardize(x, z.astype(x.dtype, copy=False), scale, how), center, variance


@primitive
def rescale(x: Value, weight: Value, bias: Value) -> Value:
    """Return ``x weight + bias``, where weight and bias may have axes of length 1."""
    out = x * weight
    return out if bias is None else np.add(out, bias, out=out)


def rescale_vjp(g: Value, out: Value, needed: Any, x: Value, weight: Value, bias: Value) -> Any:
    """Weight and bias take part along their axes of length 1: hence the sums over these."""
    g, x = wide(g), wide(x)
    lengths = (1,) * (x.ndim - weight.ndim) + weight.shape
    axes = tuple([axis for axis, length in enumerate(lengths) if length == 1])
    return (
        g * weight if needed[0] else None,
        np.reshape(total(axes, g, x), weight.shape) if needed[1] else None,
        np.reshape(total(axes, g), bias.shape) if needed[2] else None,
    )


defvjp(rescale, joint=rescale_vjp)
