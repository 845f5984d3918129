"""What `compile` refuses, with the user's line and the state as it was; and what it must not."""

import functools
import json
import os
import random
import time
import warnings

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import Tensor, compile, manual_seed, nn, no_grad, optim
from microgrand.nn import functional as F


def calls(function, *args, number=4):
    for _ in range(number):
        result = function(*args)
    return result


X = np.array([1.0, 2.0, 3.0])


def branch(x):
    return x * 2 if x.sum() > 0 else x


def loop(x):
    while x[0] < 5:
        x = x * 2
    return x


def number(x):
    return x * float(x[0])


def item(x):
    return x * x.sum().item()


def converted(x):
    return np.asarray(x) * 2


def collected(x):
    return np.array([x[0], x[1]])


def into_plain(x):
    out = np.empty(3)
    np.multiply(x, 2, out=out)
    return out


def text(x):
    return f"{x}"


def elements(x):
    out = np.zeros(3)
    out[0] = x[0]
    return out


def steps(x):
    return np.arange(x[0])


def flat(x):
    return x.flat[0]


@pytest.mark.parametrize(
    "function",
    [branch, loop, number, item, converted, collected, into_plain, text, elements, steps, flat],
    ids=lambda f: f.__name__,
)
def test_what_depends_on_values(function):
    with pytest.raises(TypeError) as error:
        calls(compile(function), X.copy())
    first = function.__code__.co_firstlineno
    line = int(str(error.value).split(f"{__file__}:")[1].split(":")[0])
    assert first < line <= first + 4
    function(X.copy())  # eager code goes on


@pytest.mark.parametrize(
    "draw",
    [
        lambda: np.random.default_rng().normal(size=3),
        lambda: random.random(),
        lambda: np.random.normal(size=3),  # noqa: NPY002
        lambda: time.perf_counter(),
        iter(range(10)).__next__,
        iter(np.eye(10)[:, :3]).__next__,
    ],
)
def test_what_changes_out_of_sight(draw):
    def f(x):
        return x * draw()

    with pytest.raises(TypeError, match=r"argument|not a numpy\.random\.Generator"):
        calls(compile(f), X)


def test_constants_made_inside():
    def f(x):
        return x * np.arange(3) + np.random.default_rng(0).normal(size=3) + np.array([1.0, 2, 3])

    compiled = compile(f)
    assert_same_bits(calls(compiled, X), f(X))
    assert_same_bits(compiled(2 * X), f(2 * X))
    assert compiled.eager_calls == 0


def test_a_generator_that_it_closes_over():
    def make():
        rng = np.random.default_rng(7)
        return lambda x: x + rng.normal(size=3) * rng.random()

    f, compiled = make(), compile(make())
    for _ in range(5):
        assert_same_bits(compiled(X), f(X))
    assert compiled.traces


def test_a_generator_that_is_used_in_another_way():
    rng = np.random.default_rng(7)

    def f(x):
        rng.bit_generator.random_raw(3)
        return x * 2

    with pytest.raises(TypeError, match="generator"):
        calls(compile(f), X)


def test_python_state():
    class Counter(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    counter = Counter()
    counter.calls = 0
    with pytest.raises(TypeError, match="calls"):
        calls(compile(lambda x: counter(x)), X)
    assert counter.calls == 1


def test_a_list_that_grows():
    kept = []

    def f(x):
        kept.append(x * 2)
        return x

    with pytest.raises(TypeError, match="list"):
        calls(compile(f), X)
    assert len(kept) == 1
    assert type(kept[0]) is np.ndarray


def test_changed_argument():
    def f(x):
        x["a"] = x["a"] * 2
        return x["a"]

    with pytest.raises(TypeError, match="argument"):
        calls(compile(f), {"a": X})


def test_a_graph_that_is_wanted():
    w = Tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match="backward"):
        compile(lambda x: (x * w).sum())(X)
    assert compile(lambda x: (x * w).sum().detach())(X).data == 14
    with no_grad():
        assert calls(compile(lambda x: (x * w).sum()), X).data == 14


def test_foreign_arrays():
    with pytest.raises(TypeError, match="MaskedArray"):
        compile(lambda x: x * 2)(np.ma.array([1.0]))
    with pytest.raises(TypeError, match="function"):
        compile(3)


def test_a_refused_step_changes_nothing():
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    optimizer = optim.Adam(net.parameters())

    @compile
    def step(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    weight, state = net[0].weight, manual_seed(1).bit_generator.state
    before = weight.data.copy()
    with pytest.raises(TypeError, match="item"):
        step(X)
    assert np.array_equal(weight.data, before)
    assert weight.grad is None
    assert net[1].mask is None
    assert optimizer.steps == [0, 0]
    assert weight.version == 0
    assert not optimizer.memory["exp_avg"][0].any()
    assert step.function.__closure__[0] is not None
    assert manual_seed.__globals__["default_generator"].bit_generator.state == state


def training(compiled, **options):
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1, **options)

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return net, optimizer, compile(step) if compiled else step


