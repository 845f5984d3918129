"""The engine: the order of the backward pass, what it saves and frees, and who may interfere."""

import asyncio
import copy
import functools
import gc
import pickle
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, defvjp, enable_grad, engine, is_grad_enabled, no_grad, primitive
from microgrand.checks import name_of
from microgrand.engine import NO_KEYWORDS, backpropagate, rules_of
from microgrand.nn import Linear
from microgrand.nn.functional import linear
from microgrand.optim import SGD


def leaf(*values, dtype=float):
    return Tensor(np.array(values, dtype), requires_grad=True)


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
    del rules_of[product.raw]


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@primitive
def shift(x):
    """A primitive that can be found by its name, as pickle does."""
    return x + 1


defvjp(shift, lambda g, out, x: g)


# ------------------------------------------------------------------------- long and wide graphs


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


# --------------------------------------------------------------------------------- memory


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


# ------------------------------------------------------------------ twice, retained, freed


def test_a_second_backward_on_a_freed_graph_is_an_error():
    x = leaf(1.0)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(RuntimeError, match=r"freed.*retain_graph=True"):
        loss.backward()
    assert x.grad == [2.0]


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


# ----------------------------------------------------------------------------- all or nothing


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
    # Who fails last finds all that the first have used.
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


# ------------------------------------------------------------------ changes in place are seen


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


def test_one_grad_mode_object_can_be_entered_within_itself():
    mode = no_grad()
    with mode:
        with mode:
            assert not is_grad_enabled()
        assert not is_grad_enabled()
    assert is_grad_enabled()


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


# -------------------------------------------------------------------------- create_graph


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


# --------------------------------------------------------------------------------- grad mode


def test_no_grad_records_nothing_and_enable_grad_does_again():
    x = leaf(1.0)
    with no_grad():
        assert not is_grad_enabled()
        assert (x * 2).is_leaf
        assert not (x * 2).requires_grad
        with enable_grad():
            assert (x * 2).requires_grad
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_the_mode_is_restored_after_an_exception():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_decorates_functions_also_recursive_ones():
    @no_grad()
    def modes(depth):
        """Docstring."""
        return [is_grad_enabled()] + (modes(depth - 1) if depth else []) + [is_grad_enabled()]

    assert modes(3) == [False] * 8
    assert modes.__doc__ == "Docstring."
    assert is_grad_enabled()
    with no_grad():
        assert enable_grad()(is_grad_enabled)()


@pytest.mark.parametrize("mode", [no_grad, enable_grad])
def test_a_decorator_without_parentheses_is_an_error(mode):
    with pytest.raises(TypeError, match=rf"`@{mode.__name__}\(\)` with parentheses"):

        @mode
        def f():
            pass


def test_a_decorator_without_effect_is_an_error():
    def generator():
        yield

    async def coroutine():
        pass

    async def asynchronous_generator():
        yield

    for function in (generator, coroutine, asynchronous_generator):
        with pytest.raises(TypeError, match=rf"no effect on .*{function.__name__}"):
            no_grad()(function)


def test_no_grad_holds_for_its_own_thread():
    inside, seen = threading.Event(), []

    def other():
        inside.wait()
        seen.append(is_grad_enabled())

    thread = threading.Thread(target=other)
    thread.start()
    with no_grad():
        inside.set()
        thread.join()
    assert seen == [True]


def test_no_grad_holds_for_its_own_task():
    async def evaluate(entered, left):
        with no_grad():
            entered.set()
            await left.wait()
            return is_grad_enabled()

    async def train(entered, left):
        await entered.wait()
        enabled = is_grad_enabled()
        left.set()
        return enabled

    async def both():
        events = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(evaluate(*events), train(*events))

    assert asyncio.run(both()) == [False, True]


# ------------------------------------------------------------------------------------ threads


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


# ------------------------------------------------------------------------- copies and pickles


def by_pickle(value):
    return pickle.loads(pickle.dumps(value))


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


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_computed_value_cannot_be_copied(duplicate):
    with pytest.raises(RuntimeError, match=r"computed by np\.multiply; use \.detach"):
        duplicate(leaf(1.0) * 2)


# ------------------------------------------------------------------ .grad shares no memory

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


# ------------------------------------------------------------------------- wrong primitives


def make(function, *vjps, **joint):
    wrapped = primitive(function)
    if vjps or joint:
        defvjp(wrapped, *vjps, **joint)
    return wrapped


def identity_vjp(g, out, *args):
    return g


def test_a_primitive_without_a_derivative_is_refused_at_the_call():
    double = make(lambda x: 2 * x)
    with pytest.raises(TypeError, match=r"lambda.*has no derivative.*defvjp.*detach"):
        double(leaf(1.0))
    assert double(Tensor([1.0])).data == [2.0]
    assert double(np.ones(1)) == [2.0]
    with no_grad():
        assert not double(leaf(1.0)).requires_grad


