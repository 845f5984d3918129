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
defvjp(np.absolute, lambda g, out, x: g * np.sign(x))
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
defvjp(np.hypot, lambda g, out, x, y: g * x / out, lambda g, out, x, y: g * y / out)
defvjp(
    np.arctan2,
    lambda g, out, y, x: g * x / (x**2 + y**2),
    lambda g, out, y, x: -g * y / (x**2 + y**2),
)
defvjp(
    np.logaddexp,
    lambda g, out, x, y: g * np.exp(x - out),
    lambda g, out, x, y: g * np.exp(y - out),
)
defvjp(
    np.logaddexp2,
    lambda g, out, x, y: g * np.exp2(x - out),
    lambda g, out, x, y: g * np.exp2(y - out),
)
defvjp(
    np.copysign,
    lambda g, out, x, y: g * np.sign(x) * np.copysign(1.0, unwrap(y)),
    lambda g, out, x, y: np.zeros_like(g),
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
