"""Checks of differences, integrals, interpolation and polynomials."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from .cases import (
    Case,
    an_axis,
    arrays,
    broadcastable_shapes,
    covers,
    full_side,
    several_axes,
    shapes,
    side,
    some_constant,
)
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(np.diff)
@st.composite
def differences(draw, function):
    x = draw(arrays(shapes(1)))
    n, axis = draw(st.integers(0, 3)), draw(an_axis(x.ndim))
    if n and draw(st.booleans()):
        end = list(x.shape)
        end[axis] = draw(side)
        values = [x, draw(arrays(draw(st.sampled_from([tuple(end), ()]))))]
        name = draw(st.sampled_from(["prepend", "append"]))
        return draw(some_constant(lambda x, end: function(x, n, axis, **{name: end}), values))
    return Case(lambda x: function(x, n, axis), [x])


@covers(np.ediff1d)
@st.composite
def flat_differences(draw, function):
    x = draw(arrays(shapes(1)))
    if draw(st.booleans()):
        return Case(lambda x, y: function(x, y, [1, 2]), [x, draw(arrays(shapes(0, 1)))])
    return Case(function, [x])


@covers(np.gradient)
@st.composite
def slopes(draw, function):
    order = draw(st.sampled_from([1, 2]))
    f = draw(arrays(shapes(1, 2, min_side=3 if order == 2 else 2, max_side=4)))
    options = {"edge_order": order}
    kind = draw(st.sampled_from(["plain", "spacing", "coordinates", "axes"]))
    if kind == "plain":
        return Case(lambda f: function(f, **options), [f])
    if kind == "axes":
        axis = draw(several_axes(f.ndim, 1))
        return Case(lambda f: function(f, *range(1, 1 + len(axis)), axis=axis, **options), [f])
    axis = draw(an_axis(f.ndim))
    spacing = draw(arrays(() if kind == "spacing" else f.shape[axis], 0.5, 2.0))
    spacing = np.sort(spacing) if spacing.ndim else spacing
    call = lambda f, h: function(f, h, axis=axis, **options)
    return draw(some_constant(call, [f, spacing], ["array"]))


@covers(np.trapezoid)
@st.composite
def integrals(draw, function):
    y = draw(arrays(shapes(1)))
    axis = draw(an_axis(y.ndim))
    if draw(st.booleans()):
        return Case(lambda y: function(y, dx=0.7, axis=axis), [y])
    x = draw(arrays(draw(st.sampled_from([y.shape, y.shape[axis]]))))
    return draw(some_constant(lambda y, x: function(y, x, axis=axis), [y, x], ["array"]))


@covers(np.interp)
@st.composite
def interpolations(draw, function):
    n = draw(st.integers(1, 4))
    places = np.arange(n) + draw(arrays(n, -0.2, 0.2))
    x = draw(hnp.arrays(np.int64, shapes(), elements=st.integers(-1, n))) + 0.5
    options = draw(
        st.sampled_from([{}, {"left": 1.5, "right": -1.5}, {"period": n + 0.5} if n > 1 else {}])
    )
    values = [x, places, draw(arrays(n))]
    return draw(some_constant(lambda *args: function(*args, **options), values, ["array", "list"]))


@covers(np.polyval)
@st.composite
def polynomials(draw, function):
    values = [draw(arrays(shapes(1, 1))), draw(arrays(shapes()))]
    return draw(some_constant(function, values))


@covers(np.vander)
@st.composite
def powers(draw, function):
    n, increasing = draw(st.sampled_from([None, 0, 1, 4])), draw(st.booleans())
    if n == 0:
        n = 2
    return Case(lambda x: function(x, n, increasing), [draw(arrays(draw(full_side)))])


@covers(np.linspace)
@st.composite
def spaces(draw, function):
    values = [draw(arrays(shape)) for shape in draw(broadcastable_shapes(2))]
    num, endpoint = draw(st.integers(0, 4)), draw(st.booleans())
    axis = draw(st.sampled_from([0, -1]))
    call = lambda start, stop: function(start, stop, num, endpoint, axis=axis)
    return draw(some_constant(call, values, ["array"]))
