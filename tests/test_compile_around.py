"""What is around a compiled function: derivatives, masks, threads, copies, other such functions."""

import copy
import sys
import threading
import weakref

import numpy as np
import pytest
from compiled import assert_same_bits
from test_compile_refusals import BATCH, X, calls, training

from microgrand import Tensor, compile, detect_anomaly, grad, nn, no_grad, optim


def test_derivatives_of_a_compiled_function():
    compiled = compile(lambda x: np.sum(np.sin(x) * x))
    calls(compiled, X)
    for _ in range(3):
        assert_same_bits(grad(compiled)(X), grad(compiled.function)(X))
    w = Tensor(X, requires_grad=True)
    compiled(w * 2).backward()
    assert_same_bits(w.grad, 2 * grad(compiled.function)(2 * X))


def test_held_masks():
    net, _, _ = training(False)
    masks = nn.DropoutMasks()
    compiled = compile(lambda x: net(x).detach())
    with masks:
        first = compiled(BATCH)
    for _ in range(3):
        with masks:
            assert_same_bits(compiled(BATCH), first)
    held = compile(masks.hold(lambda x: net(x).detach()))
    for _ in range(4):
        assert_same_bits(held(BATCH), first)


def test_detect_anomaly_runs_eagerly():
    w = Tensor([0.0, 1.0], requires_grad=True)

    @compile
    def step():
        w.grad = None
        with np.errstate(divide="ignore"):
            np.sqrt(w).sum().backward()

    calls(step)
    with detect_anomaly(), pytest.raises(FloatingPointError, match=r"np\.sqrt"):
        step()


def test_a_compiled_function_in_another_one():
    inner = compile(lambda x: x * 2 + 1)
    outer = compile(lambda x: inner(x) * inner(x * 3))
    assert_same_bits(calls(outer, X), outer.function(X))
    assert outer.eager_calls == 0


def test_methods_and_copies():
    class Trainer:
        def __init__(self, factor):
            self.weight = np.ones(3) * factor

        @compile
        def step(self, x):
            self.weight += x
            return self.weight.sum()

    a, b = Trainer(1), Trainer(2)
    for _ in range(4):
        a.step(X)
    assert_same_bits(a.weight, np.ones(3) + 4 * X)
    calls(b.step, X)
    assert_same_bits(b.weight, 2 * np.ones(3) + 4 * X)
    other = copy.deepcopy(b)
    calls(other.step, X)
    assert_same_bits(b.weight, 2 * np.ones(3) + 4 * X)
    assert_same_bits(other.weight, 2 * np.ones(3) + 8 * X)


def test_threads():
    compiled = compile(lambda x: np.tanh(x @ x.T) @ np.exp(-x))
    inputs = [np.random.default_rng(i).normal(size=(20, 20)) for i in range(4)]
    wrong = []

    def work(x):
        expected = compiled.function(x)
        wrong.extend(1 for _ in range(200) if not np.array_equal(compiled(x), expected))

    threads = [threading.Thread(target=work, args=(x,)) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_threads_see_no_recording():
    w = Tensor(X.copy(), requires_grad=True)
    seen = []
    begin = threading.Event()

    def look():
        begin.wait()
        seen.append((w * 2).data)
        seen.append(type(np.add(w.data, 1)))

    thread = threading.Thread(target=look)
    thread.start()

    def f(x):
        begin.set()
        thread.join()
        return (w * x).detach()

    compile(f)(X)
    assert type(seen[0]) is np.ndarray
    assert seen[1] is np.ndarray


def test_threads_that_it_starts():
    def f(x):
        results = []
        thread = threading.Thread(target=lambda: results.append(x * 2))
        thread.start()
        thread.join()
        return results[0]

    with pytest.raises(TypeError, match="a thread that the compiled function has started"):
        compile(f)(X)
    assert_same_bits(f(X), X * 2)


def test_threads_lose_no_gradient():
    w = Tensor(np.ones(200), requires_grad=True)

    @compile
    def add(x):
        (w * x).sum().backward()

    calls(add, np.ones(200), number=5)
    w.grad = np.zeros(200)
    threads = [
        threading.Thread(target=calls, args=(add, np.ones(200)), kwargs={"number": 300})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same_bits(w.grad, np.full(200, 1200.0))


def test_memory_is_let_go():
    compiled = compile(lambda x: np.sum(np.tanh(x) * x))
    x = np.ones(1000)
    calls(compiled, x)
    assert sys.getrefcount(x) == 2  # the variable, and this call's argument
    tensor = Tensor(x)
    compiled = compile(lambda x: np.sum(np.tanh(x) * x).detach())
    calls(compiled, tensor)
    alive = weakref.ref(tensor)
    del tensor
    assert alive() is None


def test_other_threads_may_list_what_modules_hold():
    net, optimizer, step = training(False)
    compiled = compile(step)
    step(BATCH, np.zeros(4, int))  # so that each layer has its mask
    stop, failures = threading.Event(), []

    def list_parameters():
        while not stop.is_set():
            try:
                net.state_dict()
                repr(net)
            except RuntimeError as error:
                failures.append(error)

    thread = threading.Thread(target=list_parameters)
    thread.start()
    for n in range(1, 12):
        calls(compiled, BATCH[:1].repeat(n, 0), np.zeros(n, int), number=2)
    stop.set()
    thread.join()
    assert not failures
    assert type(net[0]) is nn.Linear
    assert type(optimizer) is optim.SGD


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv1d(2, 3, 3),
        lambda: nn.LSTM(8, 4),
        lambda: nn.BatchNorm1d(2).eval(),
        lambda: nn.GroupNorm(1, 2),
        lambda: nn.TransformerEncoderLayer(8, 2).eval(),
    ],
)
def test_layers_without_a_graph(make):
    layer = make()
    compiled = compile(no_grad()(layer))
    for n in range(4):
        x = np.arange(80, dtype=np.float32).reshape(5, 2, 8) / 100 - n
        with no_grad():
            expected = layer(x)
        assert_same_bits(compiled(x), expected)
    assert compiled.traces
    assert compiled.eager_calls == 0
