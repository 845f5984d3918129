"""Checks of the primitives that layers, losses and masks are made of."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from microgrand import tensor
from microgrand.dispatch import data_of
from microgrand.nn import (
    activations,
    attention,
    distances,
    functional,
    hard,
    likelihoods,
    linear,
    losses,
    normal,
    piecewise,
    recurrences,
    shrinking,
    similarity,
    smooth,
)
from microgrand.nn.dropout import masks

from .cases import (
    Case,
    an_axis,
    arrays,
    broadcastable_shapes,
    covers,
    full_side,
    shapes,
    some_constant,
)
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(linear.affine)
@st.composite
def affines(draw, function):
    rows, inputs, outputs = draw(shapes(0, 2)), draw(full_side), draw(full_side)
    bias = draw(st.sampled_from([(outputs,), (1,)]))
    values = [draw(arrays(shape)) for shape in ((*rows, inputs), (outputs, inputs), bias)]
    if draw(st.booleans()):
        return draw(some_constant(lambda x, w: function(x, w, None), values[:2], ["array"]))
    return draw(some_constant(function, values, ["array"]))


@covers(functional.softmax, functional.log_softmax)
@st.composite
def softmaxes(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(an_axis(x.ndim))
    return Case(lambda x: function(x, dim=axis), [x])


@covers(attention.attention_weights)
@st.composite
def weights_of_attention(draw, function):
    queries, keys, features = draw(full_side), draw(full_side), draw(full_side)
    batch = draw(st.sampled_from([(), (2,), (1, 2)]))
    values = [draw(arrays((*batch, n, features))) for n in (queries, keys)]
    if draw(st.booleans()):
        return draw(some_constant(lambda q, k: function(q, k, None), values, ["array"]))
    values.append(draw(arrays(draw(st.sampled_from([(keys,), (queries, 1), (queries, keys)])))))
    return draw(some_constant(function, values, ["array"]))


@covers(activations.logsumexp)
@st.composite
def sums_of_exponentials(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis, keepdims = draw(an_axis(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, dim=axis, keepdim=keepdims), [x])


@covers(activations.xlogy)
@st.composite
def products_with_logarithms(draw, function):
    values = [draw(arrays(shape, 0.3, 2)) for shape in draw(broadcastable_shapes(2))]
    return draw(some_constant(function, values, ["array"]))


@covers(
    normal.normal_cdf, smooth.logistic, smooth.log1p_exp, smooth.swish, smooth.tanh_unit,
    smooth.mish_unit, smooth.fraction_of_size, shrinking.rest_of_tanh,
)  # fmt: skip
def units(function):
    return st.builds(lambda x: Case(function, [x]), arrays(shapes(), -4, 4))


@covers(hard.hard_swish)
def units_with_bends(function):
    between, beyond = arrays(shapes(), -2.9, 2.9), arrays(shapes(), 3.1, 5)
    return (between | beyond | beyond.map(np.negative)).map(lambda x: Case(function, [x]))


@covers(smooth.bent_line, piecewise.decay)
@st.composite
def units_with_numbers(draw, function):
    first, second = draw(st.sampled_from([(0.5, 20.0), (2.0, 8.0), (-1.0, 20.0)]))
    return Case(lambda x: function(x, first, second), [draw(arrays(shapes(), -4, 4))])


@covers(distances.bowl)
@st.composite
def bowls(draw, function):
    width = draw(st.sampled_from([0.5, 2.5]))  # within, or beyond
    x = draw(arrays(shapes(), 0.6, 2))
    return Case(lambda x: function(x, width, 0.3), [x * draw(st.sampled_from([1, -1]))])


@covers(likelihoods.square_over)
@st.composite
def squares_over(draw, function):
    values = [draw(arrays(shape, 0.5, 2)) for shape in draw(broadcastable_shapes(2))]
    return draw(some_constant(function, values, ["array"]))


@covers(similarity.length)
@st.composite
def lengths(draw, function):
    p = draw(st.sampled_from([1, 2, 3, 0.5]))
    return Case(lambda x: function(x, p), [draw(arrays(shapes(1), 0.5, 2))])


@covers(losses.logistic_surprise)
@st.composite
def logistic_surprises(draw, function):
    values = [draw(arrays(shape)) for shape in draw(broadcastable_shapes(3))]
    return draw(some_constant(function, values, ["array"]))


@covers(smooth.gaussian_unit)
def gaussian_units(function):
    def call(x):  # the other arguments are what the forward pass has saved
        return function(x, *smooth.unit_and_slope(data_of(x)))

    return st.builds(lambda x: Case(call, [x]), arrays(shapes(), -4, 4))


@covers(losses.mean_cross_entropy)
@st.composite
def cross_entropies(draw, function):
    x = draw(arrays(shapes(2, 2, min_side=1)))
    labels = draw(hnp.arrays(np.int64, len(x), elements=st.integers(0, x.shape[1] - 1)))
    one_hot = np.eye(x.shape[1], dtype=bool)[labels]
    # The third argument is not independent of the first: it is what the forward pass has saved.
    return Case(lambda x: function(x, one_hot, functional.log_softmax(data_of(x))), [x])


@covers(losses.bernoulli_surprise)
@st.composite
def surprises(draw, function):
    values = [draw(arrays(shape, 0.1, 0.9)) for shape in draw(broadcastable_shapes(2))]
    return draw(some_constant(function, values, ["array"]))


@st.composite
def of_recurrence(draw, gates, with_c=False, with_bias=False):
    """Draw what the gates are given by the inputs, a state or two, a weight, and a bias."""
    steps, n, hidden = draw(full_side), draw(full_side), draw(st.integers(1, 2))
    state, rows = (n, hidden), gates * hidden
    shapes = [(steps, n, rows), *[state] * (1 + with_c), (rows, hidden), *[(rows,)] * with_bias]
    kept = draw(st.none() | hnp.arrays(float, state, elements=st.sampled_from([0.0, 2.0])))
    return [draw(arrays(shape)) for shape in shapes], kept


@covers(recurrences.rnn)
def simple_recurrences(function):
    return of_recurrence(1).map(
        lambda drawn: Case(lambda *xs: function(*xs, drawn[1], "tanh"), drawn[0])
    )


@covers(recurrences.lstm, recurrences.gru)
@st.composite
def gated_recurrences(draw, function):
    is_lstm = function is recurrences.lstm
    recurrence = of_recurrence(4, with_c=True) if is_lstm else of_recurrence(3, with_bias=True)
    values, kept = draw(recurrence)
    run = recurrences.run_lstm if is_lstm else recurrences.run_gru
    # The last arguments are not independent of the first: the forward pass has saved them.
    return Case(lambda *xs: function(*xs, kept, *run(*map(data_of, xs), kept)), values)


@covers(masks.apply_mask)
@st.composite
def masked(draw, function):
    shape, other = draw(broadcastable_shapes(2))
    mask = draw(hnp.arrays(bool, other))
    scale = draw(st.sampled_from([1.0, 2.0, 1 / 0.7]))
    return Case(lambda x: function(x, mask, scale), [draw(arrays(shape))])


@covers(tensor.cast)
@st.composite
def casts(draw, function):
    # To float64 only: what float32 loses is not seen by the derivative, but by differences.
    return Case(lambda x: function(x, np.float64), [draw(arrays(shapes()))])
