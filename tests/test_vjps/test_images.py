"""Checks of the primitives that convolution, pooling and normalisation are made of."""

import numpy as np
from hypothesis import strategies as st

from microgrand.dispatch import data_of
from microgrand.nn import scores, shares, trilinear, unfolding
from microgrand.nn.windows import Windows

from .cases import Case, arrays, covers, several_axes, shapes, some_constant
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@st.composite
def windows(draw):
    """Draw a kernel on an input that it meets at one place or more, also partly."""
    numbers = []
    for _ in range(draw(st.integers(1, 2))):
        kernel, stride, dilation = (draw(st.integers(1, 2)) for _ in range(3))
        padding, places = draw(st.integers(0, kernel - 1)), draw(st.integers(1, 3))
        least = stride * (places - 1) + dilation * (kernel - 1) + 1 - 2 * padding
        length = max(1, least) + draw(st.integers(0, 1))
        numbers.append((length, kernel, stride, padding, dilation, places))
    return Windows(*zip(*numbers, strict=True))


@covers(trilinear.correlate, trilinear.correlate_input, trilinear.correlate_weight)
@st.composite
def contractions(draw, function):
    how, groups, n = draw(windows()), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    inside, outside = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    x = draw(arrays((n, groups * inside, *how.lengths)))
    w = draw(arrays((groups * outside, inside, *how.kernel)))
    y = draw(arrays((n, groups * outside, *how.places)))
    given = {
        trilinear.correlate: [x, w],
        trilinear.correlate_input: [y, w],
        trilinear.correlate_weight: [x, y],
    }[function]
    return draw(some_constant(lambda a, b: function(a, b, how, groups), given, ["array"]))


@covers(trilinear.add_to_channels)
@st.composite
def biases(draw, function):
    y = draw(arrays(shapes(2, 4, min_side=1)))
    return draw(some_constant(function, [y, draw(arrays(y.shape[1]))], ["array"]))


@covers(trilinear.sum_of_channels)
@st.composite
def channels(draw, function):
    return Case(function, [draw(arrays(shapes(2, 4, min_side=1)))])


@covers(shares.largest)
@st.composite
def maxima(draw, function):
    how = draw(windows())
    x = draw(arrays((draw(st.integers(1, 2)), *how.lengths)))
    return Case(lambda x: function(x, how), [x])


@covers(shares.gather, shares.scatter)
@st.composite
def pools(draw, function):
    how = draw(windows())
    x, y = (draw(arrays((2, *lengths))) for lengths in (how.lengths, how.places))
    winners = None
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        winners = [rng.random(y[(..., *at)].shape) < 0.7 for _, _, at in how.meetings]
    return Case(lambda a: function(a, how, winners), [x if function is shares.gather else y])


@covers(unfolding.take_apart, unfolding.put_together)
@st.composite
def columns(draw, function):
    how = draw(windows())
    shape = how.lengths if function is unfolding.take_apart else (*how.kernel, *how.places)
    return Case(lambda x: function(x, how), [draw(arrays((2, *shape)))])


@st.composite
def averages(draw):
    """Draw an array, and over which axes it is averaged."""
    x = draw(arrays(shapes(1, 3, min_side=1)))
    axes = tuple(sorted(axis % x.ndim for axis in draw(several_axes(x.ndim, least=1))))
    return x, scores.How(axes, 0.5, draw(st.booleans()))


@covers(scores.standardize)
@st.composite
def standard_scores(draw, function):
    x, how = draw(averages())

    def call(x):  # the constants are what the forward pass has saved
        z, scale, *_ = scores.scores(data_of(x), how)
        return function(x, z.astype(x.dtype), scale, how)

    return Case(call, [x])


@covers(scores.project)
@st.composite
def projections(draw, function):
    x, how = draw(averages())

    def call(g, x):
        z, scale, *_ = scores.scores(data_of(x), how)
        return function(g, x, z.astype(x.dtype), scale, how)

    return draw(some_constant(call, [draw(arrays(x.shape)), x], ["array"]))


@covers(scores.rescale)
@st.composite
def scalings(draw, function):
    x = draw(arrays(shapes(1, 3, min_side=1)))
    shape = [draw(st.sampled_from([1, length])) for length in x.shape]
    shape = shape[draw(st.integers(0, x.ndim - 1)) :]
    weight, bias = draw(arrays(tuple(shape))), draw(arrays(tuple(shape)))
    if draw(st.booleans()):
        return draw(some_constant(lambda x, w: function(x, w, None), [x, weight], ["array"]))
    return draw(some_constant(function, [x, weight, bias], ["array"]))
