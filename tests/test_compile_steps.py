"""`compile` of training steps: the same bits as eager, in all that others can see."""

import collections
import dataclasses
import functools
import types

import numpy as np
import pytest
from compiled import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, compile, manual_seed, nn, no_grad, optim
from microgrand.nn import functional as F

FLOATS = [np.float16, np.float32, np.float64]
LAYERS = {
    "dropout": lambda dtype: nn.Dropout(0.5),
    "dropout of 0.3": lambda dtype: nn.Dropout(0.3),
    "nothing dropped": lambda dtype: nn.Dropout(0.0),
    "all dropped": lambda dtype: nn.Dropout(1.0),
    "classic dropout": lambda dtype: nn.Dropout(0.25, scaling="classic"),
    "shared axes": lambda dtype: nn.Dropout(0.25, shared_axes=0),
    "own generator": lambda dtype: nn.Dropout(0.5, rng=np.random.default_rng(3)),
    "Mersenne twister": lambda dtype: nn.Dropout(
        0.5, rng=np.random.Generator(np.random.MT19937(3))
    ),
    "Dropout1d": lambda dtype: nn.Dropout1d(0.5),
    "DropPath": lambda dtype: nn.DropPath(0.5),
    "DropConnect": lambda dtype: nn.DropConnect(6, 6, 0.25, dtype=dtype),
    "GaussianDropout": lambda dtype: nn.GaussianDropout(0.2),
    "AlphaDropout": lambda dtype: nn.AlphaDropout(0.2),
    "FeatureAlphaDropout": lambda dtype: nn.FeatureAlphaDropout(0.2),
    "two dropouts": lambda dtype: nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5)),
}
OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD with decay": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "SGD of Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "SGD with dampening": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.25),
    "SGD upwards": lambda p: optim.SGD(p, lr=0.1, maximize=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam with amsgrad": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "Adam with decay": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "RMSprop with all": lambda p: optim.RMSprop(
        p, lr=0.01, weight_decay=0.1, momentum=0.9, centered=True
    ),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01, lr_decay=0.1),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.1, weight_decay=0.1),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01, weight_decay=0.1),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01, betas=(0.9, 0.9), weight_decay=0.1),
    "RAdam as it comes": lambda p: optim.RAdam(p, lr=0.01),  # its sixth step is another one
    "Lion": lambda p: optim.Lion(p, lr=0.01, weight_decay=0.1),
    "groups": lambda p: in_groups(p, optim.SGD, lr=0.1, momentum=0.9),
    "groups of Adam": lambda p: in_groups(p, optim.Adam, lr=0.01),
}


def in_groups(parameters, kind, **options):
    """Make an optimizer with a group of options for each parameter."""
    groups = [{"params": [p], "weight_decay": 0.1 * (i % 2)} for i, p in enumerate(parameters)]
    groups[1]["lr"] = 0.05
    return kind(groups, **options)


class Training:
    """A net, an optimizer, and a step; two of them are equal in all bits."""

    def __init__(self, layer, optimizer, dtype, loss=F.cross_entropy):
        manual_seed(1)
        middle = LAYERS[layer](dtype)
        self.net = nn.Sequential(
            nn.Linear(4, 6, dtype=dtype), nn.ReLU(), middle, nn.Linear(6, 3, dtype=dtype)
        )
        self.optimizer = OPTIMIZERS[optimizer](self.net.parameters())
        self.loss = loss

    def step(self, x, target):
        self.optimizer.zero_grad()
        loss = self.loss(self.net(x), target)
        loss.backward()
        self.optimizer.step()
        return loss

    def seen(self):
        """List all that others can see."""
        modules = list(self.net.modules())
        tensors = list(self.net.parameters()) + list(self.net.buffers())
        memory = [
            {name: list(arrays) for name, arrays in sorted(self.optimizer.memory.items())},
            list(self.optimizer.steps),
            [
                {name: value for name, value in group.items() if name != "params"}
                for group in self.optimizer.param_groups
            ],
        ]
        return {
            "data": [p.data for p in tensors],
            "grad": [p.grad for p in tensors],
            "version": [p.version for p in tensors],
            "mask": [getattr(module, "mask", None) for module in modules],
            "memory": memory,
            "next number": manual_seed.__globals__["default_generator"].bit_generator.state[
                "state"
            ],
        }


def batch(number, dtype, n=8):
    rng = np.random.default_rng((5, number))
    return rng.normal(size=(n, 4)).astype(dtype), rng.integers(0, 3, n)


def run(training, step, dtype, between=lambda training, number: None, calls=6, n=8):
    """Train, and return what is seen after each step."""
    manual_seed(2)
    seen = []
    for number in range(calls):
        between(training, number)
        with np.errstate(all="ignore"):
            loss = step(*batch(number, dtype, n))
        seen.append(
            ([x.copy() if hasattr(x, "copy") else x for x in [loss.data]], copies(training.seen()))
        )
    return seen


