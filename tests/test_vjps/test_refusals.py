"""What the table refuses: calls that NumPy refuses, in its words, and what has no derivative."""

import numpy as np
import pytest

from microgrand import Tensor, grad, jacobian


@pytest.mark.parametrize("name", ["slogdet", "eigh", "cholesky", "svd", "qr", "lstsq"])
def test_linear_algebra_takes_real_matrices(name):
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    function = getattr(np.linalg, name)
    arguments = [np.ones(2)] if name == "lstsq" else []
    if name not in ("svd", "qr", "lstsq"):
        with pytest.raises(np.linalg.LinAlgError, match="square"):
            function(x)
    with pytest.raises(np.linalg.LinAlgError, match=r"1-dimensional|takes a .*matrix"):
        function(x[:, 0], *arguments)
    with pytest.raises(TypeError, match=rf"np\.linalg\.{name} is differentiable for real matrices"):
        function(np.ones((2, 2)) * x[0, 0] * 1j, *arguments)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.linalg.svd(x),
        lambda x: np.linalg.qr(x, "complete"),
        lambda x: np.pad(x, 1, "mean"),
        lambda x: np.quantile(np.arange(3.0), x),
        lambda x: np.pad(np.ones(3), 1, constant_values=x),
        lambda x: np.linalg.eigh(x @ x.T * 1j),
    ],
)
def test_what_is_not_supported_is_an_error(call):
    with pytest.raises((TypeError, ValueError)):
        call(Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: np.einsum("ijk->ij", x), ValueError, r"'ijk' does not fit .* \(3, 4\)"),
        (lambda x: np.einsum("i...jk->ij", x), ValueError, "'i...jk' does not fit"),
        (lambda x: np.einsum("i->i", x), ValueError, "'i' does not fit"),
        (lambda x: np.einsum("ij,jk", x), ValueError, "2 terms, got 1 arrays"),
    ],
)
@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors")
def test_arguments_that_do_not_fit_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call(Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.cross(x, np.ones((3, 2))),
        lambda x: np.cross(x, np.ones(3)),
        lambda x: np.linalg.outer(x, np.ones(3)),
        lambda x: np.linalg.outer(x[0], np.ones((2, 3))),
        lambda x: np.linalg.tensorinv(x[:3, :3], 0),
        lambda x: np.tensordot(x, x, ([0], [0], [0])),
        lambda x: np.tensordot(x, x, ([0], [1])),
        lambda x: np.convolve(x[0], x[1], "half"),
        lambda x: np.gradient(x, edge_order=3),
        lambda x: np.gradient(x[:2], edge_order=2),
        lambda x: np.gradient(x[:1]),
        lambda x: np.gradient(x, 1.0, 1.0, 1.0),
        lambda x: np.gradient(x, np.arange(3.0), axis=1),
        lambda x: np.fft.fftn(x, (2, 2), (0,)),
        lambda x: np.interp(x[0], x[0], x[0, :2]),
        lambda x: np.meshgrid(x, indexing="foo"),
        lambda x: np.diff(x, n=-1),
        lambda x: np.cov(x, aweights=[-1.0, 1, 1, 1]),
        lambda x: np.average(x, weights=np.ones(3)),
        lambda x: np.pad(x, -1),
        lambda x: np.insert(x, 9, x),
        lambda x: np.select([x > 1, x > 2], [x]),
        lambda x: np.vander(x),
        lambda x: np.quantile(x, 2),
    ],
)
def test_what_numpy_refuses_is_refused_with_its_words(call):
    array = np.arange(12.0).reshape(3, 4)
    with pytest.raises(Exception) as numpys:  # noqa: PT011
        call(array)
    for requires_grad in (True, False):
        with pytest.raises(type(numpys.value)) as ours:
            call(Tensor(array, requires_grad=requires_grad))
        assert str(ours.value) == str(numpys.value)


def test_subtract_reduce_knows_no_initial_value():
    with pytest.raises(TypeError, match=r"np\.subtract\.reduce is not differentiable"):
        np.subtract.reduce(Tensor([1.0, 2.0], requires_grad=True), initial=10.0)


@pytest.mark.parametrize("transform", [grad, jacobian])
def test_complex_values_have_no_real_derivative(transform):
    with pytest.raises(TypeError, match=r"complex128; take np\.real"):
        transform(lambda x: np.fft.fft(x)[:1])(np.array([1.0, 2.0]))
