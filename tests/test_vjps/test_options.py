"""Each option of functions with many of them, one by one, as a random choice may miss one."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose

from microgrand import Tensor, grad
from microgrand.dispatch import data_of
from microgrand.testing import gradcheck

from .calls import assert_same, outcome

rng = np.random.default_rng(0)
X = rng.permutation(12).reshape(2, 3, 2) / 8 + rng.uniform(0.3, 0.4, (2, 3, 2))
M = rng.normal(size=(3, 3)) + 3 * np.eye(3)
V = rng.uniform(0.3, 1.7, 5)
WHERE = rng.random((2, 3, 2)) > 0.3
NANS = np.arange(12).reshape(X.shape) % 5 == 1

CALLS = {}


def add(function, *args, inputs=(X,), **options):
    """Register the call ``function(*inputs, *args, **options)``."""
    given = [repr(arg) for arg in args]
    given += [f"{name}={'...' if name == 'where' else value}" for name, value in options.items()]
    name = f"{function.__name__}({', '.join(given)}) {len(CALLS)}"
    CALLS[name] = (lambda *xs: function(*xs, *args, **options), inputs)


def every(**choices):
    """Yield all combinations of options."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


AXES = [None, -2, (0, 2), (-1, 0), ()]
for options in every(axis=AXES, keepdims=[False, True]):
    for function in (np.sum, np.mean, np.prod, np.max, np.min, np.ptp, np.var, np.std):
        if not (options["axis"] == () and function is np.ptp):
            add(function, **options)
    if options["axis"] != ():
        for function in (np.median, np.average):
            add(function, **options)
    for function in (np.sum, np.mean, np.prod, np.var, np.std):
        if options["axis"] in (None, (0, 2)):
            add(function, where=WHERE | (np.arange(3)[:, None] == 1), **options)
    add(np.max, where=WHERE, initial=0.5, **options)
    add(np.min, where=WHERE, initial=0.5, **options)
    for function in (np.var, np.std):
        if options["axis"] != ():
            add(function, ddof=0.5, **options)
            add(function, correction=0.5, **options)
for name in ("sum", "prod", "mean", "max", "min", "var", "std", "median"):
    function = getattr(np, f"nan{name}")
    for options in every(axis=[None, 1, (0, 2)], keepdims=[False, True]):

        def of_nans(x, function=function, **options):
            return function(np.where(NANS, np.nan, x), **options)

        of_nans.__name__ = function.__name__
        add(of_nans, **options)
for function in (np.cumsum, np.cumprod, np.nancumsum, np.nancumprod):
    for axis in (None, 0, -1):
        add(function, axis=axis)

LEFT, RIGHT = [(3,), (2, 3), (2, 2, 3), (1, 2, 3)], [(3,), (3, 2), (2, 3, 2), (2, 1, 3, 2)]
for left, right in itertools.product(LEFT, RIGHT):
    x, y = rng.uniform(0.3, 1.7, left), rng.uniform(0.3, 1.7, right)
    for function in (np.matmul, np.dot):
        add(function, inputs=[x, y])
    add(np.inner, inputs=[x, np.moveaxis(y, -2, -1) if y.ndim > 1 else y])
    if hasattr(np, "matvec") and x.ndim > 1:
        add(np.matvec, inputs=[x, y[..., 0] if y.ndim > 1 else y])
    if hasattr(np, "vecmat") and y.ndim > 1:
        add(np.vecmat, inputs=[x, y])
    add(np.vecdot, inputs=[x, y[..., 0] if y.ndim > 1 else y])

for order in (None, 2, 1, 3, 0.5, -1, -2, np.inf, -np.inf, 0):
    add(np.linalg.norm, order, inputs=[V])
    add(np.linalg.norm, order, 1, True)
