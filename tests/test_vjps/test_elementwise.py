"""Checks of functions that work element by element."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgrand import vjps
from microgrand.testing import gradcheck

from .cases import (
    Case,
    an_axis,
    arrays,
    broadcastable_shapes,
    covers,
    few,
    shapes,
    signed,
    some_constant,
)
from .walks import *  # noqa: F403  the tests of all that this file has checks for

FORMS = ("array", "list", "number", "dtype")  # that a constant may have
ANY, POSITIVE, UNIT = (-2.0, 2.0), (0.5, 3.0), (-0.8, 0.8)

for functions, domain in (
    ([np.negative, np.positive, np.square, np.exp, np.exp2, np.expm1, np.sin, np.cos], ANY),
    ([np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh], ANY),
    ([np.sinc], ANY),
    ([np.deg2rad, np.radians, np.rad2deg, np.degrees], ANY),
    ([np.sqrt, np.log, np.log2, np.log10], POSITIVE),
    ([np.log1p], (-0.5, 2.0)),
    ([np.tan, np.arcsin, np.arccos, np.arctanh], UNIT),
    ([np.arccosh], (1.2, 3.0)),
):

    @covers(*functions)
    def unary(function, domain=domain):
        return st.builds(lambda x: Case(function, [x]), arrays(shapes(), *domain))


@covers(np.absolute, np.fabs, np.cbrt, np.reciprocal, np.nan_to_num)
def away_from_zero(function):
    return st.builds(lambda x: Case(function, [x]), signed(shapes()))


@covers(
    *(np.add, np.subtract, np.multiply, np.true_divide, np.hypot, np.arctan2, np.copysign),
    *(np.logaddexp, np.logaddexp2),
)
@st.composite
def binary(draw, function):
    values = [draw(signed(shape)) for shape in draw(broadcastable_shapes(2))]
    return draw(some_constant(function, values, FORMS))


@covers(np.power, np.float_power)
@st.composite
def powers(draw, function):
    if draw(st.sampled_from([True, True, False])):
        base, exponent = draw(broadcastable_shapes(2))
        values = [draw(arrays(base, 0.5, 2.0)), draw(arrays(exponent))]
        return draw(some_constant(function, values, FORMS))
    x = draw(signed(shapes()))
    whole = draw(st.sampled_from([2, 0, 1, 3, -1, -2, 2.0, 0.0, 1.0, 3.0, -1.0]))
    if draw(st.booleans()):
        whole = np.full(draw(st.sampled_from([(), (1,), x.shape])), whole)
        if whole.dtype.kind == "i" and draw(st.booleans()):
            whole = whole.astype(np.int32)
    return Case(lambda x: function(x, whole), [x])


@covers(np.remainder, np.fmod, np.divmod)
@st.composite
def remainders(draw, function):
    # Quotients near 0.5, -1.5 and so on: away from whole numbers, where the result jumps.
    shape, other = draw(broadcastable_shapes(2))
    whole = draw(hnp.arrays(np.int64, shape, elements=st.integers(-2, 2)))
    x, y = whole + draw(arrays(shape, 0.3, 0.7)), draw(signed(other, 0.97, 1.03))
    scale = draw(st.sampled_from([1.0, 0.5, 2.0]))
    return draw(some_constant(function, [scale * x, scale * y], FORMS))


@covers(np.maximum, np.minimum, np.fmax, np.fmin)
@st.composite
def extrema_of_two(draw, function):
    # Multiples of 0.5 against those plus 0.25: neither equal nor nearly so.
    shape, other = draw(broadcastable_shapes(2))
    x, y = (
        draw(hnp.arrays(np.int64, s, elements=st.integers(-3, 3))) / 2 + draw(arrays(s, -0.1, 0.1))
        for s in (shape, other)
    )
    return draw(some_constant(function, [x, y + 0.25], FORMS))


@covers(np.ldexp)
@st.composite
def ldexps(draw, function):
    shape, other = draw(broadcastable_shapes(2))
    exponent = draw(hnp.arrays(np.int32, other, elements=st.integers(-3, 3)))
    return Case(lambda x: function(x, exponent), [draw(arrays(shape))])


@covers(np.heaviside)
@st.composite
def steps(draw, function):
    shape, other = draw(broadcastable_shapes(2))
    x = draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, 1))).astype(float)
    return Case(lambda y: function(x.astype(y.dtype), y), [draw(arrays(other))])


@covers(np.where)
@st.composite
def wheres(draw, function):
    shape, *others = draw(broadcastable_shapes(3))
    condition = draw(hnp.arrays(bool, shape))
    values = [draw(arrays(other)) for other in others]
    return draw(some_constant(lambda x, y: function(condition, x, y), values, FORMS))


@covers(np.clip, vjps.elementwise.clip)
@st.composite
def clips(draw, function):
    # The limits are near -0.5 and 0.5, the values not.
    shape, low, high = draw(broadcastable_shapes(3))
    x = draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, 1)))
    x = x + draw(arrays(shape, -0.3, 0.3))
    low, high = draw(arrays(low, -0.6, -0.4)), draw(arrays(high, 0.4, 0.6))
    kind = draw(st.sampled_from(["both", "low", "high", "crossed"]))
    forms = FORMS if function is np.clip else ["array"]
    if kind == "low":
        return draw(some_constant(lambda x, low: function(x, low, None), [x, low], forms))
    if kind == "high":
        return draw(some_constant(lambda x, high: function(x, None, high), [x, high], forms))
    if kind == "crossed":
        low, high = high, low
    return draw(some_constant(function, [x, low, high], forms))


@covers(np.modf)
@st.composite
def fractions(draw, function):
    shape = draw(shapes())
    whole = draw(hnp.arrays(np.int64, shape, elements=st.integers(-3, 3)))
    return Case(function, [whole + draw(arrays(shape, 0.2, 0.8)) * np.where(whole < 0, -1, 1)])


@covers(np.frexp)
@st.composite
def mantissas(draw, function):
    # Away from powers of two, where the exponent jumps.
    return Case(function, [draw(signed(shapes(), 1.1, 1.9)) * draw(st.sampled_from([1, 4, 0.125]))])


@covers(np.unwrap)
@st.composite
def unwraps(draw, function):
    x = draw(arrays(shapes(1), -9, 9))
    axis = draw(an_axis(x.ndim))
    return Case(lambda x: function(x, axis=axis), [x])


# ---------------------------------------------------------------------------- complex numbers


def parts(z):
    return np.real(z), np.imag(z)


@covers(np.real, np.imag, np.conjugate)
@st.composite
def of_complex(draw, function):
    return Case(lambda x: parts(function(x * (1 + 2j))), [draw(arrays(shapes()))])


@covers(np.angle)
@st.composite
def angles(draw, function):
    shape = draw(shapes())
    deg = draw(st.booleans())
    values = [draw(arrays(shape, 0.5, 2.0)), draw(signed(shape))]
    return Case(lambda x, y: function(x + 1j * y, deg), values)


COMPLEX = {
    "absolute": np.absolute,
    "conjugate": lambda z: parts(np.conj(z)),
    "real": np.real,
    "imag": np.imag,
    "product": lambda z: parts(z * z.T),
    "quotient": lambda z: parts((1 + 2j) / z),
    "exp": lambda z: parts(np.exp(z)),
    "power": lambda z: parts(z**3),
    "sqrt": lambda z: parts(np.sqrt(z)),
    "matmul": lambda z: parts(z @ z),
    "einsum": lambda z: parts(np.einsum("ij,kj->ik", z, z)),
    "sum of squares": lambda z: np.sum(np.abs(z) ** 2),
    "prod": lambda z: parts(np.prod(z, 0)),
    "mean": lambda z: parts(np.mean(z, 1)),
    "var": np.var,
    "std": np.std,
    "cumsum": lambda z: parts(np.cumsum(z)),
    "vdot": lambda z: parts(np.vdot(z, z @ z)),
    "vecdot": lambda z: parts(np.vecdot(z, z.T)),
    "correlate": lambda z: parts(np.correlate(z[0], z[1], "full")),
    "norm": np.linalg.norm,
    "inv": lambda z: parts(np.linalg.inv(z)),
    "det": lambda z: parts(np.linalg.det(z)),
    "solve": lambda z: parts(np.linalg.solve(z, z.T)),
    "getitem": lambda z: parts(z[[0, 1, 0]]),
    "roll": lambda z: parts(np.roll(z, 1)),
    "concatenate": lambda z: parts(np.concatenate([z, z])),
    "where": lambda z: parts(np.where([True, False], z, 1)),
}


@pytest.mark.parametrize("name", COMPLEX)
@few
@given(data=st.data())
def test_complex_values_in_between(name, data):
    function = COMPLEX[name]
    x, y = data.draw(arrays((2, 2))), data.draw(arrays((2, 2)))
    gradcheck(lambda x, y: function(x + 1j * y), x + 3 * np.eye(2), y, order=2, mode="fast")