def state_of(net, optimizer):
    rng = manual_seed.__globals__["default_generator"]
    return [
        *[p.data.copy() for p in net.parameters()],
        *[p.grad for p in net.parameters()],
        *[p.version for p in net.parameters()],
        net[1].mask,
        net[2].mask,
        optimizer.lr,
        rng.bit_generator.state["state"],
    ]


BATCH = np.arange(12, dtype=np.float32).reshape(4, 3) - 5


@pytest.mark.parametrize("at", range(5))
def test_an_error_in_the_middle_leaves_the_state_as_eager_would(at):
    found = []
    for compiled in (True, False):
        net, optimizer, step = training(compiled)
        for number in range(6):
            labels = np.array([0, 1, 0, 2 if number == at else 1])
            if number == at:
                with pytest.raises(ValueError, match="label 2 is not a class"):
                    step(BATCH, labels)
            else:
                step(BATCH, labels)
        found.append(state_of(net, optimizer))
    assert_same_bits(*found)


def test_an_error_in_the_update_leaves_the_state_as_eager_would():
    found = []
    for compiled in (True, False):
        net, optimizer, step = training(compiled, momentum=0.9)
        for number in range(5):
            if number == 4:
                optimizer.memory["momentum_buffer"][2][0, 0] = 3e38
                optimizer.memory["momentum_buffer"][2][1, 1] = -3e38
                optimizer.lr = 1e30
                with pytest.raises(FloatingPointError), np.errstate(over="raise"):
                    step(BATCH, np.array([0, 1, 0, 1]))
            else:
                step(BATCH, np.array([0, 1, 0, 1]))
        seen = state_of(net, optimizer)  # versions may be ahead: graphs refuse rather than err
        found.append(
            [*[x for x in seen if type(x) is not int], *optimizer.memory["momentum_buffer"]]
        )
    assert_same_bits(*found)


def test_warnings_are_those_of_eager_code():
    def f(x):
        with np.errstate(divide="ignore"):
            y = np.log(x)
        return y, 1 / x

    compiled = compile(f)
    for _ in range(4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compiled(np.array([0.0, 1.0]))
        assert [str(w.message) for w in caught] == ["divide by zero encountered in divide"]
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        compiled(np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x, k: np.apply_along_axis(lambda row: row * k, 0, x),
        lambda x, k: np.piecewise(x, [x < 0], [lambda y: y * k, 1]),
        lambda x, k: np.apply_over_axes(lambda y, axis: np.sum(y, axis) * k, x, [0]),
        lambda x, k: np.frompyfunc(lambda y: y * k, 1, 1)(x),
        lambda x, k: np.frompyfunc(lambda y, z: y * k + z, 2, 1).reduce(x),
    ],
)
def test_functions_that_hold_values_of_one_call(f):
    with pytest.raises(TypeError, match="closes over values of this very call"):
        compile(f)(X, 2.0)


def test_functions_that_numpy_calls():
    factors = [2.0]
    scaled = np.frompyfunc(lambda y: y * factors[0], 1, 1)

    def f(x):
        along = np.apply_along_axis(lambda row: row * factors[0], 0, x)
        return along + scaled(x).astype(float)

    compiled = compile(f)
    for number in (1.0, 1.0, 1.0, 2.0, 3.0):
        factors[0] = number
        assert_same_bits(compiled(X), f(X))
    assert compiled.traces


def test_what_does_not_take_recorded_values():
    with pytest.raises(TypeError, match="JSON") as error:
        compile(lambda x, k: x * len(json.dumps(k)))(X, 2.0)
    notes = getattr(error.value, "__notes__", ["traced"])  # from Python 3.11 on
    assert "traced" in notes[0]


def test_functions_that_depend_on_classes():
    @functools.singledispatch
    def f(x):
        return x * 0

    f.register(np.ndarray, lambda x: x * 2)
    f.register(float, lambda x: x * 3)
    compiled = compile(lambda x, k: f(x) + f(k))
    for n in range(4):
        assert_same_bits(compiled(n * X, 1.0 * n), n * X * 2 + 3 * n)
    f.register(np.ndarray, lambda x: x * 5)
    assert_same_bits(compiled(X, 1.0), X * 5 + 3)