def copies(tree):
    if isinstance(tree, dict):
        return {key: copies(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [copies(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree


def assert_trains_as_eager(layer, optimizer, dtype, between=lambda t, n: None, traces=1, **options):
    eager = Training(layer, optimizer, dtype, **options)
    expected = run(eager, eager.step, dtype, between)
    training = Training(layer, optimizer, dtype, **options)
    step = compile(training.step)
    result = run(training, step, dtype, between)
    for number, (r, e) in enumerate(zip(result, expected, strict=True)):
        try:
            assert_same_bits(r, e)
        except AssertionError as error:
            raise AssertionError(f"in call {number}") from error
    assert step.eager_calls == 0
    assert traces is None or len(step.traces) == traces
    return step


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, dtype):
    assert_trains_as_eager(layer, "SGD", dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer, dtype):
    assert_trains_as_eager("dropout", optimizer, dtype)


@pytest.mark.parametrize("dtype", FLOATS)
def test_squared_error(dtype):
    def loss(prediction, labels):
        return F.mse_loss(prediction, np.eye(3)[[0] * 8])

    assert_trains_as_eager("dropout", "Adam", dtype, loss=loss)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_changed_learning_rate(optimizer):
    def between(training, number):
        training.optimizer.lr = 0.1 / (1 + number) if number < 5 else 0.0

    assert_trains_as_eager("dropout", optimizer, np.float32, between, traces=None)


@pytest.mark.parametrize("optimizer", ["groups", "groups of Adam"])
def test_changed_learning_rate_of_a_group(optimizer):
    def between(training, number):
        training.optimizer.param_groups[number % 3]["lr"] = 0.1 / (1 + number)

    assert_trains_as_eager("dropout", optimizer, np.float32, between)


@pytest.mark.parametrize("optimizer", ["SGD", "groups of Adam"])
def test_loaded_optimizer_and_changed_options(optimizer):
    states = {}

    def between(training, number):
        if number == 2:
            states[training] = training.optimizer.state_dict()
        if number == 4:
            training.optimizer.load_state_dict(states[training])
            training.optimizer.weight_decay = 0.25

    assert_trains_as_eager("dropout", optimizer, np.float32, between, traces=None)


def test_changed_probability():
    def between(training, number):
        training.net[2].p = 0.1 * number + 0.05

    assert_trains_as_eager("dropout", "SGD", np.float32, between)


def test_changed_modes():
    def between(training, number):
        training.net.train(number not in (2, 3))

    assert_trains_as_eager("dropout", "SGD", np.float32, between, traces=2)


def test_loaded_states_and_replaced_data():
    def between(training, number):
        if number == 3:
            training.net.load_state_dict({k: 2 * v for k, v in training.net.state_dict().items()})
        if number == 4:
            training.net[0].weight.data = np.ones((6, 4), np.float32)
        if number == 5:
            training.net[0].weight.requires_grad = False

    assert_trains_as_eager("dropout", "SGD with momentum", np.float32, between, traces=None)


def test_eager_steps_in_between():
    eager, mixed = (Training("dropout", "Adam", np.float32) for _ in range(2))
    expected = run(eager, eager.step, np.float32, calls=8)
    compiled = compile(mixed.step)
    calls = iter(
        [compiled, compiled, compiled, mixed.step, compiled, mixed.step, compiled, compiled]
    )
    result = run(mixed, lambda *args: next(calls)(*args), np.float32, calls=8)
    assert_same_bits(result, expected)


def test_shapes():
    training = Training("dropout", "SGD", np.float32)
    eager = Training("dropout", "SGD", np.float32)
    step = compile(training.step)
    for n in (8, 5, 8, 5, 8, 5, 1, 1, 1):
        manual_seed(3)
        r = step(*batch(n, np.float32, n))
        manual_seed(3)
        e = eager.step(*batch(n, np.float32, n))
        assert_same_bits(r, e)
        assert_same_bits(training.seen(), eager.seen())
    assert len(step.traces) == 3


def test_what_is_seen_is_new_at_each_call():
    training = Training("dropout", "SGD", np.float32)
    step = compile(training.step)
    kept = []
    for number in range(6):
        loss = step(*batch(number, np.float32))
        seen = [loss.data, training.net[2].mask, *(p.grad for p in training.net.parameters())]
        kept.append((seen, copies(seen)))
    for seen, before in kept:
        assert_same_bits(seen, before)
    arrays = [array for seen, _ in kept for array in seen if array.ndim]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    assert not training.net[2].mask.flags.writeable


def test_gradients_accumulate_over_calls():
    eager, training = (Training("dropout", "SGD", np.float32) for _ in range(2))

    def accumulate(training):
        def step(x, labels):
            loss = F.cross_entropy(training.net(x), labels)
            loss.backward()
            return loss

        return step

    step, compiled = accumulate(eager), compile(accumulate(training))
    manual_seed(2)
    expected = [copies((step(*batch(n, np.float32)).data, eager.seen())) for n in range(6)]
    manual_seed(2)
    result = [copies((compiled(*batch(n, np.float32)).data, training.seen())) for n in range(6)]
    assert_same_bits(result, expected)
    assert compiled.eager_calls == 0


def test_buffers():
    class Center(nn.Module):
        def __init__(self):
            self.mean = nn.Buffer(np.zeros(4))
            self.weight = nn.Parameter(np.ones(4))

        def forward(self, x):
            if self.training:
                self.mean.data = 0.9 * self.mean.data + 0.1 * x.mean(axis=0)
            return (x - self.mean) * self.weight

    def results(compiled):
        net = Center()
        step = (
            compile(lambda x: (net(x) ** 2).sum().backward())
            if compiled
            else (lambda x: (net(x) ** 2).sum().backward())
        )
        found = []
        for number in range(6):
            if number == 4:
                net.eval()
            step(batch(number, np.float64)[0])
            found.append(copies([net.mean.data, net.weight.grad, net.mean.version]))
        return found

    assert_same_bits(results(True), results(False))


def test_handwritten_descent_and_closed_over_arrays():
    def results(compiled):
        w = Tensor(np.ones(4), requires_grad=True)
        offset = np.zeros(4)
        lr = 0.1

        def step(x):
            w.grad = None
            scaled = offset * 2
            loss = ((x * w - scaled) ** 2).mean()
            loss.backward()
            w.data -= lr * w.grad
            return loss

        run_step = compile(step) if compiled else step
        found = []
        for number in range(8):
            offset[0] = number
            if number == 4:
                offset = np.ones(4)
            if number == 5:
                lr = 0.2
            found.append(
                copies([run_step(batch(number, np.float64)[0]).data, w.data, w.grad, w.version])
            )
        return found

    assert_same_bits(results(True), results(False))


def test_evaluation_without_a_graph():
    training = Training("dropout", "SGD", np.float32)
    net = training.net

    def evaluate(x):
        with no_grad():
            return net(x)

    compiled = compile(evaluate)
    for number in range(5):
        x = batch(number, np.float32)[0]
        manual_seed(number)
        r = compiled(x)
        manual_seed(number)
        assert_same_bits(r, evaluate(x))
    assert len(compiled.traces) == 1


@given(st.lists(st.sampled_from(["train", "eval", "p", "lr", "load", "grad"]), max_size=8))
def test_anything_in_between(events):
    def between(training, number):
        if number < len(events):
            event = events[number]
            if event in ("train", "eval"):
                training.net.train(event == "train")
            elif event == "p":
                training.net[2].p = 0.25
            elif event == "lr":
                training.optimizer.lr *= 0.5
            elif event == "load":
                training.net.load_state_dict(training.net.state_dict())
            else:
                training.net[0].weight.grad = None

    assert_trains_as_eager("dropout", "Adam", np.float32, between, traces=None)


@pytest.mark.parametrize(
    "bits",
    [np.random.PCG64, np.random.PCG64DXSM, np.random.Philox, np.random.SFC64, np.random.MT19937],
)
@pytest.mark.parametrize("p", [0.5, 0.3])
def test_a_failed_run_draws_its_masks_again(bits, p):
    def results(compiled):
        rng = np.random.Generator(bits(3))
        dropout = nn.Dropout(p, rng=rng)

        def step(x):
            return dropout(x) + dropout(x[x > 0]).sum()

        run_step = compile(step) if compiled else step
        found = []
        for number in range(6):
            rng.integers(0, 9, dtype=np.uint32)  # half a word is kept
            x = np.arange(9.0) - (4 if number < 5 else 3)
            found.append([run_step(x).data, dropout.mask, str(rng.bit_generator.state)])
        return found

    for r, e in zip(results(True), results(False), strict=True):
        assert_same_bits(r, e)


def test_a_module_itself():
    net = nn.Sequential(nn.Linear(4, 6, dtype=float), nn.ReLU(), nn.Dropout(0.5)).eval()
    compiled = compile(net)
    with no_grad():
        for number in range(5):
            if number == 3:
                net[0].weight.data *= 2
            x = batch(number, np.float64)[0]
            assert_same_bits(compiled(x), net(x))
    assert compiled.eager_calls == 0


def test_arrays_in_defaults_and_partial_functions():
    w, b = np.ones(4), np.zeros(4)

    def f(b, x, w=w):
        return x * w + b

    compiled = compile(functools.partial(f, b))
    for number in range(5):
        w[0], b[1] = number, -number
        x = batch(number, np.float64)[0]
        assert_same_bits(compiled(x), f(b, x))
    assert compiled.eager_calls == 0


def test_state_in_lists_dicts_and_objects():
    class Holder:
        def __init__(self):
            self.weights = [Tensor(np.ones(4), requires_grad=True), {"b": np.zeros(4)}]
            self.settings = types.SimpleNamespace(scale=0.5, power=2, more=(np.ones(4), "x"))

    def results(compiled):
        held = Holder()

        def step(x):
            w, others = held.weights
            w.grad = None
            y = (x * w + others["b"]) * held.settings.scale + held.settings.more[0]
            (y**held.settings.power).mean().backward()
            others["b"] -= 0.1 * w.grad
            held.last = w.grad * 2
            return y.data

        run = compile(step) if compiled else step
        found = []
        for number in range(10):
            if number == 4:
                held.settings.scale = 0.25
            if number == 5:
                held.settings.power = 3
            if number == 7:
                held.settings.more = (np.zeros(4), "x")
            if number == 8:
                held.weights[1] = {"b": np.full(4, 0.5)}
            y = run(batch(number, np.float64)[0])
            found.append(copies([y, held.weights[0].grad, held.weights[1]["b"], held.last]))
        return found

    assert_same_bits(results(True), results(False))


def test_several_backward_passes_in_one_step():
    def results(compiled):
        training = Training("dropout", "Adam", np.float32)

        def step(x, labels):
            training.optimizer.zero_grad()
            for part in (slice(0, 4), slice(4, 8)):
                loss = training.loss(training.net(x[part]), labels[part]) / 2
                loss.backward()
            norm = np.sqrt(sum((p.grad**2).sum() for p in training.net.parameters()))
            for p in training.net.parameters():
                p.grad = p.grad * np.minimum(1.0, 0.1 / (norm + 1e-6))
            training.optimizer.step()
            training.net.zero_grad()
            loss = training.loss(training.net(x), labels)
            loss.backward()
            training.optimizer.step()
            return loss, norm

        run_step = compile(step) if compiled else step
        manual_seed(2)
        found = []
        for number in range(6):
            found.append(copies(list(run_step(*batch(number, np.float32))[1:])))
            found.append(copies(training.seen()))
        if compiled:
            assert run_step.eager_calls == 0
            assert len(run_step.traces) == 1
        return found

    assert_same_bits(results(True), results(False))


def test_a_generator_as_an_argument():
    def step(x, rng):
        return F.dropout(x, 0.5, rng=rng) + rng.normal(size=4)

    compiled = compile(step)
    mine, other = np.random.default_rng(1), np.random.default_rng(1)
    for number in range(5):
        x = batch(number, np.float64)[0]
        assert_same_bits(compiled(x, mine), step(x, other))
    assert compiled.eager_calls == 0
    assert len(compiled.traces) == 1


def test_state_in_slots_and_queues():
    @dataclasses.dataclass(slots=True, frozen=True)
    class Held:
        weight: Tensor
        table: np.ndarray

    def results(compiled):
        held = Held(Tensor(np.ones(4), requires_grad=True), np.zeros(4))
        last = collections.deque([np.zeros(4)], maxlen=1)

        def step(x):
            held.weight.grad = None
            y = x * held.weight + held.table + last[0]
            y.sum().backward()
            last[0] = held.weight.grad * 0.5
            held.table[:2] += 1
            return y.data

        run_step = compile(step) if compiled else step
        found = []
        for number in range(6):
            y = run_step(batch(number, np.float64)[0])
            found.append(copies([y, held.weight.grad, held.table, last[0]]))
        if compiled:
            assert run_step.eager_calls == 0
            assert run_step.traces
        return found

    assert_same_bits(results(True), results(False))


class Late(optim.Optimizer):
    """Numbers that are options' objects by chance, and become others later."""

    def __init__(self, params):
        super().__init__(params, lr=0.1, weight_decay=0.0, maximize=False)

    def update(self, index):
        self.steps[index] += 1
        boost = 0.0 if self.steps[index] < 6 else 1.0
        return late_rule, (), (self.group_of[index]["lr"], boost, self.steps[index] >= 8)


def late_rule(data, grad, scratch, lr, boost, is_late):
    if boost:
        data -= grad * (lr * boost)
    if is_late:
        data += 1
    data -= grad * lr


def test_numbers_of_optimizers_that_are_the_same_objects_as_options():
    def results(compiled):
        weight = nn.Parameter(np.ones(2))
        optimizer = Late([weight])

        def step(x):
            optimizer.zero_grad()
            (weight * x).sum().backward()
            optimizer.step()

        run_step = compile(step) if compiled else step
        found = []
        for _ in range(11):
            run_step(np.ones(2))
            found += copies([weight.data])
        return found

    assert_same_bits(results(True), results(False))
