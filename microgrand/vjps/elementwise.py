"""Functions that work element by element: each VJP is the derivative that school teaches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..tensor import unwrap
from .rules import stands_in_for

# ------------------------------------------------------------------- elementwise, one argument

LOG_2 = math.log(2.0)
LOG_10 = math.log(10.0)

defvjp(np.negative, lambda g, out, x: -g)
defvjp(np.positive, lambda g, out, x: g)
defvjp(np.fabs, lambda g, out, x: g * np.sign(x))
defvjp(np.square, lambda g, out, x: g * 2 * x)
defvjp(np.sqrt, lambda g, out, x: g / (2 * out))
defvjp(np.cbrt, lambda g, out, x: g / (3 * out**2))
defvjp(np.reciprocal, lambda g, out, x: -g * out**2)

defvjp(np.exp, lambda g, out, x: g * out)
defvjp(np.exp2, lambda g, out, x: g * out * LOG_2)
defvjp(np.expm1, lambda g, out, x: g * np.exp(x))
defvjp(np.log, lambda g, out, x: g / x)
defvjp(np.log2, lambda g, out, x: g / (x * LOG_2))
defvjp(np.log10, lambda g, out, x: g / (x * LOG_10))
defvjp(np.log1p, lambda g, out, x: g / (1 + x))

defvjp(np.sin, lambda g, out, x: g * np.cos(x))
defvjp(np.cos, lambda g, out, x: -g * np.sin(x))
defvjp(np.tan, lambda g, out, x: g * (1 + out**2))
defvjp(np.arcsin, lambda g, out, x: g / np.sqrt(1 - x**2))
defvjp(np.arccos, lambda g, out, x: -g / np.sqrt(1 - x**2))
defvjp(np.arctan, lambda g, out, x: g / (1 + x**2))
defvjp(np.sinh, lambda g, out, x: g * np.cosh(x))
defvjp(np.cosh, lambda g, out, x: g * np.sinh(x))
defvjp(np.tanh, lambda g, out, x: g * (1 - out**2))
defvjp(np.arcsinh, lambda g, out, x: g / np.sqrt(x**2 + 1))
defvjp(np.arccosh, lambda g, out, x: g / np.sqrt(x**2 - 1))
defvjp(np.arctanh, lambda g, out, x: g / (1 - x**2))

defvjp(np.deg2rad, lambda g, out, x: g * (math.pi / 180))
defvjp(np.radians, lambda g, out, x: g * (math.pi / 180))
defvjp(np.rad2deg, lambda g, out, x: g * (180 / math.pi))
defvjp(np.degrees, lambda g, out, x: g * (180 / math.pi))


def not_zero(x: Any) -> Any:
    """Replace zeros by ones: for a divisor of something that is to be 0 where it is 0."""
    return np.where(np.equal(x, 0), 1, x)


def absolute_vjp(g: Any, out: Any, x: Any) -> Any:
    """``g sign(x)``, which for a complex number is ``g conj(x) / |x|``; 0 at 0."""
    if x.dtype.kind == "c":
        return g * np.conj(x) / not_zero(out)
    return g * np.sign(x)


defvjp(np.absolute, absolute_vjp)


@primitive
def replace_nan(x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    """Call ``np.nan_to_num``."""
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


defvjp(replace_nan, lambda g, out, x, nan, posinf, neginf: np.where(np.isfinite(x), g, 0))


@stands_in_for(np.nan_to_num)
def _nan_to_num(
    x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    if not copy:
        raise TypeError(
            "np.nan_to_num with copy=False cannot write into a Tensor, as graphs may have saved "
            "its values; leave copy out, and use the result"
        )
    return replace_nan(x, nan, posinf, neginf)


defvjp(np.unwrap, lambda g, out, p, discont=None, axis=-1, *, period=2 * math.pi: g)


@stands_in_for(np.sinc)
def _sinc(x: Any) -> Any:
    # sin(y) / y; near 0, where its derivatives cancel to noise, the series of it.
    y = x * math.pi
    near = np.less(np.abs(unwrap(y)), 1)
    square = np.where(near, y, 0) ** 2
    series: Any = 1.0
    for k in range(18, 0, -2):
        series = 1 - square / (k * (k + 1)) * series
    y = np.where(near, 1, y)
    return np.where(near, series, np.sin(y) / y)


@primitive
def fractional_part(x: Any) -> Any:
    """Return the first result of ``np.modf``."""
    return np.modf(x)[0]


defvjp(fractional_part, lambda g, out, x: g)


@stands_in_for(np.modf)
def _modf(x: Any) -> Any:
    return fractional_part(x), np.modf(unwrap(x))[1]


@stands_in_for(np.frexp)
def _frexp(x: Any) -> Any:
    exponent = np.frexp(unwrap(x))[1]
    return np.ldexp(x, -exponent), exponent


# ---------------------------------------------------------------------------- complex numbers

# The cotangent g of a complex z is defined by d loss = Re(sum(g dz)), without a conjugate. Then
# all VJPs of functions that are differentiable in the complex plane hold as they stand. The engine
# takes the real part where a complex cotangent arrives at a real argument.

defvjp(np.real, lambda g, out, z: g)
defvjp(np.imag, lambda g, out, z: g * -1j)
defvjp(np.conjugate, lambda g, out, z: np.conj(g))


@stands_in_for(np.angle)
def _angle(z: Any, deg: bool = False) -> Any:
    angle = np.arctan2(np.imag(z), np.real(z))
    return angle * (180 / math.pi) if deg else angle


# ------------------------------------------------------------------ elementwise, two arguments


def power_vjp_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``y x^(y-1)``, which is 0 for ``y = 0`` also at ``x = 0``, where 0 * x^-1 would be nan."""
    if isinstance(y, (int, float)):
        return g * (y * x ** (y - 1)) if y != 0 else g * np.zeros_like(x)
    return g * y * x ** np.where(y == 0, 1, y - 1)