for order in (None, "fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf):
    add(np.linalg.norm, order, inputs=[M])
    add(np.linalg.norm, order, (2, 0), True)
for p in (None, 2, -2, 1, -1, np.inf, -np.inf, "fro"):
    add(np.linalg.cond, p, inputs=[M])
for n in range(-3, 6):
    add(np.linalg.matrix_power, n, inputs=[M])

add(np.linalg.matrix_power, 0, inputs=[np.zeros((2, 1, 3, 3))])
for b in (V[:3], M[:, :2], M[None, :, :1]):  # a vector, matrices: for each of a stack of equations
    add(np.linalg.solve, inputs=[np.stack([M, M.T]), b])
for scale in (1e-20, 1e20):  # of which also depends what counts as zero
    add(np.linalg.qr, inputs=[scale * M[:, :2]])
    add(np.linalg.svd, full_matrices=False, inputs=[scale * M[:, :2]])
    add(np.linalg.pinv, inputs=[scale * M[:, :2]])

    def eigh(x):
        return np.linalg.eigh(x + np.swapaxes(x, -1, -2))

    add(eigh, inputs=[scale * M])

for method in (
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "lower", "higher"),
    *("interpolated_inverted_cdf", "hazen", "weibull", "linear", "midpoint", "nearest"),
    *("median_unbiased", "normal_unbiased"),
):
    add(np.quantile, [0.1, 0.37, 0.8], method=method, inputs=[V])
    add(np.percentile, 37.0, axis=(2, 0), keepdims=True, method=method)
for axis in (None, 0, 1, -1):
    for function in (np.sort, np.partition):
        add(function, *[1][: function is np.partition], axis=axis)

for mode, width in itertools.product(
    ("constant", "edge", "reflect", "symmetric", "wrap"), (0, 1, ((0, 3), (2, 0), (1, 5)))
):
    add(np.pad, width, mode)
for mode in ("full", "same", "valid"):
    for function, n in itertools.product((np.convolve, np.correlate), (1, 2, 3, 4)):
        add(function, V[:n], mode, inputs=[V])
        add(function, np.append(V, V), mode, inputs=[V[:n]])
        add(function, V[1 : 1 + n], mode, inputs=[V[:n]])
x, y = rng.uniform(0.3, 1.7, (2, 3)), rng.uniform(0.3, 1.7, (3, 4))
for output in ([], [[0, 2]], [[2, 0]], [[2]], [[]]):

    def einsum(x, y, *output):
        return np.einsum(x, [0, 1], y, [1, 2], *output)

    add(einsum, *output, inputs=[x, y])
add(lambda x, y: np.einsum(x, [..., 1], y, [1, ...], [...]), inputs=[x, y[:, 0]])
for mode in ("raise", "wrap", "clip"):
    add(np.take, [0, 1, 1], 1, mode=mode)
    if mode != "raise":
        add(np.take, [-4, 7], 1, mode=mode)

for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    transform = getattr(np.fft, name)
    for options in every(n=[None, 2, 5], norm=[None, "ortho", "forward"]):

        def parts(x, transform=transform, **options):
            z = transform(x, **options)
            return np.real(z), np.imag(z)

        parts.__name__ = name
        add(parts, inputs=[X[0].T], **options)
        add(parts, inputs=[X], axis=1, **options)
for name in ("fftn", "ifftn", "rfftn", "irfftn"):
    transform = getattr(np.fft, name)
    for options in ({}, {"axes": (2, 1)}, {"s": (-1, 4), "axes": (1, 0)}, {"s": (1, 3, 2)}):

        def parts(x, transform=transform, **options):
            z = transform(x, **options)
            return np.real(z), np.imag(z)

        parts.__name__ = name
        add(parts, **options)

PLACES = np.cumsum(V)
for period in (None, PLACES[-1] + 1, -PLACES[-1] - 1):
    x = np.array([0.1, PLACES[0] + 0.1, PLACES[2] + 0.1, PLACES[-1] - 0.1, PLACES[-1] + 0.3, -0.2])
    add(np.interp, period=period, inputs=[x, PLACES, V])
