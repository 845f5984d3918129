"""Tensors as Python objects, conversions and `repr`; array methods."""

import math
import operator

import numpy as np
import pytest
from exact import X, arrays, assert_same
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, no_grad

# ----------------------------------------------------------------------------- as a Python object


def test_conversions():
    assert float(Tensor(1.5)) == 1.5
    assert int(Tensor([1.5])) == 1
    assert complex(Tensor(1.5)) == 1.5
    assert [10, 20][Tensor(1)] == 20
    assert bool(Tensor(0.5))
    assert not bool(Tensor([0]))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        float(Tensor([0.0, 1.0]))
    with pytest.raises(TypeError, match="integer"):
        [10, 20][Tensor(1.0)]


@pytest.mark.parametrize("convert", [float, int, complex])
def test_a_python_number_would_lose_the_gradient(convert):
    x = Tensor(1.5, requires_grad=True)
    y = x * 2
    for tensor in (x, y):
        with pytest.raises(TypeError, match=rf"{convert.__name__}\(\) .*\.item\(\)"):
            convert(tensor)
    y.backward()
    for tensor in (x, y):
        with pytest.raises(TypeError, match=r"\.item\(\)"):
            convert(tensor)
        assert convert(tensor.item()) == convert(tensor.detach()) == convert(tensor.data)
        with no_grad():
            assert convert(tensor) == convert(tensor.data)
    x.requires_grad = False
    assert convert(x) == convert(1.5)


@pytest.mark.parametrize(
    "use",
    [
        lambda array, x: array.__setitem__(0, x),
        lambda array, x: array.fill(x),
        lambda array, x: np.sum(array, initial=x),
        lambda array, x: np.max(array, initial=x),
        lambda array, x: math.exp(x),
        lambda array, x: "%.2f" % x,  # noqa: UP031
    ],
)
def test_what_asks_for_a_python_number_is_refused_as_well(use):
    array = np.ones(2)
    with pytest.raises((TypeError, ValueError)) as caught:
        use(array, Tensor(1.5, requires_grad=True))
    assert "np.stack" in str(caught.value.__cause__ or caught.value)
    assert array.tolist() == [1, 1]
    with no_grad():
        use(array, Tensor(1.5, requires_grad=True))


def test_membership_and_hash():
    x = Tensor(X, requires_grad=True)
    assert 1.5 in x
    assert Tensor(2.5) in x
    assert 7 not in x
    assert x in {x}
    assert {x: 1}[x] == 1
    assert Tensor(1.0) not in {Tensor(1.0)}


def test_formatting():
    loss = Tensor(1.23456, requires_grad=True)
    assert f"{loss:.3f}" == "1.235"
    assert f"{Tensor([1.0]):5.1f}" == "  1.0"
    assert f"{loss}" == str(loss) == "1.23456"
    assert f"{loss * 2:.2f}" == "2.47"
    with no_grad():
        assert f"{loss:.3f}" == "1.235"
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        f"{Tensor(X):.3f}"


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor(1.5), "Tensor(1.5)"),
        (Tensor(1.5, requires_grad=True), "Tensor(1.5, requires_grad=True)"),
        (Tensor(np.float32(1)), "Tensor(1., dtype=float32)"),
        (Tensor([1, 2]), "Tensor([1, 2])"),
        (Tensor([True]), "Tensor([ True])"),
        (Tensor([1.0, 2.0], dtype="f4"), "Tensor([1., 2.], dtype=float32)"),
        (Tensor(np.zeros((0, 3))), "Tensor([], shape=(0, 3), dtype=float64)"),
        (
            Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True),
            "Tensor([[1., 2.],\n        [3., 4.]], requires_grad=True)",
        ),
        (
            Tensor(np.zeros((2, 1, 2), np.float32)),
            "Tensor([[[0., 0.]],\n\n        [[0., 0.]]], dtype=float32)",
        ),
    ],
)
def test_repr(tensor, text):
    # The shape of an empty array is shown since NumPy 2.2.
    if tensor.size:
        assert repr(tensor) == text
    else:
        assert repr(tensor).startswith("Tensor([], shape=(0, 3)")


# ---------------------------------------------------------------------------------------- methods


def axis_of(array):
    axes = st.none()
    if array.ndim:
        axes |= st.integers(-array.ndim, array.ndim - 1)
    return axes


@given(st.data())
def test_reductions_equal_numpys(data):
    array = data.draw(arrays(min_side=1))
    x = Tensor(array, requires_grad=True)
    axis = data.draw(axis_of(array))
    keepdims = data.draw(st.booleans())
    name = data.draw(st.sampled_from(["sum", "mean", "max", "min", "var", "std"]))
    method, function = getattr(x, name), getattr(np, name)
    expected = getattr(array, name)(axis=axis, keepdims=keepdims)
    assert_same(method(axis=axis, keepdims=keepdims), expected, graph=True)
    assert_same(function(x, axis, keepdims=keepdims), expected, graph=True)
    assert_same(method(axis), getattr(array, name)(axis), graph=True)
    assert_same(x.ptp(axis), np.ptp(array, axis), graph=True)
    for method, function in ((x.prod, np.prod), (x.cumprod, np.cumprod), (x.cumsum, np.cumsum)):
        result, expected = method(axis), function(array, axis)
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(result.detach(), expected, rtol=1e-5)