def power_vjp_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``x^y log x``, which is taken as 0 for ``x = 0``, where 0 * log 0 would be nan."""
    return g * out * np.log(np.where(x == 0, 1, x))


def share_ties(g: Any, wins: Any, ties: Any) -> Any:
    """Give `g` to the winners of a comparison, and half of it where there is a tie."""
    return np.where(ties, g / 2, np.where(wins, g, 0))


defvjp(np.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
defvjp(np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g)
defvjp(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
defvjp(np.true_divide, lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
defvjp(np.power, power_vjp_base, power_vjp_exponent)
defvjp(np.float_power, power_vjp_base, power_vjp_exponent)
defvjp(np.remainder, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.floor_divide(x, y))
defvjp(np.fmod, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.trunc(x / y))
# maximum and minimum are nan where either argument is: a nan wins.
defvjp(
    np.maximum,
    lambda g, out, x, y: share_ties(g, np.greater(x, y) | np.isnan(x), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.greater(y, x) | np.isnan(y), np.equal(x, y)),
)
defvjp(
    np.minimum,
    lambda g, out, x, y: share_ties(g, np.less(x, y) | np.isnan(x), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.less(y, x) | np.isnan(y), np.equal(x, y)),
)
# fmax and fmin pass over a nan, unless both are.
defvjp(
    np.fmax,
    lambda g, out, x, y: share_ties(g, np.greater(x, y) | np.isnan(y), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.greater(y, x) | np.isnan(x), np.equal(x, y)),
)
defvjp(
    np.fmin,
    lambda g, out, x, y: share_ties(g, np.less(x, y) | np.isnan(y), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.less(y, x) | np.isnan(x), np.equal(x, y)),
)
defvjp(
    np.hypot,
    lambda g, out, x, y: g * x / not_zero(out),
    lambda g, out, x, y: g * y / not_zero(out),
)
defvjp(
    np.arctan2,
    lambda g, out, y, x: g * x / not_zero(x**2 + y**2),
    lambda g, out, y, x: -g * y / not_zero(x**2 + y**2),
)


def difference(x: Any, out: Any) -> Any:
    """``x - out``, the logarithm of the share of `x` in a sum `out` of exponentials.

    An infinite sum has the larger of both as its only part, or both in equal shares.
    """
    return np.where(np.isinf(out), 0, x) - np.where(np.isinf(out), 0, out)


def shares(g: Any, out: Any, x: Any, y: Any, share: Any) -> Any:
    """Give `g` to `x` by its share in the sum; an infinite sum is a maximum."""
    infinite = share_ties(g, np.greater(x, y), np.equal(x, y))
    return np.where(np.isinf(out), infinite, g * share)


defvjp(
    np.logaddexp,
    lambda g, out, x, y: shares(g, out, x, y, np.exp(difference(x, out))),
    lambda g, out, x, y: shares(g, out, y, x, np.exp(difference(y, out))),
)
defvjp(
    np.logaddexp2,
    lambda g, out, x, y: shares(g, out, x, y, np.exp2(difference(x, out))),
    lambda g, out, x, y: shares(g, out, y, x, np.exp2(difference(y, out))),
)
defvjp(
    np.copysign,
    lambda g, out, x, y: g * np.sign(x) * np.copysign(1.0, unwrap(y)),
    lambda g, out, x, y: np.zeros_like(g),
)
defvjp(
    np.heaviside,
    lambda g, out, x, at_zero: np.zeros_like(g),
    lambda g, out, x, at_zero: np.where(np.equal(x, 0), g, 0),
)
defvjp(np.ldexp, lambda g, out, x, exponent: np.ldexp(g, exponent))
defvjp(
    np.where,
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
)

# ---------------------------------------------------------------------- limits


@primitive
def clip(x: Any, low: Any, high: Any) -> Any:
    """Limit `x` to ``[low, high]``; either may be None."""
    return np.clip(x, low, high)


def clip_vjp_low(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """The lower limit shows where `x` is below it, unless the upper one is lower still."""
    shows = np.less(x, low) if high is None else np.less(x, low) & np.less_equal(low, high)
    return np.where(shows, g, 0)


def clip_vjp_high(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """The upper limit shows where `x`, or the lower limit, is above it."""
    shows = np.greater(x, high) if low is None else np.greater(np.maximum(x, low), high)
    return np.where(shows, g, 0)


def clip_vjp(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """Inside and at the limits, the result is `x` itself."""
    below = False if low is None else np.less(x, low)
    above = False if high is None else np.greater(x, high)
    return np.where(np.logical_or(below, above), 0, g)


defvjp(clip, clip_vjp, clip_vjp_low, clip_vjp_high)


@stands_in_for(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return clip(a, a_min if min is None else min, a_max if max is None else max)
