"""Gradients: arrays of their own, of the shape and dtype of their tensor; copies and pickles."""

import copy
import pickle

import numpy as np
import pytest
from helpers import by_pickle, leaf, make
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, defvjp, primitive
from microgrand.nn import Buffer, Parameter
from microgrand.nn.functional import linear
from microgrand.optim import SGD


@primitive
def shift(x):
    """A primitive that can be found by its name, as pickle does."""
    return x + 1


defvjp(shift, lambda g, out, x: g)


# ----------------------------------------------------------------------------- copies and pickles


@pytest.mark.parametrize("duplicate", [copy.deepcopy, by_pickle])
def test_leaves_survive_copying(duplicate):
    w = leaf(1.0, 2.0, dtype=np.float32)
    (w * w).sum().backward()
    model = {"first": w, "tied": w, "constant": Tensor(1), "scalar": Tensor(2.0), "f": shift}
    copied = duplicate(model)
    assert copied["first"] is copied["tied"] is not w
    assert copied["f"] is shift
    assert copied["constant"].item() == 1
    new = copied["first"]
    assert new.requires_grad
    assert new.dtype == np.float32
    np.testing.assert_array_equal(new.data, w.data)
    np.testing.assert_array_equal(new.grad, w.grad)
    (new * 3).sum().backward()
    assert new.grad.tolist() == [5, 7]
    assert w.grad.tolist() == [2, 4]
    assert not np.shares_memory(new.data, w.data)


def test_a_shallow_copy_has_values_and_a_gradient_of_its_own():
    w = leaf(1.0)
    (w * 2).backward()
    twin = copy.copy(w)
    (twin * 2).backward()
    assert (w.grad, twin.grad) == ([2.0], [4.0])
    SGD([w], lr=0.5).step()
    assert (w.data, twin.data) == ([0.0], [1.0]), "a step of one does not change the other"


class Tagged(Parameter):
    """A parameter with attributes."""

    def __init__(self, data, rate):
        super().__init__(data)
        self.rate = rate


class TaggedBuffer(Buffer):
    """A buffer with attributes."""


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, by_pickle])
def test_a_copy_has_the_attributes_of_a_subclass(duplicate):
    new = duplicate(Tagged([1.0], rate=0.5))
    assert type(new) is Tagged
    assert (new.rate, new.tolist(), new.requires_grad) == (0.5, [1.0], True)
    buffer = TaggedBuffer([1.0], persistent=False)
    buffer.source = "data"
    new = duplicate(buffer)
    assert (new.source, new.persistent) == ("data", False)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_computed_value_cannot_be_copied(duplicate):
    with pytest.raises(RuntimeError, match=r"computed by np\.multiply.*x\.detach\(\).*x\.copy\(\)"):
        duplicate(leaf(1.0) * 2)


# ------------------------------------------------------------------------- .grad shares no memory


OPERATIONS = [
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: +x,
    lambda x, y: np.reshape(x, (3, 2)).T,
    lambda x, y: np.transpose(np.transpose(x)),
    lambda x, y: x[::-1],
    lambda x, y: x.copy(),
    lambda x, y: np.broadcast_to(x[:1], (2, 3)),
    lambda x, y: np.concatenate([x[:1], y[1:]]),
    lambda x, y: np.where([True, False, True], x, y),
    lambda x, y: np.maximum(x, y),
    lambda x, y: linear(x, y, y[0, :2]) @ np.ones((2, 3)),
]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("give_gradient", [True, False])
def test_gradients_share_memory_with_nothing(operation, give_gradient):
    check_sharing([(operation, 0, 1)], give_gradient, times=1)
    check_sharing([(operation, 0, 0)], give_gradient, times=2)


@given(
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 9), st.integers(0, 9))),
    st.booleans(),
    st.integers(1, 2),
)
def test_gradients_of_any_program_share_memory_with_nothing(program, give_gradient, times):
    check_sharing(program, give_gradient, times)


def check_sharing(program, give_gradient, times):
    """Run the operations on the tensors so far, and compare the memory of all arrays."""
    leaves = [Tensor(np.arange(6.0).reshape(2, 3) + i, requires_grad=True) for i in range(3)]
    tensors = list(leaves)
    for operation, i, j in program:
        tensors.append(operation(tensors[i % len(tensors)], tensors[j % len(tensors)]))
        tensors[-1].retain_grad()
    output = tensors[-1]
    seed = np.ones((2, 3)) if give_gradient else None
    for _ in range(times):
        loss = output if give_gradient else output.sum()
        loss.backward(seed, retain_graph=True)
    gradients = [t.grad for t in tensors if t.grad is not None]
    assert gradients
    others = [t.data for t in tensors] + ([seed] if give_gradient else [])
    for i, gradient in enumerate(gradients):
        assert type(gradient) is np.ndarray
        assert gradient.flags.writeable
        assert gradient.shape == (2, 3)
        for other in gradients[:i] + others:
            assert not np.shares_memory(gradient, other)
    for tensor in leaves:
        if tensor.grad is not None:
            tensor.grad[...] = np.nan  # seen by no other array
    assert not any(np.isnan(array).any() for array in others)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3)])
def test_a_gradient_has_the_shape_and_dtype_of_its_leaf(dtype, shape):
    x = Tensor(np.ones(shape, dtype), requires_grad=True)
    y = Tensor(np.ones((2, 3)), requires_grad=True)
    if shape != (0, 3):
        (x * y).sum().backward()
        assert y.grad.dtype == np.float64
    else:
        x.sum().backward()
    assert type(x.grad) is np.ndarray
    assert (x.grad.shape, x.grad.dtype) == (shape, dtype)


def test_a_cotangent_has_the_dtype_of_its_value():
    seen = []

    def vjp(g, out, x):
        seen.append(g.dtype)
        return g

    x = leaf(1.0, dtype=np.float32)
    (make(lambda x: x * 1, vjp)(x) * np.ones(1)).backward()
    assert seen == [np.float32]


def test_a_computed_value_keeps_its_gradient_only_when_asked():
    x = leaf(2.0)
    y, z = x * 3, x * 5
    assert y.retain_grad() is y
    (y * z).backward()
    assert y.grad == [10.0]
    assert z.grad is None
    assert x.grad == [60.0]
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        Tensor(1.0).retain_grad()


def test_a_gradient_of_several_uses_has_the_byte_order_of_its_leaf():
    x = Tensor(np.ones(2, ">f4"), requires_grad=True)
    (x * 2 + x * 3).sum().backward()
    assert x.grad.dtype == np.dtype(">f4")