for n, endpoint in itertools.product((2, 3, 5), (True, False)):
    add(np.linspace, n, endpoint, retstep=True, inputs=[V, V[::-1]])
for n, increasing in itertools.product((None, 1, 2, 5), (True, False)):
    add(np.vander, n, increasing, inputs=[V])
for axis in (0, 1, -1):
    end = np.take(X, [0, 1], axis) * 2
    add(np.diff, axis=axis, prepend=end)
    add(np.diff, axis=axis, append=end, n=2)
    add(lambda x, end, axis=axis: np.diff(x, 2, axis, append=end), inputs=[X, np.array(0.5)])
    add(np.trapezoid, PLACES[: X.shape[axis]], axis=axis)
    add(np.trapezoid, np.cumsum(X, axis), axis=axis)
    add(np.gradient, 0.5, axis=axis)
add(np.gradient, inputs=[M])
add(np.gradient, 0.5, PLACES[:3], inputs=[M])
for order in (1, 2):
    add(np.gradient, edge_order=order, inputs=[V])
    add(np.gradient, PLACES, edge_order=order, inputs=[V])
    add(np.gradient, edge_order=order, axis=(1, 0), inputs=[M])


@pytest.mark.filterwarnings("ignore:`axes` should not be `None`")
@pytest.mark.parametrize("name", CALLS)
def test_values_and_derivatives_with(name):
    call, inputs = CALLS[name]
    expected = call(*inputs)
    found = call(*(Tensor(x, requires_grad=True) for x in inputs))
    if not isinstance(expected, tuple):
        expected, found = (expected,), (found,)
    for value, array in zip(found, expected, strict=True):
        assert value.shape == array.shape
        assert_allclose(data_of(value), array, rtol=1e-12, atol=1e-14)
    gradcheck(call, *inputs)
    gradcheck(call, *inputs, order=2, mode="fast")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize(
    "call",
    [
        lambda x, k: np.var(x, ddof=k),
        lambda x, k: np.std(x, ddof=k),
        lambda x, k: np.nanvar(x, ddof=k),
        lambda x, k: np.roll(x, k),
        lambda x, k: np.repeat(x, k),
        lambda x, k: np.diff(x, append=x[:k]),
        lambda x, k: np.linspace(x, 2 * x, k),
        lambda x, k: np.fft.irfft(x, k),
        lambda x, k: np.take(x, np.array([k, k])),
        lambda x, k: np.average(x[:2], weights=np.array([k, k])),
        lambda x, k: np.gradient(x, k),
    ],
)
def test_small_numpy_integers_do_not_wrap_around(call, dtype):
    values = np.linspace(1, 2, 300)
    gradients = []
    for k in 200, dtype(200):
        x = Tensor(values, requires_grad=True)
        result = call(x, k)
        result.backward(np.cos(np.arange(result.size)).reshape(result.shape))
        gradients.append(x.grad)
    assert_allclose(*gradients, rtol=1e-12)


