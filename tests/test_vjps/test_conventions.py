"""The table at special points: ties, zeros, nan, infinities; and dtypes."""

import itertools
import math

import numpy as np
import pytest
from helpers import grads_of
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor, grad
from microgrand.dispatch import data_of
from microgrand.engine import backpropagate
from microgrand.nn import functional
from microgrand.testing import gradcheck

nan, inf = np.nan, np.inf


@pytest.mark.parametrize("function", [np.max, np.amax, np.maximum.reduce])
def test_equal_largest_elements_share_evenly(function):
    (grad,) = grads_of(lambda x: function(x, axis=1), [[1, 2, 2], [3, 3, 3], [5, 4, 0]])
    assert_array_equal(grad, [[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])


@pytest.mark.parametrize("function", [np.min, np.amin, np.minimum.reduce])
def test_equal_smallest_elements_share_evenly(function):
    (grad,) = grads_of(lambda x: function(x, axis=1), [[2, 1, 1], [3, 3, 3], [5, 4, 0]])
    assert_array_equal(grad, [[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]])


def test_ptp_of_equal_elements_has_derivative_zero():
    assert_array_equal(grads_of(np.ptp, [2, 2])[0], [0, 0])


@pytest.mark.parametrize("function", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_equal_arguments_share_evenly(function):
    larger = function in (np.maximum, np.fmax)
    x, y = grads_of(function, [1, 1, 2], [1, 2, 1])
    assert_array_equal(x, [1 / 2, 1 - larger, larger])
    assert_array_equal(y, [1 / 2, larger, 1 - larger])


@pytest.mark.parametrize("axis", [-1, 0, None])
@np.errstate(all="raise")
def test_sort_shares_evenly_among_equal_elements(axis):
    (grad,) = grads_of(lambda x: np.sort(x, axis=axis), [2, 1, 2, 3], weights=[1, 10, 100, 5])
    assert_array_equal(grad, [55, 1, 55, 5])


def test_ties_at_second_order_are_linear_too():
    # The shares are fixed, so max(x)^2 at (3, 3) is ((x0 + x1) / 2)^2.
    x = Tensor([3.0, 3.0], requires_grad=True)
    first = backpropagate(np.max(x) ** 2, np.array(1.0), {x}, create_graph=True)[x]
    second = backpropagate(first, np.array([1.0, 0.0]), {x})[x]
    assert_array_equal(second, [1 / 2, 1 / 2])


@pytest.mark.parametrize("function", [np.absolute, np.fabs, lambda x: np.copysign(x, 1.0)])
def test_absolute_has_derivative_zero_at_zero(function):
    assert_array_equal(grads_of(function, [-2, 0, -0.0, 3])[0], [-1, 0, 0, 1])


@pytest.mark.parametrize("function", [Tensor.relu, functional.relu])
def test_relu_has_derivative_zero_at_zero(function):
    assert_array_equal(grads_of(function, [-1, -0.0, 0, 1e-300, inf, -inf])[0], [0, 0, 0, 1, 1, 0])


def test_clip_has_derivative_one_at_its_limits():
    x, low, high = grads_of(np.clip, [0, 1, 1.5, 2, 3], 1, 2)
    assert_array_equal(x, [0, 1, 1, 1, 0])
    assert (low, high) == (1, 1)
    # Crossed limits: the upper one is the result, whatever x is.
    x, low, high = grads_of(np.clip, [0, 1.5, 3], 2, 1)
    assert_array_equal(x, [0, 0, 0])
    assert (low, high) == (0, 3)


def test_std_of_equal_elements_has_derivative_zero():
    (grad,) = grads_of(lambda x: np.std(x, axis=1), [[2, 2, 2], [-1, 0, 1]])
    assert_allclose(grad, [[0, 0, 0], np.array([-1, 0, 1]) / (3 * np.sqrt(2 / 3))])


@pytest.mark.parametrize("function", [np.power, np.float_power])
@pytest.mark.parametrize("as_array", [False, True])
def test_power_at_base_zero(function, as_array):
    for exponent, first, second in ((0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 0, 0)):
        exponent = np.array([float(exponent)]) if as_array else exponent
        x = Tensor([0.0], requires_grad=True)
        grad = backpropagate(function(x, exponent), np.ones(1), {x}, create_graph=True)[x]
        assert_array_equal(data_of(grad), [first])
        if isinstance(grad, Tensor):
            assert_array_equal(backpropagate(grad, np.ones(1), {x}).get(x, [0]), [second])


def test_power_with_respect_to_the_exponent_of_zero():
    assert_array_equal(grads_of(np.power, [0, 0, 0], [0, 1, 2.5])[1], [0, 0, 0])
    assert_array_equal(grads_of(lambda y: 0**y, [0, 1, 2.5])[0], [0, 0, 0])


@pytest.mark.filterwarnings("ignore:invalid value")
def test_power_of_a_negative_number_has_no_derivative_with_respect_to_the_exponent():
    assert_array_equal(grads_of(np.power, [-2.0, 2.0], [2.0, 2.0])[1], [nan, 4 * np.log(2)])


def test_nan_to_num_has_derivative_zero_where_it_replaces():
    assert_array_equal(grads_of(np.nan_to_num, [1, nan, inf, -inf])[0], [1, 0, 0, 0])


def test_nan_wins_comparisons_as_in_numpy():
    for function in (np.max, np.min):
        assert_array_equal(grads_of(function, [1, nan, 3])[0], [0, 1, 0])
        assert_array_equal(grads_of(function, [nan, nan, 3])[0], [1 / 2, 1 / 2, 0])
    for function in (np.maximum, np.minimum):
        x, y = grads_of(function, [nan, 1], [1, nan])
        assert_array_equal(x, [1, 0])
        assert_array_equal(y, [0, 1])
    for function in (np.fmax, np.fmin):
        x, y = grads_of(function, [nan, 1], [1, nan])
        assert_array_equal(x, [0, 1])
        assert_array_equal(y, [1, 0])


@pytest.mark.parametrize(
    "function",
    [np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std, np.cumsum, np.cumprod, Tensor.relu],
)
def test_nan_stays_visible(function):
    with np.errstate(invalid="ignore"):
        assert np.isnan(data_of(function(Tensor([1.0, 2.0, nan])))).any()
        # Where the value is nan and the derivative depends on it, so is the derivative.
        (grad,) = grads_of(lambda x: function(x) ** 2, [1.0, 2.0, nan])
    assert np.isnan(grad).any()


@pytest.mark.parametrize("function", [np.prod, np.cumprod])
@pytest.mark.parametrize("zeros", [[0], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_products_with_zeros(function, zeros):
    x = np.array([1.5, -2.0, 3.0, 0.5, -1.25])
    x[zeros] = 0
    gradcheck(function, x, order=2)


def test_product_of_nothing():
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    assert_array_equal(np.prod(x, axis=0).detach(), [1, 1])
    assert np.cumprod(x, axis=0).shape == (0, 2)


@pytest.mark.parametrize("function", [np.logaddexp, np.logaddexp2])
def test_logaddexp_of_infinite_numbers_is_the_larger_one(function):
    x, y = grads_of(function, [inf, 0, inf, -inf, -inf, 1], [0, inf, inf, -inf, 1, -inf])
    assert_array_equal(x, [1, 0, 1 / 2, 1 / 2, 0, 1])
    assert_array_equal(y, [0, 1, 1 / 2, 1 / 2, 1, 0])
    gradcheck(function, np.array([1.0, 700.0]), np.array([1.0, -700.0]), order=2)


@pytest.mark.parametrize("ufunc", [np.logaddexp, np.logaddexp2])
def test_so_is_that_of_several(ufunc):
    for function in ufunc.reduce, lambda x: ufunc.accumulate(x)[-1]:
        for x, expected in (
            ([1, inf, -inf], [0, 1, 0]),
            ([inf, 0, inf], [1 / 2, 0, 1 / 2]),
            ([-inf, -inf], [1 / 2, 1 / 2]),
        ):
            assert_array_equal(grads_of(function, x)[0], expected)


@pytest.mark.parametrize(
    "function", [np.hypot, np.arctan2, lambda x, y: np.linalg.norm(np.stack([x, y]))]
)
def test_lengths_and_angles_have_derivative_zero_at_the_origin(function):
    for gradient in grads_of(function, 0, 0):
        assert gradient == 0


@pytest.mark.parametrize("order", [None, 1, 2, 3, 0.5, inf])
def test_norms_have_derivative_zero_at_zero(order):
    assert_array_equal(grads_of(lambda x: np.linalg.norm(x, order), [0, 0])[0], [0, 0])


@np.errstate(all="raise", under="ignore")
def test_sinc_near_zero():
    for x in (0.0, 1e-300, 1e-8, 1e-3, 0.3, 0.32, -0.3183098861837907):
        y = Tensor(x, requires_grad=True)
        first = backpropagate(np.sinc(y), np.array(1.0), {y}, create_graph=True)[y]
        second = backpropagate(first, np.array(1.0), {y})[y]
        # d sinc / d x = -pi^2 x / 3 + pi^4 x^3 / 30 - ...
        series = sum(
            (-1) ** k * np.pi ** (2 * k) * (2 * k) * x ** (2 * k - 1) / math.factorial(2 * k + 1)
            for k in range(1, 12)
        )
        assert_allclose(data_of(first), series, rtol=1e-12)
        if abs(x) < 1e-3:
            assert_allclose(second, -(np.pi**2) / 3, rtol=1e-4)


def test_average_of_weights_without_a_sum():
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert np.average(x, weights=[0.25, 0.75]).detach() == 1.75
    assert np.average(x, weights=[-0.25, -0.75]).detach() == 1.75
    with pytest.raises(ZeroDivisionError, match="sum to zero"):
        np.average(x, weights=[1.0, -1.0])


@pytest.mark.parametrize(("num", "endpoint"), [(0, True), (1, True), (0, False), (1, False)])
def test_linspace_has_the_step_of_numpys(num, endpoint):
    found = np.linspace(Tensor(1.0, requires_grad=True), 3.0, num, endpoint, retstep=True)
    for value, expected in zip(
        found, np.linspace(1.0, 3.0, num, endpoint, retstep=True), strict=True
    ):
        assert_array_equal(value.detach(), expected)


def test_median_of_equal_elements_shares_evenly():
    assert_array_equal(grads_of(np.median, [1, 2, 2, 3])[0], [0, 1 / 2, 1 / 2, 0])
    assert_array_equal(grads_of(np.median, [2, 2, 2])[0], [1 / 3, 1 / 3, 1 / 3])


METHODS = ["linear", "lower", "midpoint", "hazen", "inverted_cdf"]
QUANTILES = [
    *((np.median, {}), (np.nanmedian, {})),
    *((np.quantile, {"q": [0.2, 0.75], "method": method}) for method in METHODS),
    *((np.nanquantile, {"q": 0.75, "method": method}) for method in METHODS),
]


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:(Mean of empty|All-NaN) slice")
@pytest.mark.parametrize(("function", "options"), QUANTILES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_quantiles_of_infinite_numbers_are_those_of_numpy(function, options, keepdims):
    rows = itertools.product([-inf, 1.0, 2.5, inf, nan], repeat=4)
    array = np.array(list(rows))
    x = Tensor(array, requires_grad=True)
    found = function(x, axis=1, keepdims=keepdims, **options)
    assert_array_equal(found.detach(), function(array, axis=1, keepdims=keepdims, **options))
    np.sum(found).backward()
    # Of every quantile, the elements between which it lies have shares that add up to 1.
    nans = np.isnan(array)
    known = ~(nans.all(axis=1) if function.__name__.startswith("nan") else nans.any(axis=1))
    totals = np.sum(x.grad, axis=1)
    assert_allclose(totals[known], found.size / len(array))
    assert np.isnan(totals[~known]).all()
    assert not x.grad[known][nans[known]].any()


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:Mean of empty slice")
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_quantiles_of_nothing_are_those_of_numpy(shape, axis):
    array = np.zeros(shape)
    x = Tensor(array, requires_grad=True)
    for function in (np.median, np.nanmedian):
        found = function(x, axis)
        assert_array_equal(found.detach(), function(array, axis))
        np.sum(found).backward()
        assert x.grad.shape == shape
    try:
        expected = np.quantile(array, 0.5, axis)
    except IndexError:
        with pytest.raises(IndexError):
            np.quantile(x, 0.5, axis)
    else:
        assert_array_equal(np.quantile(x, 0.5, axis).detach(), expected)


@pytest.mark.parametrize("function", [np.quantile, np.nanquantile])
def test_quantiles_and_nan(function):
    value = function(Tensor([1.0, nan, 3.0], requires_grad=True), 0.5)
    assert_array_equal(data_of(value), function([1.0, nan, 3.0], 0.5))


def test_maximum_with_an_initial_value_that_is_equal():
    assert_array_equal(grads_of(lambda x: np.max(x, initial=2), [1, 2, 2])[0], [0, 1 / 3, 1 / 3])
    assert_array_equal(grads_of(lambda x: np.max(x, initial=3), [1, 2, 2])[0], [0, 0, 0])


@pytest.mark.parametrize("order", ["C", "F", "A"])
@pytest.mark.parametrize("x", [np.ones((2, 3)), np.ones((3, 2)).T, np.ones((2, 2, 6))[0, :, ::2]])
def test_reshape_goes_back_in_the_order_it_came(x, order):
    weights = np.arange(6.0)
    x = Tensor(x, requires_grad=True)
    np.sum(np.ravel(x, order=order) * weights).backward()
    # Each element's weight, by writing weights where the elements came from.
    numbers = np.arange(6).reshape(2, 3)
    like = np.empty_like(x.data, dtype=int)
    like[...] = numbers
    expected = np.zeros(6)
    expected[np.ravel(like, order=order)] = weights
    np.testing.assert_array_equal(x.grad, expected.reshape(2, 3))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize(("function", "slope"), [(np.sum, 1), (np.max, 1)])
def test_a_number_may_be_reduced_over_its_first_axis(function, axis, slope):
    x = Tensor(2.0, requires_grad=True)
    function(x, axis=axis).backward()
    assert x.grad == slope


def test_trapezoid_takes_a_spacing_for_each_place():
    y, dx = np.arange(12.0).reshape(4, 3) ** 2, np.arange(1.0, 10.0).reshape(3, 3)
    x = Tensor(y, requires_grad=True)
    np.testing.assert_allclose(np.trapezoid(x, dx=dx, axis=0).data, np.trapezoid(y, dx=dx, axis=0))


@pytest.mark.parametrize("side", [0.0, -0.0])
@pytest.mark.parametrize("x", [-2.0, -0.5, 0.5, 2.0])
@pytest.mark.parametrize("part", [np.real, np.imag])
@pytest.mark.parametrize(
    "function", [np.arccos, np.arcsin, np.arccosh, np.arctanh, np.sqrt, np.log]
)
def test_on_a_branch_cut_the_zero_imaginary_part_tells_the_side(function, part, x, side):
    def f(x):
        z = x + 0j
        return part(function(z if np.signbit(side) == 0 else np.conj(z)))

    gradcheck(f, np.array(x))


@pytest.mark.parametrize("ufunc", [np.subtract, np.true_divide])
@pytest.mark.parametrize("axis", [None, 0, -1, (0,), ()])
@pytest.mark.parametrize("x", [np.array(2.0), np.array([1.5, 5.0, -2.0])])
def test_reductions_that_are_not_reorderable_take_numpys_axes(ufunc, axis, x):
    if x.ndim == 0 and axis == (0,):
        return  # which NumPy refuses
    gradcheck(
        lambda x: ufunc.reduce(x, axis=axis), x, reference=lambda x: ufunc.reduce(x, axis=axis)
    )


@pytest.mark.parametrize("function", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_two_nans_both_get_the_gradient(function):
    nan = np.array([np.nan])
    found = grad(lambda x, y: function(x, y).sum(), argnums=(0, 1))(nan, nan)
    assert np.ravel(found).tolist() == [1, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("x", "y", "slopes"),
    [(np.inf, 1, (1, 0)), (-np.inf, 1, (-1, 0)), (3, -np.inf, (0, -1)), (0, np.inf, (0, 1)),
     (np.inf, -np.inf, (0.5**0.5, -(0.5**0.5)))],
)  # fmt: skip
def test_hypot_and_arctan2_at_infinity(x, y, slopes, dtype):
    x, y = np.array([x], dtype), np.array([y], dtype)
    found = grad(lambda x, y: np.hypot(x, y).sum(), argnums=(0, 1))(x, y)
    assert_allclose(np.ravel(found), slopes, rtol=1e-3)
    found = grad(lambda x, y: np.arctan2(x, y).sum(), argnums=(0, 1))(x, y)
    assert_allclose(np.ravel(found), [0, 0])


# ------------------------------------------------------------------------------------ dtypes


@pytest.mark.parametrize("dtype", [None, np.float32, np.float64])
def test_covariances_have_the_dtype_that_is_asked_for(dtype):
    x = np.arange(6, dtype=np.float32).reshape(2, 3) ** 2
    for function in (np.cov, np.corrcoef):
        found = function(Tensor(x, requires_grad=True), dtype=dtype)
        assert found.dtype == function(x, dtype=dtype).dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sum(x, dtype=np.float64),
        lambda x: np.mean(x, dtype=np.float64),
        lambda x: x * np.arange(3.0),
        lambda x: 2 * x + 1.5,
        lambda x: x**2 + x**0.5,
        lambda x: x[[0, 0, 1]],
        lambda x: np.sort(x),
        lambda x: np.sort(np.concatenate([x, x])),
        lambda x: np.std(x) + np.max(x),
        lambda x: np.float_power(x, 2),
        lambda x: np.where(x > 1, x, 0),
        lambda x: np.einsum("i,i", x, x),
        lambda x: x.astype(np.float64).relu(),
    ],
)
def test_a_gradient_has_the_dtype_of_its_tensor(function, dtype):
    x = Tensor(np.array([1, 2, 3], dtype), requires_grad=True)
    out = function(x)
    assert out.dtype == function(np.array([1, 2, 3], dtype).view(ArrayWithRelu)).dtype
    np.sum(out).backward()
    assert x.grad.dtype == dtype


class ArrayWithRelu(np.ndarray):
    def relu(self):
        return np.maximum(self, 0)
