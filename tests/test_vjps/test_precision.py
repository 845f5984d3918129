"""Gradients of many numbers: counts and sums neither stick, overflow nor lose their digits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor, grad
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

N = 70_000
HALF = np.float16


def gradient(function, x):
    return grad(lambda x: np.sum(function(x), dtype=np.float64))(x)


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (np.mean, np.ones(N, HALF), 1 / N),
        (np.nanmean, np.ones(N, HALF), 1 / N),
        (np.average, np.ones(N, HALF), 1 / N),
        (np.max, np.ones(N, HALF), 1 / N),
        (np.min, np.ones((N, 1), HALF), 1 / N),
        (np.var, np.tile(np.array([2, 0], HALF), N // 2), 2 / N),
        (np.std, np.tile(np.array([2, 0], HALF), N // 2), 1 / N),
        (np.linalg.norm, np.ones(N, HALF), N**-0.5),
        (lambda p: F.mse_loss(p, np.zeros(N, HALF)), np.full(N, 100, HALF), 200 / N),
        (lambda x: np.repeat(x, 5000), np.ones(2, HALF), 5000),
        (lambda x: np.tile(x, 5000), np.ones(2, HALF), 5000),
        (lambda x: np.take(x, np.zeros(5000, int), 0), np.ones(2, HALF), 5000),
        (lambda x: x[np.zeros(5000, int)], np.ones(2, HALF), 5000),
        (lambda x: x[[0] * 5000], np.ones(2, HALF), 5000),
        (lambda x: np.pad(x, (5000, 0), "edge"), np.ones(2, HALF), 5001),
        (np.cumsum, np.ones(5000, HALF), 5000),
        (lambda b: np.ones((10_000, 2), HALF) + b, np.zeros(2, HALF), 10_000),
        (lambda b: np.broadcast_to(b, (5000, 2)), np.zeros(2, HALF), 5000),
        (lambda b: F.linear(np.ones((10_000, 3), HALF), np.ones((2, 3), HALF), b),
         np.zeros(2, HALF), 10_000),
        (lambda b: np.einsum("ij,j->ij", np.ones((5000, 2), HALF), b), np.zeros(2, HALF), 5000),
        (lambda b: np.einsum("bi,ij->bj", np.ones((5000, 3), HALF), b),
         np.zeros((3, 2), HALF), 5000),
        (lambda x: np.einsum("ij,kj->k", np.ones((5000, 2), HALF), x), np.ones((1, 2), HALF), 5000),
        (lambda z: F.cross_entropy(z, np.zeros(N, int)), np.zeros((N, 2), HALF), -0.5 / N),
        # As of x / N: the others' part in the sum is far below it.
        (lambda z: F.softmax(z, dim=0) * np.eye(N, 1, dtype=HALF), np.zeros((N, 1), HALF), 1 / N),
    ],
)  # fmt: skip
def test_float16(function, x, expected):
    found = gradient(function, x)
    assert found.dtype == HALF
    assert_allclose(np.ravel(found)[0].astype(float), expected, rtol=5e-3)


@pytest.mark.parametrize("n", [5000, N])
def test_losses_and_softmax_of_many_float16_numbers(n):
    assert_allclose(F.softmax(np.zeros((1, n), HALF)).data, 1 / n, rtol=2e-3)
    assert_allclose(F.log_softmax(np.zeros((n, 1), HALF), dim=0).data, -np.log(n), rtol=1e-3)
    assert_allclose(
        F.cross_entropy(np.zeros((n, 2), HALF), np.zeros(n, int)).item(), np.log(2), rtol=1e-3
    )
    assert F.softmax(np.zeros((1, n), HALF)).dtype == HALF


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_over_many_float16_numbers(function):
    rng = np.random.default_rng(0)
    z, weights = rng.normal(size=(5000, 2)), rng.uniform(0.5, 1, (5000, 2))
    found = gradient(lambda z: function(z, dim=0) * weights.astype(HALF), z.astype(HALF))
    expected = gradient(lambda z: function(z, dim=0) * weights, z)
    assert_allclose(found.astype(float), expected, rtol=0.02, atol=0.02)


TENTH = np.float32(0.1)


@pytest.mark.parametrize("n", [1000, 10**5, 10**6])
@pytest.mark.parametrize(
    "function",
    [
        lambda b, n: (np.zeros((n, 2), np.float32) + b) * TENTH,
        lambda b, n: (
            F.linear(np.zeros((n, 1), np.float32), np.zeros((2, 1), np.float32), b) * TENTH
        ),
        lambda b, n: np.broadcast_to(b, (n, 2)) * TENTH,
        lambda b, n: np.einsum("ij,j->ij", np.full((n, 2), TENTH), b),
    ],
)
def test_float32_summed_over_the_first_axis(function, n):
    found = gradient(lambda b: function(b, n), np.zeros(2, np.float32))
    assert_allclose(found, n * float(TENTH), rtol=2e-5)


# ------------------------------------------------------------------------ operands of few digits


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.uint64, HALF])
@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: np.power(x, y),
        lambda x, y: np.power(y, x),
        lambda x, y: np.float_power(y, x),
        lambda x, y: np.arctan2(x, y),
        lambda x, y: np.arctan2(y, x),
        lambda x, y: np.hypot(x, y),
        lambda x, y: np.logaddexp(x, y),
        lambda x, y: np.fmod(y, x),
        lambda x, y: np.multiply(x, y),
        lambda x, y: np.divide(y, x),
        lambda x, y: np.trapezoid(np.sin(x), np.sort(y)),
        lambda x, y: np.gradient(x, y),
        lambda x, y: np.interp(100 + 5 * x, np.sort(y), np.arange(len(y)) % 2),
        lambda x, y: np.interp(x, np.arange(len(y)), np.sort(y)[::-1]),
        lambda x, y: np.average(x, weights=y),
        lambda x, y: np.cov(x, aweights=y),
        lambda x, y: np.polyval(y, x),
        lambda x, y: np.convolve(x, y),
        lambda x, y: np.dot(x, y),
        lambda x, y: np.kron(x, y),
        lambda x, y: np.linspace(x, y, 3),
        lambda x, y: np.einsum("i,i,i->i", x, y, y.astype(float)),
    ],
)
def test_operands_of_other_dtypes_are_converted_first(function, dtype):
    # Numbers whose squares, products and sums such a dtype does not have.
    y = np.array([120, 100, 90, 101, 115]).astype(dtype)
    x = np.array([0.31, 1.7, 1.13, 0.93, 2.37])
    found = gradient(lambda x: function(x, y), x)
    assert_allclose(found, gradient(lambda x: function(x, y.astype(float)), x), rtol=1e-9)
    if dtype != HALF:  # in which NumPy rounds the coefficients of some functions
        gradcheck(lambda x: function(x, y), x, order=2)


# ---------------------------------------------------------------------------- matrices


def rotated(*values):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    return left @ np.diag(values) @ right


W = np.random.default_rng(1).normal(size=(3, 3))


def weighted(part):
    return lambda x: np.sum(np.linalg.svd(x)[part] ** 2 * W)


@pytest.mark.parametrize("part", [0, 2])
def test_singular_values_that_are_small_but_not_equal_have_vectors_with_a_derivative(part):
    matrix = rotated(1, 2e-4, 1e-4)
    exact = grad(weighted(part))(matrix)
    single = grad(lambda x: np.sum(np.linalg.svd(x)[part] ** 2 * W.astype(np.float32)))
    found = single(matrix.astype(np.float32))
    assert_allclose(found, exact, atol=2e-2 * np.max(np.abs(exact)))
    # The vectors of close values turn as fast as the values are close.
    close, closer = (
        np.max(np.abs(grad(weighted(part))(rotated(1, 2 * s, s)))) for s in (1e-4, 1e-8)
    )
    assert_allclose(closer / close, 1e4, rtol=0.2)


@pytest.mark.parametrize("function", [weighted(0), weighted(2), lambda x: np.linalg.norm(x, "nuc")])
@pytest.mark.parametrize("scale", [1e-170, 1e-20, 1e20, 1e170])
def test_singular_vectors_do_not_depend_on_the_scale(function, scale):
    matrix = rotated(3, 2, 1)
    at_one = grad(function)(matrix)
    ratio = function(scale * matrix) / function(matrix)
    assert_allclose(grad(function)(scale * matrix) * scale / ratio, at_one, rtol=1e-9)


def test_a_graded_matrix_is_not_singular():
    matrix = np.diag([1.0, 1e-12, 1e-30])
    assert_allclose(grad(lambda x: np.linalg.slogdet(x)[1])(matrix), np.diag([1, 1e12, 1e30]))
    scales = np.array([1, 1e-20, 1e-40])
    of_q = grad(lambda x: np.sum(np.linalg.qr(x)[0] * W))
    found = of_q(rotated(3, 2, 1) * scales) * scales
    assert_allclose(found, of_q(rotated(3, 2, 1)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (4, 4)])
def test_the_pseudo_inverse_has_a_derivative_among_matrices_of_one_rank(shape):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(shape[0], 2)), rng.normal(size=(2, shape[1]))
    gradcheck(lambda x, y: np.linalg.pinv(x @ y, 1e-10), left, right, order=2)
    gradcheck(lambda x, y: np.linalg.lstsq(x @ y, np.ones(shape[0]), 1e-10)[0], left, right)


@pytest.mark.parametrize("function", [np.linalg.pinv, lambda a, c: np.linalg.lstsq(a, a, c)[0]])
def test_a_cutoff_that_changes_the_matrix_is_refused(function):
    x = Tensor(rotated(3, 2, 1), requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"the cutoff 0\.4 drops singular values"):
        function(x, 0.4)
    gradcheck(lambda a: np.sum(function(a, 0.3)), x.data)  # drops none


BY_SINGULAR_VALUES = [np.linalg.svdvals, np.linalg.cond, lambda x: np.linalg.norm(x, 2),
                      lambda x: np.linalg.norm(x, "nuc")]  # fmt: skip
INFINITE = np.array([[-np.inf, 1, 2], [0.1, 2, 0.3], [0.2, 0.1, 2]])
try:
    np.linalg.svdvals(INFINITE)
    HAS_SINGULAR_VALUES = True
except np.linalg.LinAlgError:  # some builds of LAPACK refuse infinities
    HAS_SINGULAR_VALUES = False


@pytest.mark.parametrize("function", [*BY_SINGULAR_VALUES, np.linalg.eigvalsh, np.linalg.det])
def test_infinities_end(function):
    x = Tensor(INFINITE, requires_grad=True)
    if function in BY_SINGULAR_VALUES and not HAS_SINGULAR_VALUES:
        with pytest.raises(np.linalg.LinAlgError):
            function(x)
        return
    with np.errstate(invalid="ignore"):
        out = function(x)
        assert_array_equal(out.data, function(INFINITE))
        np.sum(out).backward()
    assert np.isnan(x.grad).any()


@pytest.mark.parametrize("function", [np.linalg.svd, np.linalg.pinv])
def test_where_lapack_does_not_end_is_an_error(function):
    with pytest.raises(np.linalg.LinAlgError, match="infinite or missing"):
        function(Tensor([[np.inf, 1.0], [1.0, 1.0]], requires_grad=True))


@pytest.mark.parametrize(
    "select",
    [np.flip, np.triu, np.tril, np.diag, lambda x: np.take(x, [0, 0, 2], 1), np.trace],
)
@pytest.mark.parametrize("dtype", [np.longdouble, np.clongdouble])
def test_selections_add_up_in_the_longest_dtype(select, dtype):
    values = np.arange(9, dtype=np.longdouble).reshape(3, 3)
    gradients = []
    for unit in np.longdouble(1), 1 + np.finfo(np.longdouble).eps:
        x = Tensor(values.copy(), requires_grad=True)
        np.sum(np.real(select(x.astype(dtype)) * unit)).backward()
        gradients.append(x.grad)
    assert gradients[0].any()
    np.testing.assert_array_equal(gradients[1], gradients[0] * unit)
