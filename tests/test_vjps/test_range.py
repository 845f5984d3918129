"""Derivatives over the whole range of a dtype, against those that a wider one has.

Near the origin and far out squares underflow and overflow, and at the edge of a domain and between
large numbers differences cancel: there a formula may fail that is right elsewhere.
"""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from microgrand import Tensor
from microgrand.engine import backpropagate
from microgrand.nn import functional as F

from .cases import few, label

WIDER = {np.float16: np.float64, np.float32: np.float64, np.float64: np.longdouble}

whole = st.floats(-1, 1)  # of the logarithm of the range
near = st.sampled_from([0.0, 1.0, -1.0, 2.0])


@st.composite
def numbers(draw, dtype, low=-np.inf, high=np.inf):
    """Numbers of any size, or close to a special one, in an open interval."""
    info = np.finfo(dtype)
    if draw(st.booleans()):
        power = draw(whole) * 0.99 * np.log2(float(info.max))
        x = draw(st.sampled_from([-1, 1])) * 2.0**power
    else:
        x = draw(near) + draw(st.floats(-1, 1)) * draw(st.sampled_from([1, 1e-2, 1e-6, 1e-12]))
    x = dtype(x)
    return (
        x
        if low < x < high
        else dtype(draw(st.sampled_from([v for v in (0.5, 1.5) if low < v < high])))
    )


INF = np.inf
UNARY = {
    **dict.fromkeys([np.exp, np.exp2, np.expm1, np.sinh, np.cosh], (-INF, INF)),
    **dict.fromkeys([np.arctan, np.arcsinh, np.cbrt, np.square, np.absolute], (-INF, INF)),
    **dict.fromkeys([np.reciprocal], (-INF, INF)),
    **dict.fromkeys([np.sqrt, np.log, np.log2, np.log10], (0, INF)),
    **dict.fromkeys([np.log1p], (-1, INF)),
    **dict.fromkeys([np.arcsin, np.arccos, np.arctanh], (-1, 1)),
    **dict.fromkeys([np.arccosh], (1, INF)),
}
BINARY = [np.hypot, np.arctan2, np.logaddexp, np.logaddexp2, np.multiply, np.true_divide, np.power]


def slopes(function, *inputs, g=1):
    leaves = [Tensor(np.asarray(x), requires_grad=True) for x in inputs]
    out = function(*leaves)
    found = backpropagate(out, np.full_like(out.data, g), set(leaves))
    return [np.asarray(found[leaf]) for leaf in leaves]


def check(function, dtype, *inputs, units=40, of_largest=False):
    """Compare derivatives to `units` in the last place: of each number, or of the largest."""
    with np.errstate(all="ignore"):
        found = slopes(function, *inputs)
        expected = slopes(function, *(x.astype(WIDER[dtype]) for x in inputs))
        info = np.finfo(dtype)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == dtype
            # Beyond the range, infinity is right, and a number next to it; below it, 0 is.
            theirs = np.clip(theirs, -info.max, info.max)
            ours = np.clip(ours, -info.max, info.max).astype(theirs.dtype)
            size = np.max(np.abs(theirs), initial=0) if of_largest else np.abs(theirs)
            tolerance = units * info.eps * size + 16 * info.smallest_subnormal
            tolerance += 0.01 * (np.abs(theirs) > info.max / 2) * np.abs(theirs)
            agree = np.isnan(theirs) | (np.abs(ours - theirs) <= tolerance)
            assert agree.all(), f"{function} at {inputs}: {ours}, expected {theirs}"


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("function", UNARY, ids=label)
@few
@given(data=st.data())
def test_of_one_number(function, dtype, data):
    x = data.draw(numbers(dtype, *UNARY[function]))
    check(function, dtype, np.asarray(x))


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("function", BINARY, ids=label)
@few
@given(data=st.data())
def test_of_two_numbers(function, dtype, data):
    low = 0 if function is np.power else -np.inf
    x, y = data.draw(numbers(dtype, low)), data.draw(numbers(dtype))
    # The power of a large number is as inexact as its logarithm is large.
    check(function, dtype, np.asarray(x), np.asarray(y), units=4000 if low == 0 else 40)


POWERS = {
    "x ** 15": lambda x: x**15,
    "x ** float64(3)": lambda x: x ** np.float64(3),
    "float_power": lambda x: np.float_power(x, 3),
}


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("name", [*UNARY, *BINARY, *POWERS], ids=label)
@few
@given(data=st.data())
def test_a_cotangent_of_any_size_leads_to_a_gradient_wherever_it_fits(name, dtype, data):
    function = POWERS.get(name, name)
    if name in BINARY:
        low = 0 if name is np.power else -INF
        inputs = [data.draw(numbers(dtype, low)), data.draw(numbers(dtype))]
    else:
        inputs = [data.draw(numbers(dtype, *UNARY.get(name, (-INF, INF))))]
    g = data.draw(numbers(dtype))
    wide, info = WIDER[dtype], np.finfo(dtype)
    inputs = [np.asarray(x) for x in inputs]
    with np.errstate(all="ignore"):
        assume(np.isfinite(function(*inputs)))
        derivatives = slopes(function, *(x.astype(wide) for x in inputs))
        for ours, derivative in zip(slopes(function, *inputs, g=g), derivatives, strict=True):
            gradient = wide(g) * derivative
            if all(4 * info.tiny < np.abs(x) < info.max / 4 for x in (derivative, gradient)):
                assert 0 < np.abs(ours) < INF, f"{function} at {inputs}, {g}: {gradient}"


