"""Checks of functions that combine the elements along axes."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from microgrand import vjps

from .cases import (
    Case,
    an_axis,
    arrays,
    covers,
    full_side,
    reduction_axes,
    several_axes,
    shapes,
    signed,
)


@covers(np.sum, np.prod)
@st.composite
def sums(draw, function):
    x = draw(signed(shapes()))
    axis, keepdims = draw(reduction_axes(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])


@covers(np.mean, np.max, np.min, np.amax, np.amin, np.ptp)
@st.composite
def reductions(draw, function):
    x = draw(arrays(shapes(sides=full_side)))
    axis, keepdims = draw(reduction_axes(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])


@covers(np.var, np.std)
@st.composite
def spreads(draw, function):
    x = draw(arrays(shapes(1, sides=st.sampled_from([2, 3]))))
    axes = st.none() | an_axis(x.ndim) | several_axes(x.ndim, 1)
    axis, keepdims = draw(axes), draw(st.booleans())
    ddof = draw(st.sampled_from([0, 1, 0.5]))
    return Case(lambda x: function(x, axis=axis, ddof=ddof, keepdims=keepdims), [x])


@covers(np.cumsum, np.cumprod)
@st.composite
def running(draw, function):
    x = draw(signed(shapes()))
    axis = draw(st.none() | an_axis(x.ndim) if x.ndim else st.none())
    return Case(lambda x: function(x, axis=axis), [x])


@covers((np.add, "reduce"), (np.multiply, "reduce"), (np.maximum, "reduce"), (np.minimum, "reduce"))
@st.composite
def reduce_methods(draw, key):
    ufunc, _ = key
    x = draw(signed(shapes(1, sides=full_side)))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        options = {}
    return Case(lambda x: ufunc.reduce(x, **options), [x])


@covers((np.add, "accumulate"), (np.multiply, "accumulate"))
@st.composite
def accumulate_methods(draw, key):
    ufunc, _ = key
    x = draw(signed(shapes(1)))
    axes = draw(st.lists(an_axis(x.ndim), max_size=1))
    return Case(lambda x: ufunc.accumulate(x, *axes), [x])


@covers(np.diff)
@st.composite
def differences(draw, function):
    x = draw(arrays(shapes(1)))
    n, axis = draw(st.integers(0, 3)), draw(an_axis(x.ndim))
    return Case(lambda x: function(x, n, axis), [x])


@covers(np.sort)
@st.composite
def sorts(draw, function):
    x = draw(arrays(shapes(1)))
    options = draw(st.sampled_from([{}, {"axis": None}, {"axis": draw(an_axis(x.ndim))}]))
    if draw(st.booleans()):
        options = {**options, "kind": "stable"}
    return Case(lambda x: function(x, **options), [x])


@covers(vjps.reductions.average_over_ties)
@st.composite
def averages(draw, function):
    g = draw(arrays(shapes(1)))
    axis = draw(an_axis(g.ndim))
    ordered = np.sort(draw(hnp.arrays(np.float64, g.shape, elements=st.integers(0, 2))), axis)
    return Case(lambda g: function(g, ordered, axis), [g])
