"""The cumulative function of the normal distribution, which NumPy lacks.

    Phi(x) = integral of exp(-t^2 / 2) / sqrt(2 pi) from -inf to x

For ``x >= 0``, ``Phi(-x)`` decays as ``exp(-x^2 / 2) / (1 + x)``. What is left, divided by that, is
smooth all the way to infinity, and in ``t = (x - 5) / (x + 5)``, which maps the half line to
``[-1, 1]``, a short Chebyshev series gives it to the last bits, in the tail, too.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import Value

#: The coefficients of ``(1 + x) exp(x^2 / 2) Phi(-x)``, by its values at the Chebyshev nodes,
#: computed with 60 digits.
SERIES = [
    "0.4619742120721856809139",
    "-0.06516520239491263059205",
    "-0.005458781501136567223122",
    "0.01229619904556343959501",
    "-0.006470872915703687992043",
    "0.002240735522416830540365",
    "-0.0005638623774651973723706",
    "0.0000998403108292581156647",
    "-0.000009849514843168493369774",
    "-4.032494233045217126309e-7",
    "2.990239620130340156988e-7",
    "-3.032070748442813866615e-8",
    "-4.617665713929027261447e-9",
    "1.329828800838269210715e-9",
    "3.007242719019044844759e-11",
    "-4.429953725532815661287e-11",
    "1.399985714701815073824e-12",
    "1.47189570289125703862e-12",
    "-9.325953119165371950831e-14",
    "-5.294681169067695186769e-14",
    "3.958188414414517082708e-15",
    "2.104821464296319376721e-15",
    "-1.345671286136143924281e-16",
    "-9.097614914495832428719e-17",
    "2.990603210566655508708e-18",
    "4.120292578607832961584e-18",
    "5.960428481740838792751e-20",
    "-1.865880671442931719397e-19",
    "-1.445898086909346420872e-20",
    "7.960394839028229890752e-21",
    "1.319047002309584974713e-21",
    "-2.877004584555696425832e-22",
]


@functools.cache
def polynomial(dtype: Any) -> list[Any]:
    """Return the coefficients of the powers of ``t`` that matter in a dtype, the highest first."""
    from numpy.polynomial.chebyshev import cheb2poly  # slow to import

    series = np.array(SERIES, np.longdouble)
    series = series[: 1 + np.flatnonzero(np.abs(series) > np.finfo(dtype).eps / 16)[-1]]
    return list(cheb2poly(series)[::-1].astype(dtype))


@functools.cache
def reach(dtype: Any) -> Any:
    """Return how far from 0 ``exp(-x^2 / 2)`` may differ from 0 in a dtype."""
    return np.ceil(np.sqrt(-2 * np.log(np.finfo(dtype).smallest_subnormal)))


def bell(x: Value) -> Value:
    """Return ``exp(-x^2 / 2)``."""
    # The square of x is rounded. So split x into a number of few digits, whose square is exact,
    # and a small rest: x^2 = head^2 + (x - head) (x + head).
    head = np.rint(x * 8) * 0.125
    return np.exp(head * head * -0.5) * np.exp((x - head) * (x + head) * -0.5)


def tail(distance: Value, height: Value) -> Value:
    """Return ``Phi(-distance)``, for a distance not below 0; `height` is its `bell`."""
    t = distance - 5
    t /= distance + 5
    coefficients = polynomial(t.dtype)
    series = t * coefficients[0]
    series += coefficients[1]
    for coefficient in coefficients[2:]:
        series *= t
        series += coefficient
    series *= height
    series /= distance + 1
    return series


def cdf_of(x: Value, tail: Value) -> Value:
    """Return the tail on the left of 0, and 1 less the tail on the right."""
    return np.abs(np.greater(x, 0) - tail)  # a choice between the two takes longer


@primitive
def normal_cdf(x: Value) -> Value:
    """Return the probability that a standard normal variable is at most `x`.

    Parameters
    ----------
    x
        Array or tensor of a float dtype.

    References
    ----------
    Shepherd, Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc(x) in 0 <= x < inf",
    Mathematics of Computation 36 (1981), 249-253.

    Examples
    --------
    >>> import numpy as np
    >>> normal_cdf(np.array([-np.inf, -2.0, 0.0, 2.0]))
    array([0.        , 0.02275013, 0.5       , 0.97724987])
    """
    distance = np.abs(np.clip(x, -reach(x.dtype), reach(x.dtype)))
    return cdf_of(x, tail(distance, bell(distance)))


def normal_density(x: Value) -> Value:
    """Return the density of a standard normal variable: the derivative of `normal_cdf`."""
    x = np.clip(x, -reach(x.dtype), reach(x.dtype))
    return np.exp(np.square(x) * -0.5) * (1 / math.sqrt(2 * math.pi))


defvjp(normal_cdf, lambda g, out, x: g * normal_density(x))