#: One factor of the derivative is large, another small: their product fits, and g times it, too.
IN_ANOTHER_ORDER = {
    "power": (lambda y: np.power(np.full_like(y, 1.0625), y), [9.0], 6e4),
    "prod, initial": (lambda x: np.prod(x, initial=1e3), [1e-3, 2e-3], 1e3),
    "polyval": (lambda x: np.polyval(np.full(4, 1e-4, x.dtype), x), [40.0], 5.0),
    "gradient": (lambda h: np.gradient(np.array([0, 6e4, 0], h.dtype), h)[1], [0, 4, 12], 1.0),
    "xlogy": (lambda y: F.xlogy(np.full_like(y, 1e3), y), [1e3], 1e3),
    "softplus": (lambda x: F.softplus(x, 0.01), [-3.0, 1.0], 1e4),
    "elu": (lambda x: F.elu(x, 100), [-5.0], 1e3),
    "celu": (lambda x: F.celu(x, 100), [-3.0, 1.0], 1e3),
    "celu, narrow": (lambda x: F.celu(x, 1e-3), [-3e-3], 1e-3),
    "silu": (F.silu, [-12.0], 0.0436),
    "mish": (F.mish, [-12.0], 0.0436),
    "gelu": (lambda x: F.gelu(x, "tanh"), [-4.0], 0.0153),
    "hardswish": (F.hardswish, [-2.3, 2.5], 3e4),
    "binary_cross_entropy": (
        lambda p: F.binary_cross_entropy(p, np.full_like(p, 0.5), reduction="none"),
        [0.5 + 2**-11],
        1.0376e-3,
    ),
    "smooth_l1_loss": (
        lambda x: F.smooth_l1_loss(x, np.zeros_like(x), "none", beta=0.1),
        [0.05, 1.0],
        3e4,
    ),
    "gaussian_nll_loss": (
        lambda x: F.gaussian_nll_loss(x, np.zeros_like(x), 1e4, reduction="none"),
        [300.0],
        1e3,
    ),
    "gaussian_nll_loss, var": (
        lambda var: F.gaussian_nll_loss(
            np.full_like(var, 300), np.zeros_like(var), var, reduction="none"
        ),
        [1e4],
        1e3,
    ),
    "poisson_nll_loss": (
        lambda x: F.poisson_nll_loss(x, np.full_like(x, 990), False, reduction="none"),
        [500.0],
        100,
    ),
}


@pytest.mark.parametrize("name", IN_ANOTHER_ORDER)
def test_factors_are_multiplied_before_a_cotangent_is(name):
    function, x, g = IN_ANOTHER_ORDER[name]
    x = np.array(x, np.float16)
    (found,), (expected,) = (slopes(function, x.astype(dtype), g=g) for dtype in (x.dtype, float))
    assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_distances_between_points_far_apart_and_close_by(scale):
    x, y = np.array([3, 4], np.float32) * np.float32(scale), np.zeros(2, np.float32)
    g = 1e-20 if scale < 1 else 1e20  # times the distance, that is outside the range
    found, _ = slopes(lambda x, y: F.pairwise_distance(x, y, eps=0), x, y, g=g)
    assert_allclose(found / g, [0.6, 0.8], rtol=1e-6)


def test_products_of_singular_values_leave_no_range_on_the_way():
    a = np.random.default_rng(0).normal(size=(300, 300)) / 300**0.5 * 1.65
    single, double = (slopes(np.linalg.det, a.astype(dtype)) for dtype in (np.float32, float))
    size = np.max(np.abs(double))
    assert 1e-10 < size < 1e10
    assert_allclose(single, double, atol=1e-3 * size)


def norm(order):
    return lambda x: np.linalg.norm(x, order)


REDUCTIONS = {
    "prod": np.prod,
    "std": np.std,
    "var": np.var,
    "hypot": np.hypot.reduce,
    "logaddexp": np.logaddexp.reduce,
    "max": np.max,
    "mean": np.mean,
    **{f"norm {order}": norm(order) for order in (1, 2, 3, -1, -2, np.inf)},
}


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("name", REDUCTIONS)
@few
@given(data=st.data())
def test_of_several_numbers(name, dtype, data):
    x = np.array([data.draw(numbers(dtype)) for _ in range(data.draw(st.integers(1, 6)))])
    # A deviation from the mean is as exact as the largest.
    check(REDUCTIONS[name], dtype, x, units=200, of_largest=name in ("std", "var"))


@pytest.mark.parametrize("dtype", WIDER)
@few
@given(data=st.data())
def test_of_running_products(dtype, data):
    x = np.array([data.draw(numbers(dtype)) for _ in range(data.draw(st.integers(1, 6)))])
    k = data.draw(st.integers(0, len(x) - 1))
    check(lambda x: np.cumprod(x)[k], dtype, x, units=200)


@pytest.mark.parametrize("dtype", WIDER)
@pytest.mark.parametrize("sizes", [(0.95, 0.95), (0.95, -0.7), (0.8, 1e-3), (-0.9, 0.0)])
def test_of_numbers_whose_distance_is_beyond_the_range(dtype, sizes):
    x, y = (np.asarray(dtype(np.finfo(dtype).max) * dtype(size)) for size in sizes)
    for function in (np.hypot, np.arctan2):
        check(function, dtype, x, y)
    if dtype != np.float16:  # which has no complex numbers
        check(lambda x, y: np.abs(x + 1j * y), dtype, x, y)