def test_an_argument_without_a_derivative_is_refused_at_the_call():
    power = make(lambda x, n: x**n, lambda g, out, x, n: g * n * x ** (n - 1))
    assert power(leaf(3.0), 2).requires_grad
    assert power(leaf(3.0), Tensor([2.0])).requires_grad
    for vjps in ((identity_vjp,), (identity_vjp, None)):
        with pytest.raises(TypeError, match="no derivative with respect to argument 1"):
            make(lambda x, n: x**n, *vjps)(leaf(3.0), leaf(2.0))


def test_arguments_that_the_vjps_do_not_know_are_refused_at_the_call():
    f = make(lambda x, n=1, *, m=1: x * n * m, lambda g, out, x, n=1: g * n)
    assert f(leaf(1.0), n=2).requires_grad
    with pytest.raises(TypeError, match="when called with the argument m"):
        f(leaf(1.0), m=2)
    f = make(lambda x, n=1: x * n, lambda g, out, x: g)
    with pytest.raises(TypeError, match="at most 1 positional arguments, got 2"):
        f(leaf(1.0), 2)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("result", [None, 2.0, (np.ones(1), np.ones(1)), [1.0], "text"])
def test_a_result_that_is_not_an_array_is_refused_at_the_call(result, tracked):
    f = make(lambda x: result, identity_vjp)
    with pytest.raises(TypeError, match=r"lambda.*returned .*expected an array"):
        f(Tensor([1.0], requires_grad=tracked))


@pytest.mark.parametrize("result", [np.ones(1, int), np.ones(1, bool)])
def test_a_result_without_gradients_is_refused_at_the_call(result):
    f = make(lambda x: result, identity_vjp)
    with pytest.raises(TypeError, match=rf"result of dtype {result.dtype}"):
        f(leaf(1.0))
    assert f(Tensor([1.0])).dtype == result.dtype


def test_a_real_argument_gets_the_real_part_of_a_complex_cotangent():
    x = leaf(1.0, 2.0)
    make(lambda x: x, lambda g, out, x: g * (3 + 4j))(x).sum().backward()
    assert x.grad.dtype == np.float64
    np.testing.assert_array_equal(x.grad, [3.0, 3.0])


def test_backward_begins_at_real_numbers_only():
    loss = leaf(1.0)[0] * 1j
    with pytest.raises(RuntimeError, match=r"complex128.*np\.real"):
        loss.backward()


def test_a_primitive_made_of_a_known_function_has_a_derivative_of_its_own():
    wrong = make(np.sin, lambda g, out, x: 7 * g)
    x, y = leaf(0.0), leaf(0.0)
    (np.sin(x) + wrong(y)).sum().backward()
    assert (x.grad.item(), y.grad.item()) == (1.0, 7.0)


def test_tensors_must_be_arguments_of_their_own():
    w = leaf(1.0)
    add = make(lambda x, others, scale=1.0: x + sum(others), identity_vjp)
    with pytest.raises(TypeError, match=r"given a list of tensors.*f\(\*tensors\)"):
        add(leaf(1.0), [w])
    with pytest.raises(TypeError, match="given a tuple of tensors"):
        add(leaf(1.0), (1.0, w))
    with pytest.raises(TypeError, match=r"keyword argument 'scale'.*by position"):
        add(leaf(1.0), [1.0], scale=w)
    closure = make(lambda x: x * w, identity_vjp)
    with pytest.raises(TypeError, match="not among its arguments"):
        closure(leaf(1.0))


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (None, TypeError, r"returned None for argument 0, expected an array of shape \(2,\)"),
        (1.0, TypeError, r"returned 1\.0 for argument 0, expected an array"),
        ([1.0, 1.0], TypeError, "expected an array"),
        (np.ones(3), ValueError, r"shape \(3,\) for an argument of shape \(2,\)"),
        (np.ones(1), ValueError, r"shape \(1,\) for an argument of shape \(2,\)"),
        (np.ones(()), ValueError, r"shape \(\) for an argument of shape \(2,\)"),
        (np.ones((2, 3)), ValueError, r"for an argument of shape \(2,\)"),
        (np.ones(2, bool), TypeError, "dtype bool for an argument of dtype float64"),
    ],
)
def test_what_a_wrong_vjp_returns_is_refused(share, error, message):
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=message):
        make(lambda x: x, lambda g, out, x: share)(x).sum().backward()
    with pytest.raises(error, match=message):
        make(lambda x: x, joint=lambda g, out, needed, x: [share])(x).sum().backward()


