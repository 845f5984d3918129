"""Changes in place: those that would make a gradient wrong are seen, and no other array changes."""

import copy

import numpy as np
import pytest
from helpers import leaf

from microgrand import Tensor, no_grad, vjp
from microgrand.nn import (
    AlphaDropout,
    Dropout,
    DropPath,
    GaussianDropout,
    Linear,
    Parameter,
)
from microgrand.nn import functional as F
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


VIEWS = {
    "x[1:]": lambda x: x[1:],
    "x[1:][::-1]": lambda x: x[1:][::-1],
    "x.reshape": lambda x: x.reshape(3, 1)[1:, 0],
    "np.real": lambda x: np.real(x)[1:],
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_a_changed_leaf_is_noticed_where_the_gradient_does_not_reach_it(view):
    x = leaf(1.0, 2.0, 3.0)
    _, pull_back = vjp(lambda w: (w * VIEWS[view](x)).sum(), np.ones(2))
    x.data += 100
    with pytest.raises(RuntimeError, match="changed in place"):
        pull_back(np.ones(()))


def test_a_new_array_computed_from_a_changed_leaf_is_no_error_where_no_gradient_reaches_it():
    x = leaf(1.0, 2.0)
    _, pull_back = vjp(lambda w: (w * (2 * x)).sum(), np.ones(2))
    x.data += 100
    np.testing.assert_array_equal(pull_back(np.ones(()))[0].detach(), [2.0, 4.0])


def add(x, y):
    x += y
    return x


def divide(x, y):
    x /= y
    return x


def power(x, y):
    x **= y
    return x


def matmul(x, y):
    x @= y
    return x


OPERANDS = [
    np.full(2, 2.0), 2.0, np.full(2, 2j), np.ones((3, 2)), np.float64(2), np.full((2, 2), 2.0),
    np.full(2, 2, np.int64), np.ones((1, 2)), np.ones(3),
]  # fmt: skip


@pytest.mark.parametrize("operate", [add, divide, power, matmul])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("operand", OPERANDS, ids=repr)
@pytest.mark.parametrize("computed", [True, False])
def test_what_is_changed_in_place_keeps_shape_and_dtype_or_is_refused_as_by_numpy(
    operate, dtype, operand, computed
):
    array = np.array([1.5, 3.0], dtype)
    x = Tensor(array.copy(), requires_grad=computed)
    h = x * dtype(1) if computed else x
    if not computed:  # what is added has the graph
        operand = np.asarray(operand, np.result_type(np.asarray(operand), float))
    given = operand if computed or operand.dtype == complex else Tensor(operand, requires_grad=True)
    try:
        expected = operate(array, operand)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            operate(h, given)
    else:
        found = operate(h, given)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.data, expected)
        np.sum(found).backward()
        leaf_of_it = x if computed else given
        assert leaf_of_it.grad.dtype == leaf_of_it.dtype
        assert np.any(leaf_of_it.grad)


def test_a_single_number_grows_as_numpys_does():
    total = Tensor(1.0, requires_grad=True) * 1
    total += np.ones(2)
    assert total.tolist() == [2, 2]


def test_an_array_of_one_number_stays_one_as_numpys_does():
    operand = Tensor([1.0, 2.0], requires_grad=True)
    total = Tensor(0.0)
    with pytest.raises(ValueError, match="broadcast"):
        total += operand
    total = Tensor(np.float32(0).reshape(()))
    total += operand.sum()
    assert total.dtype == np.float32
    total.backward()
    assert operand.grad.tolist() == [1, 1]


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


# ------------------------------------------------------------------------- what shares no memory


def step(parameter, amount=1.0):
    """Change a parameter as an optimizer does: in place."""
    parameter.grad = np.full(parameter.shape, -amount)
    SGD([parameter], lr=1.0).step()


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda p: Parameter(p.detach()),
        lambda p: assigned(leaf(0.0, 0.0), p.data),
        lambda p: assigned(leaf(0.0, 0.0), p),
        lambda p: assigned(leaf(0.0, 0.0), p.detach()),
    ],
)
@pytest.mark.parametrize("changed", ["the parameter", "its copy"])
def test_a_copy_of_a_parameter_is_trained_on_its_own(duplicate, changed):
    p = Parameter([1.0, 2.0])
    other = duplicate(p)
    assert other.requires_grad
    one, two = (p, other) if changed == "the parameter" else (other, p)
    w = leaf(3.0, 4.0)
    loss = (two * w).sum()
    step(one)
    assert one.tolist() == [2, 3]
    assert two.tolist() == [1, 2]
    loss.backward()
    assert w.grad.tolist() == [1, 2]


def assigned(tensor, data):
    tensor.data = data
    return tensor


def test_a_parameter_made_of_a_tensor_leaves_it_as_it_was():
    start = Tensor([1.0, 2.0])
    p = Parameter(start)
    step(p)
    assert start.tolist() == [1, 2]
    ((p - start) ** 2).sum().backward()
    assert p.grad.tolist() == [1, 1]  # -1, with which the step was made, and 2


