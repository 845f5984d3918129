"""The engine: the order of the backward pass, and what it saves and frees."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from helpers import leaf, make

from microgrand import Tensor, defvjp, engine, primitive
from microgrand.engine import backpropagate, rules_of


@pytest.fixture
def counted():
    """A primitive ``x * y`` that counts the calls of its two VJPs."""
    calls = [0, 0]

    def count(i, value):
        calls[i] += 1
        return value

    @primitive
    def product(x, y):
        return x * y

    defvjp(
        product,
        lambda g, out, x, y: count(0, g * y),
        lambda g, out, x, y: count(1, g * x),
    )
    product.calls = calls
    yield product
    del rules_of[product]


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# --------------------------------------------------------------------------- long and wide graphs


@pytest.mark.usefixtures("no_collector")
def test_a_chain_of_a_million_operations_is_differentiated_and_dropped():
    x = leaf(1.0)
    y = x
    for _ in range(1_000_000):
        y = -y
    y.backward(retain_graph=True)
    assert x.grad == [1.0]
    last = weakref.ref(y)
    del y  # a million nodes, each of which holds the one before
    assert last() is None


def test_a_long_chain_is_freed_on_the_way():
    y = x = leaf(1.0)
    for _ in range(100_000):
        y = y + 0.5
    y.backward()
    assert x.grad == [1.0]
    assert y.args is None


def test_sixty_diamonds_in_a_row_take_sixty_steps(counted):
    x = leaf(1.0)
    y = counted(x, 1.0)
    for _ in range(60):
        y = y + counted(y, 1.0)
    y.backward()
    assert x.grad == [2.0**60]
    assert counted.calls == [61, 0]


def test_sixty_sums_of_a_value_with_itself():
    y = x = leaf(1.0)
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == [2.0**60]


def test_a_value_used_at_different_depths_waits_for_all_its_uses(counted):
    # Visited before its second use has added, y would pass on too little, or twice.
    x = leaf(3.0)
    y = counted(x, 1.0)
    (y * y * y + counted(counted(y, 2.0), 5.0) + y).backward()
    assert x.grad == [3 * 3.0**2 + 10 + 1]
    assert counted.calls == [3, 0]


def test_a_vjp_is_computed_only_for_arguments_that_need_it(counted):
    x, w = Tensor([2.0]), leaf(3.0)
    counted(x, w).backward()
    assert counted.calls == [0, 1]
    counted(w, 5.0).backward()
    assert counted.calls == [1, 1]


def test_a_vjp_is_not_computed_for_branches_that_nobody_wants(counted):
    x, w = leaf(2.0), leaf(3.0)
    loss = counted(counted(x, 1.0), w)
    found = backpropagate(loss, np.ones(1), ends={w})
    assert found == {w: [2.0]}
    assert counted.calls == [0, 1]
    assert w.grad is None


def test_a_joint_vjp_is_told_which_arguments_need_it():
    told = []

    @primitive
    def add_all(*arrays):
        return sum(arrays)

    def joint(g, out, needed, *arrays):
        told.append(list(needed))
        return [g if need else None for need in needed]

    defvjp(add_all, joint=joint)
    x, y = leaf(1.0), leaf(2.0)
    add_all(x, 1.0, Tensor([1.0]), y).backward()
    assert told == [[True, False, False, True]]
    assert x.grad == y.grad == [1.0]


# ----------------------------------------------------------------------------------------- memory


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("backward", [False, True])
def test_reference_counting_alone_frees_a_graph(backward):
    x = leaf(1.0, 2.0)
    hidden = np.tanh(x)[0:1] * x
    loss = hidden.sum()
    alive = [weakref.ref(hidden), weakref.ref(loss), weakref.ref(loss.args[0])]
    if backward:
        loss.backward()
    del hidden, loss
    assert [ref() for ref in alive] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_the_graph_of_a_second_derivative_is_freed():
    x = leaf(1.0)
    y = x * x * x
    derivative = backpropagate(y, np.ones(1), {x}, create_graph=True)[x]
    alive = [weakref.ref(y), weakref.ref(derivative)]
    del y, derivative
    assert [ref() for ref in alive] == [None, None]


def test_after_backward_the_loss_keeps_only_its_own_value():
    x = leaf(1.0, 2.0)
    big = x * 3
    saved = weakref.ref(big)
    loss = big.sum()
    del big
    assert saved() is not None
    loss.backward()
    assert saved() is None
    assert loss.item() == 9


# ------------------------------------------------------------------------- twice, retained, freed


def test_a_second_backward_on_a_freed_graph_is_an_error():
    x = leaf(1.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"freed.*retain_graph=True"):
        loss.backward()
    assert x.grad == [2.0]


def test_arguments_by_keyword_are_freed_too():
    x = leaf(1.0, 2.0)
    mask = np.array([True, False])
    freed = weakref.ref(mask)
    loss = np.sum(x, where=mask)
    loss.backward()
    del mask
    assert freed() is None
    assert x.grad.tolist() == [1.0, 0.0]


def test_retain_graph_allows_another_backward_and_gradients_add_up():
    x = leaf(3.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    assert x.grad == [18.0]
    with pytest.raises(RuntimeError, match="freed"):
        loss.backward()


def test_a_graph_built_on_a_freed_one_is_an_error():
    x, w = leaf(3.0), leaf(2.0)
    hidden = x * x
    hidden.sum().backward()
    loss = (hidden * w).sum()
    with pytest.raises(RuntimeError, match="freed"):
        loss.backward()
    assert w.grad is None, "nothing may be added before the error is seen"


def test_two_losses_that_share_a_part_need_retain_graph():
    x = leaf(3.0)
    hidden = x * x
    first, second = hidden.sum(), (hidden * 2).sum()
    first.backward(retain_graph=True)
    second.backward()
    assert x.grad == [6.0 + 12.0]


# --------------------------------------------------------------------------------- all or nothing


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("failing_call", range(6))
@pytest.mark.parametrize("retain_graph", [False, True])
def test_a_backward_that_fails_changes_nothing(failing_call, error, retain_graph):
    calls, fails = [], True

    def vjp(g, out, x):
        calls.append(g)
        if fails and len(calls) > failing_call:
            raise error("in a VJP")
        return 2 * g

    double = make(lambda x: 2 * x, vjp)
    x, y = leaf(1.0), leaf(3.0)
    (x * 5).backward()
    before = x.grad
    first = double(x) * y
    last = first
    for _ in range(5):
        last = double(last) + x
    tensors = [first.retain_grad(), last.retain_grad()]
    loss = last.sum()
    with pytest.raises(error, match="in a VJP"):
        loss.backward(retain_graph=retain_graph)
    assert x.grad is before
    assert x.grad == [5.0]
    assert [tensor.grad for tensor in [y, *tensors]] == [None] * 3
    fails = False
    loss.backward()  # the graph is whole
    assert x.grad == [5.0 + 2 * 3 * 32 + 31]
    assert y.grad == [2.0 * 32]
    assert [tensor.grad for tensor in tensors] == [[32.0], [1.0]]
    with pytest.raises(RuntimeError, match="freed"):
        loss.backward()


@pytest.mark.parametrize(
    "share", [None, np.ones(3), np.ones(2, bool)], ids=["none", "shape", "dtype"]
)
def test_a_vjp_that_is_refused_changes_nothing(share):
    wrong = [True]
    f = make(lambda x: x * 1, lambda g, out, x: share if wrong else g)
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    loss = (f(x) * y).sum()
    with pytest.raises((TypeError, ValueError), match="the VJP of"):
        loss.backward()
    assert x.grad is y.grad is None
    wrong.clear()
    loss.backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert y.grad.tolist() == [1.0, 2.0]


def test_a_backward_that_meets_a_freed_part_on_its_way_changes_nothing():
    x, w = leaf(3.0), leaf(2.0)
    hidden = np.sin(x)
    loss = (w * hidden).sum() + (w * 5).sum()
    hidden.sum().backward()
    before = x.grad.copy()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="freed"):
            loss.backward()
    assert w.grad is None
    assert x.grad == before


def test_saved_values_are_there_until_the_end():
    # The last to fail finds all that the first have used.
    alive = []
    nodes = []

    def vjp(g, out, x):
        alive.append(all(ref() is not None for ref in nodes))
        return g

    step = make(lambda x: x + 1, vjp)
    y = x = leaf(0.0)
    for _ in range(5):
        y = step(y)
        nodes.append(weakref.ref(y))
    y.backward()
    assert alive == [True] * 5
    assert [ref() is None for ref in nodes] == [True] * 4 + [False]
    assert x.grad == [1.0]


# ----------------------------------------------------------------------------------- create_graph


def test_create_graph_gives_derivatives_of_every_order():
    x = leaf(2.0)
    y = x * x * x * x
    value, expected = y, 2.0**4
    for order in range(4):
        assert value.data == [expected]
        assert value.requires_grad
        value = backpropagate(value, np.ones(1), {x}, create_graph=True)[x]
        expected *= (4 - order) / 2.0
    assert value == [24.0]
    assert x.grad is None


def test_create_graph_differentiates_through_results_that_vjps_use():
    x = leaf(0.5)  # the derivatives of exp and tanh are written in terms of their results
    first = backpropagate(np.exp(x), np.ones(1), {x}, create_graph=True)[x]
    first.backward()
    np.testing.assert_allclose(x.grad, np.exp(0.5))
    x.grad = None
    first = backpropagate(np.tanh(x), np.ones(1), {x}, create_graph=True)[x]
    first.backward()
    np.testing.assert_allclose(x.grad, -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2))


def test_create_graph_keeps_the_graph_that_its_result_contains():
    x = leaf(2.0)
    y = x * x
    derivative = backpropagate(y * y, np.ones(1), {x}, create_graph=True)[x]
    derivative.backward()
    assert x.grad == [12 * 2.0**2]


def test_a_cotangent_that_is_a_tensor_is_differentiated_too():
    x, g = leaf(3.0), leaf(5.0)
    (backpropagate(x * x, g, {x}, create_graph=True)[x]).backward()
    assert g.grad == [6.0]


def test_ends_count_as_independent_variables():
    x = leaf(3.0)
    y = x * 2
    found = backpropagate(y * y + x, np.ones(1), {x, y})
    assert {node: g.tolist() for node, g in found.items()} == {y: [12.0], x: [1.0]}


# ------------------------------------------------------------------ broadcasting and dtypes undone


def test_short_sums_of_float16_are_added_in_float32():
    x = Tensor(np.ones((1, 2), np.float16), requires_grad=True)
    tenths = np.full((1000, 2), 0.1, np.float16)
    (x * tenths).backward(np.ones_like(tenths))
    np.testing.assert_array_equal(x.grad, [np.sum(tenths, axis=0, dtype=float).astype(np.float16)])


def test_a_complex_cotangent_of_another_precision_keeps_its_imaginary_part():
    x = Tensor(np.array([2.0], np.float32), requires_grad=True)
    np.real(x * np.complex64(1j) * np.array([1j])).sum().backward()  # complex64, then complex128
    np.testing.assert_array_equal(x.grad, [-1])
    assert x.grad.dtype == np.float32


def test_an_axis_of_length_1_may_be_broadcast_to_length_0():
    x = Tensor(np.ones((2, 1)), requires_grad=True)
    (x * np.ones((2, 0))).sum().backward()
    np.testing.assert_array_equal(x.grad, np.zeros((2, 1)))


# ---------------------------------------------------------------------------------------- threads


class SlowArray(np.ndarray):
    """An array that lets other threads run in the middle of ``array += other``."""

    def __iadd__(self, other):
        before = np.array(self)
        time.sleep(0.005)
        self[...] = before + other
        return self


def test_threads_that_share_parameters_lose_no_gradient():
    w = leaf(1.0, 2.0)
    w._grad = np.zeros(2).view(SlowArray)
    start, errors = threading.Barrier(4), []

    def work():
        try:
            start.wait()
            for _ in range(5):
                (w * w).sum().backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert w.grad.tolist() == [4 * 5 * 2, 4 * 5 * 4]


def test_a_graph_that_another_thread_frees_meanwhile_is_an_error():
    started, go_on = threading.Event(), threading.Event()
    slow = primitive(lambda v: v * 1.0)

    def wait(g, out, v):
        started.set()
        go_on.wait(10)
        return g

    defvjp(slow, wait)
    x = Tensor(np.ones(3), requires_grad=True)
    trunk = np.sin(x)
    first, second = np.sum(slow(trunk)), np.sum(trunk * 2)
    errors = []

    def run():
        try:
            first.backward()
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    second.backward()  # which frees the trunk
    go_on.set()
    thread.join(10)
    assert len(errors) == 1
    assert "has been freed" in errors[0]


def test_a_graph_without_an_end_is_not_visited():
    def joint(g, out, needed, *xs):
        raise AssertionError("called")

    function = primitive(lambda *xs: sum(xs))
    defvjp(function, joint=joint)
    w = Tensor(np.ones(2), requires_grad=True)
    assert backpropagate(function(w, w), np.ones(2), {leaf(1.0)}) == {}


def test_a_graph_that_another_thread_frees_is_noticed(monkeypatch):
    w = leaf(1.0)
    trunk = np.sin(w)
    first, second = trunk.sum(), (trunk * 2).sum()
    dependents = engine.dependents

    def after_the_other(*args):
        first.backward()
        return dependents(*args)

    monkeypatch.setattr(engine, "dependents", after_the_other)
    with pytest.raises(RuntimeError, match="has been freed"):
        backpropagate(second, np.float64(1), {w})
