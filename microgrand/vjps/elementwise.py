"""Functions that work element by element: most VJPs are what you learned at school.

The others avoid what a dtype cannot hold: a square that overflows, ``0 * inf``, a difference of
equal infinities. An argument may be a tensor, when derivatives of derivatives are computed.
Comparisons and roundings of it are plain arrays; other constants are computed from its data,
`data_of`.
"""

from __future__ import annotations

import math

import numpy as np

from ..dispatch import data_of, formula
from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from .rules import as_array, as_arrays, as_in, wide

# ------------------------------------------------------------------- elementwise, one argument

LOG_2 = math.log(2.0)
LOG_10 = math.log(10.0)

defvjp(np.negative, lambda g, out, x: -g)
defvjp(np.positive, lambda g, out, x: g)
defvjp(np.fabs, lambda g, out, x: g * np.sign(x))
defvjp(np.square, lambda g, out, x: g * (2 * x))
defvjp(np.sqrt, lambda g, out, x: g / (2 * out))
defvjp(np.cbrt, lambda g, out, x: g / (3 * out**2))
defvjp(np.reciprocal, lambda g, out, x: -g * out * out)

defvjp(np.exp, lambda g, out, x: g * out)
defvjp(np.exp2, lambda g, out, x: g * (out * LOG_2))
defvjp(np.expm1, lambda g, out, x: g * np.exp(x))
defvjp(np.log, lambda g, out, x: g / x)
defvjp(np.log2, lambda g, out, x: g / x / LOG_2)
defvjp(np.log10, lambda g, out, x: g / LOG_10 / x)  # LOG_10 * x might overflow
defvjp(np.log1p, lambda g, out, x: g / (1 + x))


def root_of_1_minus_square(x: Value) -> Value:
    """Return ``sqrt(1 - x**2)`` from its factors, which are exact near -1 and 1.

    For a complex ``x`` on a branch cut, the sign of the zero imaginary part tells which side it is
    on: ``-(x - 1)`` and ``x - (-1)`` keep it, ``1 - x`` and ``1 + x`` do not.
    """
    return np.sqrt(-(x - 1)) * np.sqrt(x - (-1))


def root_of_1_plus_square(x: Value) -> Value:
    """Return ``sqrt(1 + x^2)``, also where the square would overflow."""
    if x.dtype.kind == "c":
        return np.sqrt(1 + 1j * x) * np.sqrt(1 - 1j * x)
    return np.hypot(x, 1)


defvjp(np.sin, lambda g, out, x: g * np.cos(x))
defvjp(np.cos, lambda g, out, x: -g * np.sin(x))
defvjp(np.tan, lambda g, out, x: g * (1 + out**2))
defvjp(np.arcsin, lambda g, out, x: g / root_of_1_minus_square(x))
defvjp(np.arccos, lambda g, out, x: -g / root_of_1_minus_square(x))
defvjp(np.arctan, lambda g, out, x: g / root_of_1_plus_square(x) / root_of_1_plus_square(x))
defvjp(np.sinh, lambda g, out, x: g * np.cosh(x))
defvjp(np.cosh, lambda g, out, x: g * np.sinh(x))
defvjp(np.tanh, lambda g, out, x: g * (1 - out**2))
defvjp(np.arcsinh, lambda g, out, x: g / root_of_1_plus_square(x))
defvjp(np.arccosh, lambda g, out, x: g / (np.sqrt(x - 1) * np.sqrt(x - (-1))))
defvjp(np.arctanh, lambda g, out, x: g / (1 - x) / (1 + x))

defvjp(np.deg2rad, lambda g, out, x: g * (math.pi / 180))
defvjp(np.radians, lambda g, out, x: g * (math.pi / 180))
defvjp(np.rad2deg, lambda g, out, x: g * (180 / math.pi))
defvjp(np.degrees, lambda g, out, x: g * (180 / math.pi))


def not_zero(x: Value) -> Value:
    """Replace zeros with ones, for the divisor of something that is 0 there."""
    return np.where(np.equal(x, 0), 1, x)


def scaled_to_fit(x: Value, y: Value) -> tuple[Value, Value, Value]:
    """Scale `x` and `y` so that ``sqrt(x^2 + y^2)`` fits into the dtype; return the scale, too.

    It fits if it neither overflows nor is subnormal: a subnormal number has fewer digits.
    """
    x, y = map(wide, as_arrays(x, y))
    # hypot, as the squares themselves might overflow or underflow
    distance = np.hypot(data_of(x), data_of(y))
    dtype = distance.dtype.type
    info = np.finfo(dtype)
    up = np.where(np.less(distance, info.tiny), dtype(1 / info.eps), dtype(1))
    scale = np.where(np.isinf(distance), dtype(0.5), up)
    return x * scale, y * scale, scale


