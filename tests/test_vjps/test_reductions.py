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
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(np.sum, np.prod, np.nansum, np.nanprod)
@st.composite
def sums(draw, function):
    x = draw(signed(shapes()))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        options["where"] = draw(hnp.arrays(bool, x.shape[-1:]))
    if draw(st.booleans()):
        options["initial"] = 1.5
    if draw(st.integers(0, 3)) == 0:
        options["dtype"] = np.float64
    return Case(some_nan(draw, function, options), [x])


def some_nan(draw, function, options):
    """Call `function`; if it is a nan-version, after making some elements nan.

    What is nan because no number is left becomes 0.
    """
    pattern = draw(st.sampled_from([[False], [True, False, False], [False, True]]))

    def call(x):
        if function.__name__.startswith("nan"):
            x = np.where(np.resize(pattern, x.shape), np.nan, x)
        out = function(x, **options)
        return np.where(np.isfinite(out), out, 0)

    return call


@covers(np.max, np.min, np.amax, np.amin, np.nanmax, np.nanmin)
@st.composite
def extrema(draw, function):
    x = draw(arrays(shapes(min_side=1)))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        options["initial"] = draw(st.sampled_from([-3.0, 0.123, 3.0]))
        options["where"] = draw(hnp.arrays(bool, x.shape))
    return Case(some_nan(draw, function, options), [x])


@covers(np.mean, np.nanmean)
@st.composite
def means(draw, function):
    x = draw(arrays(shapes(min_side=1)))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if function is np.mean and draw(st.booleans()):
        options["where"] = np.resize([True, True, False], x.shape)
    return Case(some_nan(draw, function, options), [x])


@covers(np.ptp)
@st.composite
def reductions(draw, function):
    x = draw(arrays(shapes(min_side=1)))
    axis, keepdims = draw(reduction_axes(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])


@covers(np.var, np.std, np.nanvar, np.nanstd)
@st.composite
def spreads(draw, function):
    x = draw(arrays(shapes(1, min_side=3, max_side=4)))
    axes = st.none() | an_axis(x.ndim) | several_axes(x.ndim, 1)
    options = {"axis": draw(axes), "keepdims": draw(st.booleans())}
    options[draw(st.sampled_from(["ddof", "correction"]))] = draw(st.sampled_from([0, 1, 0.5]))
    if function in (np.nanvar, np.nanstd):
        options["axis"] = None  # along which there are enough numbers
    elif draw(st.booleans()):
        options["where"] = np.resize([True, True, False, True], x.shape[-1:])
        options["axis"] = None
    return Case(some_nan(draw, function, options), [x])


@covers(np.cumsum, np.cumprod, np.nancumsum, np.nancumprod)
@st.composite
def running(draw, function):
    x = draw(signed(shapes()))
    axis = draw(st.none() | an_axis(x.ndim) if x.ndim else st.none())
    dtype = draw(st.sampled_from([None, np.float64]))
    return Case(some_nan(draw, function, {"axis": axis, "dtype": dtype}), [x])


@covers("cumulative_sum", "cumulative_prod")
@st.composite
def cumulatives(draw, function):
    x = draw(signed(shapes(1)))
    options = {"axis": draw(an_axis(x.ndim)), "include_initial": draw(st.booleans())}
    if x.ndim == 1 and draw(st.booleans()):
        del options["axis"]
    return Case(lambda x: function(x, **options), [x])


@covers(
    *(f.reduce for f in (np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin)),
    *(f.reduce for f in (np.logaddexp, np.logaddexp2, np.hypot)),
)
@st.composite
def reduce_methods(draw, method):
    x = draw(signed(shapes(1, min_side=1)))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        options = {}
    if draw(st.booleans()):
        options["initial"] = 0.75
        if method not in (np.fmax.reduce, np.fmin.reduce):
            options["where"] = draw(hnp.arrays(bool, x.shape))
    return Case(lambda x: method(x, **options), [x])


@covers(
    *(f.accumulate for f in (np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin)),
    *(f.accumulate for f in (np.logaddexp, np.logaddexp2, np.hypot)),
    *(m for f in (np.subtract, np.true_divide) for m in (f.reduce, f.accumulate)),
)
@st.composite
def accumulate_methods(draw, method):
    x = draw(signed(shapes(1, min_side=1)))
    axes = draw(st.lists(an_axis(x.ndim), max_size=1))
    return Case(lambda x: method(x, *axes), [x])


@covers(vjps.reductions.below)
def differences(function):
    return st.builds(lambda x: Case(lambda x: function(x, 2.5), [x]), arrays(shapes()))


@covers(np.bincount, vjps.reductions.weighted_counts)
@st.composite
def counts(draw, function):
    x = draw(hnp.arrays(np.int64, draw(full_side), elements=st.integers(0, 4)))
    least = draw(st.integers(0, 7))
    weights = draw(arrays(x.shape))
    if function is np.bincount:
        return Case(lambda w: function(x, w, least), [weights])
    return Case(lambda w: function(w, x, least), [weights])