@pytest.mark.parametrize(
    "call",
    [
        np.add.accumulate,
        np.multiply.accumulate,
        lambda x: np.apply_along_axis(np.sum, 0, x),
        lambda x: np.apply_over_axes(np.sum, x, 0),
        lambda x: np.apply_over_axes(np.sum, x, -1),
    ],
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_an_axis_of_a_number_is_what_it_is_to_numpy(call, requires_grad):
    x = np.array(2.5)
    assert_same(outcome(call, Tensor(x, requires_grad=requires_grad)), outcome(call, x))


EMPTY = [(0, 3), (3, 0), (0, 0), (2, 0, 3), (0, 2, 2), (0, 1, 0, 1), (1, 1, 1, 1), (1, 1)]


@pytest.mark.parametrize("shape", EMPTY)
@pytest.mark.parametrize("order", [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_empty_matrices(shape, order):
    for call in (
        lambda x: np.linalg.norm(x, order, axis=(-2, -1)),
        lambda x: np.linalg.norm(x, order, axis=(0, 1), keepdims=True),
        lambda x: np.linalg.matrix_norm(x, ord=order or "fro"),
        lambda x: np.linalg.cond(x, order),
    ):
        x = np.full(shape, 0.5)
        found = outcome(call, Tensor(x, requires_grad=True))
        assert_same(found, outcome(call, x))
        if isinstance(found, Tensor):
            np.sum(found).backward()


@pytest.mark.parametrize("axes", [None, (0,)])
@pytest.mark.parametrize("shape", EMPTY)
def test_tensorsolve_of_empty_tensors_and_of_equations_without_unknowns(shape, axes):
    call = lambda a, b: np.linalg.tensorsolve(a, b, axes)
    for ndim in range(len(shape) + 1):
        a, b = np.ones(shape), np.ones(shape[:ndim])
        found = outcome(call, Tensor(a, requires_grad=True), Tensor(b, requires_grad=True))
        assert_same(found, outcome(call, a, b))
        if isinstance(found, Tensor):
            np.sum(found).backward()


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")
@pytest.mark.parametrize("lengths", list(itertools.product([1, 2, 3, 4], repeat=2)))
@pytest.mark.parametrize("axis", [None, 0])
def test_cross_products_of_the_plane_and_of_space(lengths, axis):
    a, b = (np.random.default_rng(n).normal(size=(n, n)) + 1 for n in lengths)
    a, b = a[:, :1], b  # which broadcast
    call = lambda a, b: np.cross(a, b, axisa=0, axisb=0, axisc=0, axis=axis)
    found = outcome(call, Tensor(a, requires_grad=True), Tensor(b, requires_grad=True))
    assert_same(found, outcome(call, a, b))
    if isinstance(found, Tensor):
        assert gradcheck(call, a, b, order=2)


@pytest.mark.parametrize("function", [np.var, np.std, np.nanvar, np.nanstd])
def test_a_spread_is_real_in_a_complex_dtype(function):
    y = 1j * np.array([1.0, 2.0, 4.0])
    x = np.array([0.5, 1.0, -2.0])
    assert not grad(lambda x: np.real(1j * function(x + y, dtype=complex)))(x).any()
    call = lambda x: np.real((2 + 1j) * function(x + y, dtype=complex))
    assert gradcheck(call, x, order=2)


@pytest.mark.parametrize("function", [np.logaddexp, np.logaddexp2, np.hypot, np.fmax, np.maximum])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3)])
def test_accumulating_along_each_axis(function, axis, shape):
    x = np.random.default_rng(0).permutation(9)[: shape[0] * shape[1]].reshape(shape) / 3 + 0.1
    assert gradcheck(lambda x: function.accumulate(x, axis=axis), x, order=2)


def test_interpolation_from_an_infinite_place():
    places, values = np.array([-np.inf, 0.0, 1.0]), np.array([5.0, 2.0, 3.0])
    x = np.array([-1.0, 0.25])
    with np.errstate(invalid="ignore"):
        outcome_of = lambda x, fp: np.interp(x, places, fp)
        x, fp = Tensor(x, requires_grad=True), Tensor(values, requires_grad=True)
        assert_same(outcome_of(x, fp), outcome_of(x.data, values))
        np.sum(outcome_of(x, fp) * np.array([1.0, 10.0])).backward()
    assert_allclose(x.grad, [0, 10])
    assert_allclose(fp.grad, [0, 1 + 7.5, 2.5])


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_norms_of_zero_matrices_have_derivative_zero(order):
    x = np.stack([np.zeros((2, 3)), np.arange(1.0, 7).reshape(2, 3)])
    found = grad(lambda x: np.linalg.norm(x, order, axis=(1, 2)).sum())(x)
    assert not found[0].any()
    assert np.any(found[1])