def cosine(x: Value, y: Value) -> Value:
    """Return ``x / sqrt(x^2 + y^2)``, the cosine of the direction of ``(x, y)``; 0 at the origin.

    Two infinities are equal, as they are to arctan2.
    """
    x, y, _ = scaled_to_fit(x, y)
    far = np.isinf(x) | np.isinf(y)  # then an infinite one counts 1, a finite one 0
    x, y = (np.where(far, np.copysign(np.isinf(z), data_of(z)), z) for z in (x, y))
    return x / not_zero(np.hypot(x, y))


def absolute_vjp(g: Value, out: Value, x: Value) -> Value:
    """``g sign(x)``, which for a complex number is ``g conj(x) / |x|``; 0 at 0."""
    if x.dtype.kind == "c":
        real, imag = np.real(x), np.imag(x)
        return g * (cosine(real, imag) - 1j * cosine(imag, real))
    return g * np.sign(x)


defvjp(np.absolute, absolute_vjp)


def nan_to_num_vjp(
    g: Value,
    out: Value,
    x: Value,
    copy: bool = True,
    nan: ArrayLike = 0.0,
    posinf: ArrayLike = None,
    neginf: ArrayLike = None,
) -> Value:
    """0 where a number is replaced, whatever the replacement; complex parts are separate."""
    if x.dtype.kind != "c":
        return np.where(np.isfinite(x), g, 0)
    real, imag = np.real(data_of(x)), np.imag(data_of(x))
    return np.where(np.isfinite(real), np.real(g), 0) + 1j * np.where(
        np.isfinite(imag), np.imag(g), 0
    )


defvjp(np.nan_to_num, nan_to_num_vjp)
defvjp(np.unwrap, lambda g, out, p, discont=None, axis=-1, *, period=2 * math.pi: g)


@formula(np.sinc)
def _sinc(x: ArrayLike) -> Value:
    # sin(y) / y. Near 0, where differentiating the quotient cancels to noise, use its Taylor series
    # up to y^18, by Horner's scheme from the last term. The next term is below rounding.
    y = x * math.pi
    near = np.less(np.abs(data_of(y)), 1)
    square = np.where(near, y, 0) ** 2
    series: Value = 1.0
    for k in range(18, 0, -2):
        series = 1 - square / (k * (k + 1)) * series
    y = np.where(near, 1, y)
    return np.where(near, series, np.sin(y) / y)


@formula(np.modf, constant_results=(1,))
def _modf(x: ArrayLike) -> tuple[Value, None]:
    return x - np.trunc(x), None


@formula(np.frexp, constant_results=(1,))
def _frexp(x: ArrayLike) -> tuple[Value, None]:
    exponent = np.frexp(data_of(x))[1]
    return np.ldexp(x, -exponent), None


@formula(np.divmod, constant_results=(0,))
def _divmod(x: ArrayLike, y: ArrayLike) -> tuple[None, Value]:
    return None, np.remainder(x, y)


# ---------------------------------------------------------------------------- complex numbers

# engine.py defines complex cotangents, and takes the real part of one that arrives at a real value.

defvjp(np.real, lambda g, out, z: g)
defvjp(np.imag, lambda g, out, z: g * -1j)
defvjp(np.conjugate, lambda g, out, z: np.conj(g))


@formula(np.angle)
def _angle(z: ArrayLike, deg: bool = False) -> Value:
    angle = np.arctan2(np.imag(z), np.real(z))
    return angle * (180 / math.pi) if deg else angle


# ------------------------------------------------------------------ elementwise, two arguments


def power_vjp_base(g: Value, out: Value, x: Value, y: Value) -> Value:
    """``y x^(y-1)``, which is 0 for ``y = 0`` also at ``x = 0``, where 0 * x^-1 would be nan."""
    if isinstance(y, (int, float)):  # as in x**2
        return g * (y * wide(as_in(out, x)) ** (y - 1)) if y != 0 else g * np.zeros_like(x)
    x, y = wide(as_in(out, as_array(x, g))), as_in(out, y)
    # Where y is 0, any finite power will do. But x^-1, where it is finite, is needed for the
    # derivative of this with respect to y.
    has_reciprocal = (np.abs(x) >= np.finfo(x.dtype).tiny) & np.isfinite(x)
    return g * (y * x ** np.where(np.equal(y, 0) & ~has_reciprocal, 0, y - 1))