SNAPSHOTS = {
    "atleast_1d": np.atleast_1d,
    "atleast_2d": np.atleast_2d,
    "atleast_3d": np.atleast_3d,
    "Dropout": Dropout().eval(),
    "Dropout(0)": Dropout(0.0),
    "DropPath": DropPath().eval(),
    "AlphaDropout": AlphaDropout().eval(),
    "GaussianDropout": GaussianDropout().eval(),
    "classic": Dropout(scaling="classic").eval(),
    "dropout": lambda p: F.dropout(p, training=False),
    "broadcast_arrays": lambda p: np.broadcast_arrays(p, np.ones((3, 2)))[0],
    "split": lambda p: np.split(p, 1)[0],
    "array_split": lambda p: np.array_split(p, 1)[0],
    "astype": lambda p: p.astype(float),
    "item": lambda p: next(iter(p)),
    "ravel": np.ravel,
    "flatten": lambda p: p.flatten(),
    "T": lambda p: p.T,
    "diff": lambda p: np.diff(p, n=0),
    "real_if_close": np.real_if_close,
    "nan_to_num": np.nan_to_num,
    "expand_dims": lambda p: np.expand_dims(p, 0),
}


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_a_snapshot_under_no_grad_does_not_change_with_the_next_step(snapshot):
    p = Parameter([1.0, 2.0])
    with no_grad():
        before = snapshot(p)
    expected = before.tolist()
    step(p)
    assert before.tolist() == expected


def test_results_that_are_no_arrays_are_left_alone():
    p = Parameter([1.0, 2.0])
    assert np.result_type(p, np.float32) == p.dtype
    assert np.shape(p) == (2,)
    assert np.min_scalar_type(p) == p.dtype


def test_a_loss_of_a_gradient_keeps_it_while_others_are_added():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    loss = (w * w.grad).sum()
    (100 * w).sum().backward()
    w.grad = None
    loss.backward()
    assert w.grad.tolist() == [2, 4]


def test_a_pullback_keeps_what_it_was_made_of():
    x, tensor = np.array([1.0, 2.0]), Tensor([1.0, 2.0])
    nest = {"a": x.copy()}
    pullbacks = [vjp(np.square, x), vjp(np.square, tensor), vjp(lambda n: n["a"] ** 2, nest)]
    x *= 10
    tensor *= 10
    nest["a"] *= 10
    cotangent = np.ones(2)
    for value, pullback in pullbacks:
        value *= 10
        (result,) = pullback(cotangent)
        result = result["a"] if isinstance(result, dict) else result
        assert result.tolist() == [2, 4]
        result *= 10
    assert cotangent.tolist() == [1, 1]
    _, pullback = vjp(np.exp, np.zeros(2))
    pullback(cotangent)[0][:] = 7
    assert pullback(cotangent)[0].tolist() == [1, 1]


def change(items):
    """Change a list, and the lists in it, in place."""
    for i, item in enumerate(items):
        if isinstance(item, list):
            change(item)
        else:
            items[i] = not item if isinstance(item, bool) else 0


LISTS = {
    "take": (lambda x, k: np.take(x, k), [1, 2]),
    "take along rows": (lambda x, k: np.take(x, k, axis=0), [[1, 2]]),
    "take by name": (lambda x, k: np.take(x, indices=k), [1, 2]),
    "index": (lambda x, k: x[k], [1, 2]),
    "repeat": (lambda x, k: np.repeat(x, k), [1, 2, 3]),
    "reshape": (lambda x, k: np.reshape(x, k), [3, 1]),
    "roll": (lambda x, k: np.roll(x, k, [0]), [1]),
    "pad": (lambda x, k: np.pad(x, k), [[1, 2]]),
    "insert": (lambda x, k: np.insert(x, k, 5.0), [1]),
    "delete": (lambda x, k: np.delete(x, k), [1]),
    "where": (lambda x, k: np.where(k, x, 0), [True, False, True]),
    "compress": (lambda x, k: np.compress(k, x), [True, False, True]),
    "sum where": (lambda x, k: np.sum(x, where=k), [True, False, True]),
    "mean where": (lambda x, k: np.mean(x, where=k), [True, False, True]),
    "var where": (lambda x, k: np.var(x, where=k), [True, False, True]),
    "max where": (lambda x, k: np.max(x, where=k, initial=0), [True, False, True]),
    "average": (lambda x, k: np.average(x, weights=k), [1.0, 2.0, 3.0]),
    "gradient": (lambda x, k: np.gradient(x, k), [1.0, 2.0, 4.0]),
    "interp": (lambda x, k: np.interp(x, k, [0.0, 1.0, 4.0]), [0.0, 1.0, 4.0]),
    "partition": (lambda x, k: np.partition(x, k), [1]),
    "multiply": (lambda x, k: x * k, [1.0, 2.0, 3.0]),
    "dot": (lambda x, k: np.dot(x, k), [1.0, 2.0, 3.0]),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_changed_after_the_call_changes_no_gradient(name):
    call, given = LISTS[name]
    gradients = []
    for changed in False, True:
        x, argument = leaf(3.0, 1.0, 2.0), copy.deepcopy(given)
        out = call(x, argument)
        if changed:
            change(argument)
        out.backward(np.arange(1.0, out.size + 1).reshape(out.shape))
        gradients.append(x.grad.tolist())
    assert gradients[0] == gradients[1]


class InterruptedSGD(SGD):
    """A step that is interrupted when it has changed the data."""

    def update(self, index):
        rule, memory, numbers = super().update(index)

        def interrupted(data, *others):
            rule(data, *others)
            raise KeyboardInterrupt

        return interrupted, memory, numbers


@pytest.mark.parametrize("size", [2, 1_000_000])
def test_an_interrupted_step_is_seen_by_older_graphs(size):
    w = Tensor(np.ones(size), requires_grad=True)
    (w * w).sum().backward()
    loss = (w * w).sum()
    with pytest.raises(KeyboardInterrupt):
        InterruptedSGD([w], lr=1.0).step()
    assert w.data[0] == -1
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
