"""Checks of functions of the order of elements, and of statistics."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from microgrand import dispatch, vjps
from microgrand.dispatch import data_of

from .cases import Case, an_axis, arrays, covers, reduction_axes, shapes, some_constant
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(np.sort)
@st.composite
def sorts(draw, function):
    x = draw(arrays(shapes(1)))
    options = draw(st.sampled_from([{}, {"axis": None}, {"axis": draw(an_axis(x.ndim))}]))
    if draw(st.booleans()):
        options = {**options, "kind": "stable"}
    return Case(lambda x: function(x, **options), [x])


@covers(vjps.statistics.average_over_ties)
@st.composite
def averages(draw, function):
    g = draw(arrays(shapes(1)))
    axis = draw(an_axis(g.ndim))
    ordered = np.sort(draw(hnp.arrays(np.float64, g.shape, elements=st.integers(0, 2))), axis)
    return Case(lambda g: function(g, ordered, axis), [g])


@covers(np.partition)
@st.composite
def partitions(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(an_axis(x.ndim))
    kth = draw(st.lists(st.integers(0, x.shape[axis] - 1), min_size=1, unique=True))
    # The order of the others is NumPy's own affair: it is not the same on all processors.
    return Case(lambda x: np.take(function(x, kth, axis), kth, axis), [x])


def zero_for_nan(out):
    return np.where(np.isnan(out), 0, out)


@covers(np.quantile, np.percentile, np.nanquantile, np.nanpercentile)
@st.composite
def quantiles(draw, function):
    x = draw(arrays(shapes(min_side=1, max_side=4)))
    one = st.floats(0.05, 0.95)
    q = draw(one | st.lists(one, min_size=1, max_size=3) | st.sampled_from([0, 1, 0.5]))
    if "percent" in function.__name__:
        q = np.multiply(q, 100.0) if isinstance(q, list) else q * 100
    methods = ["linear", "linear", "median_unbiased", "hazen", "lower", "midpoint", "weibull"]
    options = {
        "axis": draw(reduction_axes(x.ndim).filter(lambda axis: axis != ())),
        "keepdims": draw(st.booleans()),
        "method": draw(st.sampled_from(methods)),
    }
    nans = function.__name__.startswith("nan") * np.resize([False, True, False], x.shape)
    return Case(lambda x: zero_for_nan(function(np.where(nans, np.nan, x), q, **options)), [x])


@covers(dispatch.with_derivative_of)
@st.composite
def other_values(draw, function):
    return Case(lambda x: function(x, data_of(x)), [draw(arrays(shapes()))])


@covers(np.median, np.nanmedian)
@st.composite
def medians(draw, function):
    x = draw(arrays(shapes(min_side=1, max_side=4)))
    axis = draw(reduction_axes(x.ndim).filter(lambda axis: axis != ()))
    keepdims = draw(st.booleans())
    nans = (function is np.nanmedian) * np.resize([False, True, False], x.shape)
    call = lambda x: zero_for_nan(function(np.where(nans, np.nan, x), axis, keepdims=keepdims))
    return Case(call, [x])


@covers(np.average)
@st.composite
def weighted(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis, keepdims = draw(an_axis(x.ndim)), draw(st.booleans())
    returned = draw(st.booleans())
    shape = draw(st.sampled_from([x.shape, x.shape[axis], None]))
    if shape is None:
        return Case(lambda x: function(x, axis, None, returned, keepdims=keepdims), [x])
    weights = draw(arrays(shape, 0.5, 2.0))
    return draw(
        some_constant(lambda x, w: function(x, axis, w, returned, keepdims=keepdims), [x, weights])
    )


@covers(np.cov, np.corrcoef)
@st.composite
def covariances(draw, function):
    n = draw(st.integers(3, 5))
    rows = draw(st.integers(1, 3))
    rowvar = draw(st.booleans())
    shape = (rows, n) if rowvar else (n, rows)
    x = draw(arrays(shape))
    options = {"rowvar": rowvar}
    if function is np.corrcoef:
        options["dtype"] = draw(st.sampled_from([None, np.float64]))
    else:
        options["bias"] = draw(st.booleans())
        if draw(st.booleans()):
            options["ddof"] = draw(st.sampled_from([0, 1]))
        if draw(st.booleans()):
            options["fweights"] = draw(hnp.arrays(np.int64, n, elements=st.integers(1, 3)))
        if draw(st.booleans()):
            options["aweights"] = draw(arrays(n, 0.5, 2.0))
    if draw(st.booleans()):
        return Case(lambda x, y: function(x, y, **options), [x, draw(arrays(shape))])
    return Case(lambda x: function(x, **options), [x])
