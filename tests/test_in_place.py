"""Changes in place: those that would make a gradient wrong are seen, and no other array changes."""

import numpy as np
import pytest
from helpers import leaf

from microgrand import Tensor, no_grad
from microgrand.nn import Linear
from microgrand.optim import SGD


def add_to_data(x):
    x.data += 1


def replace_data(x):
    x.data = x.data + 1


@no_grad()
def subtract(x):
    x -= 1


@no_grad()
def multiply(x):
    x *= 2


@no_grad()
def take_remainder(x):
    x %= 2


@no_grad()
def multiply_by_matrix(x):
    x @= [[2.0]]


CHANGES = [add_to_data, replace_data, subtract, multiply, take_remainder, multiply_by_matrix]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("requires_grad", [True, False], ids=["leaf", "constant"])
def test_a_change_in_place_between_loss_and_backward_is_an_error(change, requires_grad):
    x, w = Tensor([3.0], requires_grad=requires_grad), leaf(2.0)
    loss = (x * w).sum()
    change(x)
    with pytest.raises(RuntimeError, match=r"argument of np\.multiply was changed in place"):
        loss.backward()
    assert w.grad is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_in_place_after_backward_is_fine(change):
    x = leaf(3.0)
    for _ in range(2):
        (x * x).sum().backward()
        change(x)
    assert x.requires_grad
    assert x.is_leaf


@pytest.mark.parametrize(
    "look_at",
    [
        lambda x: x.detach(),
        lambda x: x.detach()[:1],
        lambda x: x[:1].detach(),
        lambda x: no_grad()(lambda: x[:1])(),
        lambda x: no_grad()(lambda: x.reshape(1, 1))(),
    ],
)
@pytest.mark.parametrize("changed", ["leaf", "other"])
def test_a_change_in_place_never_reaches_saved_values_through_shared_memory(look_at, changed):
    x, w = leaf(3.0), leaf(2.0)
    other = look_at(x)
    loss = (w * x * w).sum() if changed == "other" else (w * other * w).sum()
    if changed == "other":
        other += 10.0
    else:
        (x * x).sum().backward()
        SGD([x], lr=1.0).step()
    loss.backward()
    np.testing.assert_array_equal(w.grad, [12.0])


def test_a_change_in_place_of_a_constant_does_not_reach_its_views():
    a, w = Tensor(np.ones(2)), leaf(1.0)
    view = a.reshape(1, 2)
    loss = (w * view).sum()
    a += 5.0
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2.0])


def test_asking_for_a_gradient_after_the_call_is_an_error():
    a, w = Tensor([2.0]), leaf(3.0)
    loss = (w * a + w * (a * 2)).sum()
    a.requires_grad = True
    with pytest.raises(RuntimeError, match=r"np\.(add|multiply)"):
        loss.backward()


def test_a_change_deep_in_the_graph_is_seen():
    x = leaf(3.0)
    loss = np.exp(np.tanh(x * 2)).sum()
    with no_grad():
        x += 1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_change_in_place_before_the_call_is_fine():
    constant, w = Tensor([1.0]), leaf(2.0)
    constant += 4
    (constant * w).backward()
    assert w.grad == [5.0]


def test_a_zero_dimensional_parameter_is_updated_in_place():
    for x in (Tensor(2.0, requires_grad=True), Tensor([2.0]).sum().requires_grad_()):
        alias = x
        assert type(x.data) is np.ndarray, "optimizers write into it"
        with no_grad():
            x -= 0.5
        assert alias is x
        assert x.item() == 1.5
        assert x.requires_grad


@pytest.mark.parametrize("function", [np.real, np.squeeze, np.positive, lambda p: p[:]])
def test_values_taken_under_no_grad_do_not_change_with_the_next_step(function):
    p = Tensor([1.0, 2.0], requires_grad=True)
    with no_grad():
        before = function(p)
    p.grad = np.ones(2)
    SGD([p], 0.5).step()
    assert before.tolist() == [1, 2]


@pytest.mark.parametrize("unfreeze", [True, False])
def test_a_step_does_not_change_a_view_of_a_frozen_parameter(unfreeze):
    layer = Linear(2, 2, dtype=float)
    layer.weight.data = np.array([[1.0, 2.0], [3.0, 4.0]])
    layer.weight.grad = np.ones((2, 2))
    optimizer = SGD([layer.weight], lr=1.0)
    layer.weight.requires_grad = False
    x = Tensor(np.ones((1, 2)), requires_grad=True)
    loss = (x @ layer.weight.T).sum()
    layer.weight.requires_grad = unfreeze
    optimizer.step()
    assert (layer.weight.data[0, 0] == 0) == unfreeze
    loss.backward()
    np.testing.assert_array_equal(x.grad, [[4.0, 6.0]])


def test_a_view_of_a_constant_is_a_view():
    x = Tensor(np.ones((2, 3)))
    assert np.shares_memory(x.T.data, x.data)
    assert np.broadcast_to(Tensor(1.0), (10**6, 10**6)).shape == (10**6, 10**6)
