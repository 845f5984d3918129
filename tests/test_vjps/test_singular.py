"""Where functions of matrices have no derivative: repeated values and singular matrices."""

import numpy as np
import pytest
from helpers import grads_of
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor, grad, hessian
from microgrand.testing import gradcheck

REPEATED = np.diag([1.0, 1.0, 2.0])
SINGULAR = np.diag([1.0, 0.0, 2.0])


@np.errstate(divide="raise", invalid="raise")
def test_functions_of_all_repeated_eigenvalues_have_a_derivative():
    assert_array_equal(grads_of(lambda x: np.sum(np.linalg.eigvalsh(x)), REPEATED)[0], np.eye(3))
    assert_array_equal(grads_of(lambda x: np.sum(np.linalg.eigh(x)[0]), REPEATED)[0], np.eye(3))
    assert_allclose(grads_of(lambda x: np.linalg.norm(x, "nuc"), REPEATED)[0], np.eye(3))


@pytest.mark.parametrize(
    ("function", "matrix", "match"),
    [
        (lambda x: np.linalg.eigh(x)[1][0, 2] + np.linalg.eigh(x)[1][0, 1], REPEATED, "repeated"),
        (
            lambda x: np.sum(np.linalg.svd(x)[0] * np.arange(9.0).reshape(3, 3)),
            REPEATED,
            "repeated",
        ),
        (
            lambda x: hessian(lambda y: np.sum(grad(np.linalg.det)(y) * y))(x),
            SINGULAR,
            r"third derivative of np\.linalg\.det .* singular",
        ),
        (lambda x: np.linalg.qr(x)[0], SINGULAR, "linearly dependent"),
        (lambda x: np.linalg.slogdet(x)[1], SINGULAR, "slogdet .* singular"),
        (np.linalg.inv, SINGULAR, "Singular"),
        (lambda x: np.linalg.svd(x[:, :2], full_matrices=False)[0], SINGULAR, "singular value 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_no_derivative_is_an_error(function, matrix, match):
    with pytest.raises(np.linalg.LinAlgError, match=match):
        grads_of(function, matrix, weights=np.exp(np.arange(1.0)))


def test_vectors_of_other_than_repeated_values_have_a_derivative():
    weights = np.array([1.0, 2.0, 3.0])
    turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2)[0]
    matrix = turn @ REPEATED @ turn.T
    last = np.array([0.0, 0.0, 1.0])  # which is not among the repeated ones

    def fn(x):  # the square, as the sign of the vector is arbitrary
        return (np.linalg.eigh((x + x.T) / 2)[1] @ last) ** 2 * weights

    gradcheck(fn, matrix)
    with np.errstate(divide="raise", invalid="raise"):
        grads_of(fn, matrix)


@pytest.mark.parametrize("sign", [1, -1])
def test_repeated_singular_values_are_noticed_in_u_and_v(sign):
    # What u and v have to do with it may be equal or opposite.
    def fn(x):
        u, _, vh = np.linalg.svd(x)
        return u + sign * vh.T

    with pytest.raises(np.linalg.LinAlgError, match="repeated"):
        grads_of(fn, REPEATED, weights=np.arange(9.0).reshape(3, 3))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.linalg.eigh(x)[1],
        lambda x: np.linalg.qr(x)[0],
        lambda x: np.linalg.svd(x[..., :2], full_matrices=False)[0],
        lambda x: np.linalg.svd(x[..., :2, :], full_matrices=False)[2],
    ],
)
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_matrices_of_a_stack_do_not_depend_on_each_other(function, scale):
    matrix = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.7], [0.5, 0.7, 1.0]])
    stack = np.stack([scale * matrix, matrix])
    weights = np.arange(9.0).reshape(3, 3)[: function(matrix).shape[0], : function(matrix).shape[1]]
    found = grads_of(function, stack, weights=weights)[0]
    for one, gradient in zip(stack, found, strict=True):
        expected = grads_of(function, one, weights=weights)[0]
        assert_allclose(gradient, expected, atol=1e-12 * np.max(np.abs(expected)))
        assert np.any(expected)


@pytest.mark.parametrize("scale", [1e-20, 1, 1e20])
def test_one_matrix_of_a_stack_without_a_derivative_is_an_error(scale):
    def function(x):
        return np.linalg.qr(x)[0]

    matrix = np.diag([1.0, 2.0, 3.0])
    grads_of(function, np.stack([scale * matrix, matrix]))
    with pytest.raises(np.linalg.LinAlgError):
        grads_of(function, np.stack([scale * SINGULAR, matrix]))


@pytest.mark.parametrize("function", [np.linalg.eigvalsh, np.linalg.svdvals])
def test_second_derivative_of_repeated_eigenvalues_is_an_error(function):
    with pytest.raises(np.linalg.LinAlgError, match="repeated"):
        hessian(lambda x: np.sum(function(x) ** 2))(REPEATED)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: np.linalg.svd(a @ np.ones((2, 2)), full_matrices=False)[0],
        lambda a: np.linalg.qr(a @ np.ones((2, 2)))[0],
        lambda a: np.linalg.eigh(a.T @ a * 0 + np.eye(2))[1],
    ],
)
def test_vectors_without_a_derivative_raise(call):
    a = Tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 1.0]], requires_grad=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"np\.linalg\.(svd|qr|eigh)"):
        np.sum(call(a)).backward()