@given(st.data())
def test_methods_that_give_plain_arrays_equal_numpys(data):
    array = data.draw(arrays(min_side=1))
    x = Tensor(array, requires_grad=True)
    axis = data.draw(axis_of(array))
    for name in ("argmax", "argmin", "all", "any"):
        assert_same(getattr(x, name)(axis), getattr(array, name)(axis), graph=False)
        keep = getattr(x, name)(axis, keepdims=True)
        assert_same(keep, getattr(array, name)(axis, keepdims=True), graph=False)
    if array.ndim:
        assert_same(x.argsort(), array.argsort(), graph=False)
        assert_same(x.argsort(axis), array.argsort(axis), graph=False)
        assert_same(x.nonzero(), array.nonzero(), graph=False)
    assert_same(x.round(), array.round(), graph=False)
    assert_same(x.round(1), array.round(1), graph=False)
    assert x.tolist() == array.tolist()
    assert_same(x.detach().numpy(), array)


@given(st.data())
def test_methods_that_move_elements_equal_numpys(data):
    array = data.draw(arrays())
    x = Tensor(array, requires_grad=True)
    order = data.draw(st.permutations(range(array.ndim)))
    for result, expected in (
        (x.T, array.T),
        (x.transpose(), array.transpose()),
        (x.transpose(None), array.transpose(None)),
        (x.transpose(*order), array.transpose(*order)),
        (x.transpose(tuple(order)), array.transpose(tuple(order))),
        (x.transpose(list(order)), array.transpose(list(order))),
        (x.ravel(), array.ravel()),
        (x.flatten(), array.flatten()),
        (x.copy(), array.copy()),
        (x.squeeze(), array.squeeze()),
        (x.reshape(array.shape[::-1]), array.reshape(array.shape[::-1])),
        (x.reshape(array.size), array.reshape(array.size)),
        (x.clip(-1, 2), array.clip(-1, 2)),
        (x.clip(min=0), array.clip(min=0)),
        (x.repeat(2), array.repeat(2)),
        (x.relu(), np.where(array > 0, array, np.zeros_like(array))),
        (x.astype(np.float32), array.astype(np.float32)),
        (x.astype("f8"), array.astype("f8")),
    ):
        assert_same(result, expected, graph=True)
    if array.ndim:
        axis = data.draw(st.integers(-array.ndim, array.ndim - 1))
        assert_same(x.swapaxes(axis, 0), array.swapaxes(axis, 0), graph=True)
        assert_same(x.repeat([2], axis), array.repeat([2], axis), graph=True)
        if array.shape[axis]:
            assert_same(x.take([0, -1], axis), array.take([0, -1], axis), graph=True)
            assert_same(x.take(0, axis), array.take(0, axis), graph=True)
    if array.ndim >= 2:
        assert_same(x.mT, array.swapaxes(-1, -2), graph=True)
        assert_same(x.diagonal(1, 0, -1), array.diagonal(1, 0, -1), graph=True)
        assert_same(x.trace(), array.trace(), graph=True)
    assert_same(x.astype(int), array.astype(int), graph=False)
    assert_same(x.astype(bool), array.astype(bool), graph=False)


def test_transpose_tells_how_to_swap_two_axes():
    with pytest.raises(ValueError, match=r"order of all 3 axes, got \(1, 2\).*x\.swapaxes\(1, 2\)"):
        Tensor(np.ones((2, 3, 4))).transpose(1, 2)


def test_flatten_tells_how_to_keep_the_first_axes():
    with pytest.raises(TypeError, match=r"got 1; .*nn\.Flatten\(1\)\(x\) or x\.resh"):
        Tensor(np.ones((2, 3, 4))).flatten(1)


def test_reshape_and_transpose_take_axes_singly_or_together():
    x = Tensor(X, requires_grad=True)
    for shape in ((3, -1), (np.int64(3), 2)):
        assert_same(x.reshape(*shape), X.reshape(*shape), graph=True)
        assert_same(x.reshape(shape), X.reshape(shape), graph=True)
    assert_same(x.reshape([3, 2]), X.reshape([3, 2]), graph=True)
    assert_same(x[:, :1].squeeze(1), X[:, 0], graph=True)
    assert_same(x[0].transpose(np.int64(0)), X[0], graph=True)
    with pytest.raises(ValueError, match=r"two axes or more, got shape \(3,\)"):
        _ = x[0].mT


def test_item_of_one_element_only():
    assert Tensor([[2.5]]).item() == 2.5
    assert type(Tensor(np.float32(2)).item()) is float
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        Tensor(X).item()


def test_astype_passes_the_gradient_back_in_the_dtype_of_its_argument():
    x = Tensor(X, requires_grad=True)
    (x.astype(np.float64) * np.pi).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_allclose(x.grad, np.pi, rtol=1e-6)


@pytest.mark.parametrize(
    "operate", [operator.floordiv, operator.lt, operator.ge, operator.and_, operator.xor]
)
def test_operators_that_return_arrays_take_lists_of_tensors_on_either_side(operate):
    integers = operate in (operator.and_, operator.xor)
    array = np.array([3, 4]) if integers else np.array([3.0, 4.0])
    x = Tensor(array, requires_grad=not integers)
    for other in ([x[0], 5], [Tensor(7), x[1]]):
        plain = [getattr(item, "data", item) for item in other]
        np.testing.assert_array_equal(operate(x, other), operate(array, plain), strict=True)
        np.testing.assert_array_equal(operate(other, x), operate(plain, array), strict=True)


def test_round_names_the_function():
    with pytest.raises(TypeError, match=r"write np.round\(x, decimals\), or round\(x.item\(\)\)"):
        round(Tensor(1.5), 1)