def power_vjp_exponent(g: Value, out: Value, x: Value, y: Value) -> Value:
    """``x^y log x``, with the limit 0 where ``x^y`` is 0; 0 for ``0^0``, too."""
    x = wide(as_in(out, as_array(x, g)))
    vanishes = np.equal(out, 0) | (np.equal(x, 0) & np.equal(y, 0))
    return g * (out * np.log(np.where(vanishes, 1, x)))


def share_ties(g: Value, wins: Value, ties: Value) -> Value:
    """Give `g` to the winners of a comparison, and half of it where there is a tie."""
    return np.where(ties, g / 2, np.where(wins, g, 0))


defvjp(np.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
defvjp(np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g)
defvjp(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
defvjp(np.true_divide, lambda g, out, x, y: g / y, lambda g, out, x, y: -g * (wide(out) / y))
defvjp(np.power, power_vjp_base, power_vjp_exponent)
defvjp(np.float_power, power_vjp_base, power_vjp_exponent)
defvjp(np.remainder, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.floor_divide(x, y))
# out is x minus a whole number of times y, which rint recovers from the rounded quotient.
defvjp(np.fmod, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.rint((x - out) / y))
# maximum and minimum are nan where either argument is: a nan wins, and two nans both get all of g.
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
# fmax and fmin pass over a nan, unless both arguments are nan: then both get all of g.
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


def over_square_distance(g: Value, x: Value, y: Value) -> Value:
    """Return ``g x / (x^2 + y^2)``, as the cosine over the distance: the squares may overflow."""
    scaled_x, scaled_y, scale = scaled_to_fit(x, y)
    return g * (cosine(x, y) / not_zero(np.hypot(scaled_x, scaled_y)) * scale)


defvjp(np.hypot, lambda g, out, x, y: g * cosine(x, y), lambda g, out, x, y: g * cosine(y, x))
defvjp(
    np.arctan2,
    lambda g, out, y, x: over_square_distance(g, x, y),
    lambda g, out, y, x: -over_square_distance(g, y, x),
)


def difference(y: Value, x: Value) -> Value:
    """Return ``y - x``, but 0 for equal infinities."""
    equal = np.equal(x, y) & np.isinf(x)
    return np.where(equal, 0, y) - np.where(equal, 0, x)


# The share of e^x in e^x + e^y is 1 / (1 + e^(y - x)), which depends on the difference only.
defvjp(
    np.logaddexp,
    lambda g, out, x, y: g * np.exp(-np.logaddexp(0, difference(y, x))),
    lambda g, out, x, y: g * np.exp(-np.logaddexp(0, difference(x, y))),
)
defvjp(
    np.logaddexp2,
    lambda g, out, x, y: g * np.exp2(-np.logaddexp2(0, difference(y, x))),
    lambda g, out, x, y: g * np.exp2(-np.logaddexp2(0, difference(x, y))),
)
# zeros_like(g) is a derivative of 0. None, in place of a VJP, would say that there is none: a
# gradient with respect to the argument is refused.
defvjp(
    np.copysign,
    lambda g, out, x, y: g * np.sign(x) * np.copysign(1.0, data_of(y)),
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

# ---------------------------------------------------------------------------------- clipping


@primitive
def clip(x: Value, low: Value, high: Value) -> Value:
    """Limit `x` to ``[low, high]``; either may be None."""
    return np.clip(x, low, high)


def clip_vjp_low(g: Value, out: Value, x: Value, low: Value, high: Value) -> Value:
    """The lower limit is the result where `x` is below it, unless the upper one is lower still."""
    shows = np.less(x, low) if high is None else np.less(x, low) & np.less_equal(low, high)
    return np.where(shows, g, 0)


def clip_vjp_high(g: Value, out: Value, x: Value, low: Value, high: Value) -> Value:
    """The upper limit is the result where `x`, or the lower limit, is above it."""
    shows = np.greater(x, high) if low is None else np.greater(np.maximum(x, low), high)
    return np.where(shows, g, 0)


def clip_vjp(g: Value, out: Value, x: Value, low: Value, high: Value) -> Value:
    """Inside and at the limits, the result is `x` itself."""
    below = False if low is None else np.less(x, low)
    above = False if high is None else np.greater(x, high)
    return np.where(np.logical_or(below, above), 0, g)


defvjp(clip, clip_vjp, clip_vjp_low, clip_vjp_high)


@formula(np.clip)  # not exact: NumPy refuses a limit that is given twice
def _clip(
    a: ArrayLike,
    a_min: ArrayLike = None,
    a_max: ArrayLike = None,
    *,
    min: ArrayLike = None,
    max: ArrayLike = None,
) -> Value:
    return clip(a, a_min if min is None else min, a_max if max is None else max)