@pytest.mark.parametrize("shares", [None, [], [np.ones(1)] * 2, np.ones(1)])
def test_a_joint_vjp_must_return_a_cotangent_for_each_argument(shares):
    with pytest.raises(TypeError, match=r"joint VJP of .* expected a list of 1"):
        make(lambda x: x, joint=lambda g, out, needed, x: shares)(leaf(1.0)).backward()


def test_defvjp_and_primitive_refuse_what_they_cannot_use():
    f = make(lambda x: x)
    with pytest.raises(TypeError, match="either one VJP for each argument, or joint"):
        defvjp(f)
    with pytest.raises(TypeError, match="either one VJP"):
        defvjp(f, identity_vjp, joint=identity_vjp)
    with pytest.raises(TypeError, match="expects functions, got 3"):
        defvjp(f, 3)
    with pytest.raises(TypeError, match=r"vjp\(g, out, \*args, \*\*kwargs\)"):
        defvjp(f, lambda g: g)
    with pytest.raises(TypeError, match=r"joint\(g, out, needed"):
        defvjp(f, joint=lambda g, out, needed: [g])
    with pytest.raises(TypeError, match="primitive expects a function, got 3"):
        primitive(3)


def test_a_user_may_differentiate_a_numpy_function_in_his_own_way():
    # A straight-through estimator: round in the forward pass, identity in the backward pass.
    saved = dict(rules_of)
    try:
        defvjp(np.rint, lambda g, out, x: g)
        defvjp(np.prod, lambda g, out, x: g * np.ones_like(x))  # instead of the stand-in
        x = leaf(1.4, 2.0)
        np.prod(np.rint(x)).backward()
        assert x.grad.tolist() == [1, 1]
    finally:
        rules_of.clear()
        rules_of.update(saved)


def test_plain_calls_record_nothing():
    @primitive
    def f(x, **options):
        return x

    defvjp(f, identity_vjp)
    assert f(3.0) == 3.0
    assert f(Tensor([1.0])).kwargs is NO_KEYWORDS
    assert f.__name__ == "f"


# -------------------------------------------------------------------------------- the import


def test_importing_the_package_loads_no_heavy_modules():
    # Time is not tested here; the modules that would cost it are.
    code = (
        "import sys, numpy; before = set(sys.modules); import microgrand;"
        "print(*set(sys.modules) - before)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "hypothesis", "logging", "matplotlib", "numpy.f2py", "numpy.testing"}
    heavy |= {"pytest", "scipy", "sklearn", "torch", "tqdm", "unittest"}
    assert not heavy & set(run.stdout.split())


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


def test_a_gradient_of_several_uses_has_the_byte_order_of_its_leaf():
    x = Tensor(np.ones(2, ">f4"), requires_grad=True)
    (x * 2 + x * 3).sum().backward()
    assert x.grad.dtype == np.dtype(">f4")


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
    leading_to = engine.leading_to

    def after_the_other(*args):
        first.backward()
        return leading_to(*args)

    monkeypatch.setattr(engine, "leading_to", after_the_other)
    with pytest.raises(RuntimeError, match="has been freed"):
        backpropagate(second, np.float64(1), {w})


def test_a_joint_vjp_that_takes_fewer_arguments_is_refused_when_called():
    function = primitive(lambda *xs: sum(xs))
    defvjp(function, joint=lambda g, out, needed, x, y: [g, g])
    x = Tensor(1.0, requires_grad=True)
    assert function(x, x).item() == 2
    with pytest.raises(TypeError, match="at most 2 positional arguments, got 3"):
        function(x, x, x)


# ------------------------------------------------------------------------- names, modes, numbers


def test_whole_numbers_have_no_graph_and_no_error():
    total = np.sum(Tensor([1, 2]))
    assert total == 3
    assert total.dtype.kind == "i"


def test_functions_are_named_as_users_write_them():
    def f(x):
        return x

    f.__module__, f.__qualname__ = "numpylike", "f"
    assert name_of(f) == "numpylike.f"
    f.__module__ = "mine.numpy"
    assert name_of(f) == "mine.numpy.f"
    assert name_of(np.add) == "np.add"
    assert name_of(np.sum) == "np.sum"
    assert name_of(np.linalg.norm) == "np.linalg.norm"
    assert name_of(np.add.at) == "np.add.at"


@pytest.mark.parametrize("mode", [no_grad, enable_grad])
def test_anything_that_can_be_called_may_be_decorated(mode):
    x = leaf(1.0)
    with no_grad() if mode is enable_grad else enable_grad():
        assert mode()(np.sin)(x).requires_grad == (mode is enable_grad)
        assert mode()(functools.partial(np.multiply, 2))(x).requires_grad == (mode is enable_grad)
    with pytest.raises(TypeError, match=r"given 'first'; it takes no argument"):
        mode("first", "second")