def test_numbers_that_are_others_in_each_call():
    compiled = compile(lambda x, n: x * n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(200):
            assert_same_bits(compiled(X, n), X * n)
    assert ["combinations" in str(warning.message) for warning in caught] == [True]
    assert len(compiled.watched) < 200


def test_shapes_that_differ_from_the_first_call_on():
    def f(x):
        return x[x > 0] * 2

    compiled = compile(f)
    for x in (X, X - 1, X - 2, X - 2, X - 2, X - 1):
        assert_same_bits(compiled(x), f(x))
    assert len(compiled.traces) == 1


def test_how_to_write_into_an_array_made_inside():
    def f(x):
        out = np.zeros(4)
        out[1:] = x
        return out

    with pytest.raises(TypeError, match=r"np\.zeros\(shape, like=x\)"):
        compile(f)(X)

    def g(x):
        out = np.zeros(4, like=x)
        out[1:] = x
        return out

    compiled = compile(g)
    for n in range(4):
        assert_same_bits(compiled(n * X), f(n * X))
    assert compiled.traces


@pytest.mark.parametrize("of", [lambda w: w, lambda w: w[1:], lambda w: w.reshape(2, 2)])
def test_arrays_that_become_read_only(of):
    def trained(compile):
        weights = [Tensor(X + n, requires_grad=True) for n in range(2)]
        memory = np.zeros(4)
        optimizer = optim.SGD(weights, lr=0.1, momentum=0.9)

        def step(x):
            part = of(memory)
            part += 1
            optimizer.zero_grad()
            (weights[0] * weights[1] * x).sum().backward()
            optimizer.step()

        step = compile(step)
        for n in range(6):
            memory.setflags(write=n != 4)
            weights[1].data.setflags(write=n != 5)
            try:
                step(X)
            except ValueError as error:
                assert "read-only" in str(error)  # noqa: PT017
            else:
                assert n < 4
        return [x for w in weights for x in (w.data, w.grad, w.version)], memory

    assert_same_bits(trained(compile), trained(lambda f: f))


def test_flags_and_bases():
    compiled = compile(lambda x: x * 2 if x.flags.writeable else x * 3)
    read_only = X.copy()
    read_only.setflags(write=False)
    for x, factor in ((X, 2), (X, 2), (X, 2), (read_only, 3), (read_only, 3), (X, 2)):
        assert_same_bits(compiled(x), x * factor)
    with pytest.raises(TypeError):
        compile(lambda x: (x * 2)[1:].base * 1)(X)


def test_check_compares_recorded_calls():
    def f(x):
        return x * 2 if eval("type(x)") is np.ndarray else x * 3

    with pytest.raises(RuntimeError, match="differ in what it returned"):
        compile(f, check=True)(X)


def test_many_combinations():
    compiled = compile(lambda x, n: x * n)
    for n in range(32):
        calls(compiled, X, n)
    with pytest.warns(RuntimeWarning, match="combinations"):
        compiled(X, 32)
    assert_same_bits(compiled(X, 77), X * 77)
    assert len(compiled.traces) <= 32


def test_shapes_that_depend_on_values():
    def f(x):
        return x[x > 0] * 2

    compiled = compile(f)
    calls(compiled, X)
    for x in (X, -X, X - 1, X):
        assert_same_bits(compiled(x), f(x))
    assert compiled.eager_calls == 2
    with pytest.warns(RuntimeWarning, match="eagerly"):
        calls(compiled, -X, number=20)


def test_check_finds_what_cannot_be_seen(monkeypatch):
    monkeypatch.setenv("FACTOR", "2")
    compiled = compile(lambda x: x * float(os.environ["FACTOR"]), check=True)
    assert_same_bits(calls(compiled, X), 2 * X)
    monkeypatch.setenv("FACTOR", "3")
    with pytest.raises(RuntimeError, match="what it returned"):
        compiled(X)
    net, optimizer, step = training(False)
    other, other_optimizer, other_step = training(False)
    checked = compile(other_step, check=True)
    found = []
    for n, o, s in ((net, optimizer, step), (other, other_optimizer, checked)):
        manual_seed(3)
        for _ in range(5):
            s(BATCH, np.array([0, 1, 0, 1]))
        found.append(state_of(n, o))
    assert_same_bits(*found)


def test_source_before_there_is_one():
    with pytest.raises(RuntimeError, match="twice"):
        compile(lambda x: x).source  # noqa: B018


def test_tables_that_are_indexed():
    with pytest.raises(TypeError, match="outside"):
        calls(compile(lambda labels: np.eye(3)[labels] * 2), np.array([0, 2]))
    table = np.eye(3)
    compiled = compile(lambda labels: table[labels] * 2)
    calls(compiled, np.array([0, 2]))
    assert_same_bits(compiled(np.array([1, 1])), 2 * table[[1, 1]])


def test_arrays_on_disk_and_of_other_kinds(tmp_path):
    on_disk = np.memmap(tmp_path / "x", float, "w+", shape=3)
    compiled = compile(lambda x: x * on_disk)
    for number in range(4):
        on_disk[:] = number
        assert_same_bits(np.asarray(compiled(X)), np.asarray(X * on_disk))
    masked = np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0])
    with pytest.raises(TypeError, match="MaskedArray"):
        compile(lambda x: np.add(x, masked))(X)
