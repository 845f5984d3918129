"""`compile` of steps as users write them, with things that change between calls: eager's bits."""

import contextlib
import copy
import enum
import functools
import math
import operator
import warnings

import numpy as np
import pytest
from compiled import assert_same_bits

import microgrand
from microgrand import (
    Tensor,
    compile,
    enable_grad,
    grad,
    hessian,
    jacobian,
    manual_seed,
    nn,
    no_grad,
    optim,
    primitive,
    value_and_grad,
    vjp,
)
from microgrand.nn import functional as F


def draw(seed, *shape, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def vector(n):
    return (draw(n, 4),)


def batch(n, dtype=np.float64):
    return draw(n, 5, 4, dtype=dtype), np.random.default_rng(n).integers(0, 3, 5)


def net_of(*middle, dtype=np.float64):
    return nn.Sequential(nn.Linear(4, 6, dtype=dtype), *middle, nn.Linear(6, 3, dtype=dtype))


class Task:
    """A function, its arguments in each call, what changes before a call, and what others see."""

    def __init__(self, function, arguments=vector, change=lambda n: None, seen=lambda: None):
        self.function, self.arguments = function, arguments
        self.change, self.seen = change, seen


def trained(net, optimizer, change=lambda n: None, more=lambda: None, dtype=np.float64):
    """Make the task to train a net."""

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        more()
        optimizer.step()
        return loss

    return Task(step, lambda n: batch(n, dtype), change, lambda: state_of(net, optimizer))


def state_of(net, *optimizers):
    memory = [{k: v for k, v in vars(o).items() if k != "parameters"} for o in optimizers]
    return {
        "parameters": [p.data for p in net.parameters()],
        "gradients": [p.grad for p in net.parameters()],
        "masks": [getattr(module, "mask", None) for module in net.modules()],
        "optimizers": memory,
        "generator": str(microgrand.random.default_generator.bit_generator.state),
    }


def with_all_options_of_adam():
    net = net_of(nn.ReLU(), nn.Dropout(0.5), dtype=np.float32)
    optimizer = optim.Adam(net.parameters(), 0.01, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1)

    def change(n):
        if n == 4:
            optimizer.lr = 0.5
        if n == 5:
            optimizer.betas = 0.7, 0.9
        if n == 6:
            optimizer.eps, optimizer.weight_decay = 1e-2, 0.0

    return trained(net, optimizer, change, dtype=np.float32)


def with_momentum_that_changes():
    net = net_of(nn.ReLU(), nn.AlphaDropout(0.5), dtype=np.float16)
    optimizer = optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=0.1, nesterov=True)

    def change(n):
        if n == 4:
            optimizer.nesterov = False
        if n == 5:
            optimizer.momentum = 0.0
        if n == 6:
            net.eval()

    return trained(net, optimizer, change, dtype=np.float16)


def with_a_schedule_of_dropout():
    net = net_of(nn.ReLU(), nn.Dropout(0.0))
    optimizer = optim.AdamW(net.parameters())
    schedule = nn.linear_schedule(0.0, 0.5, 6)

    def change(n):
        nn.set_dropout(net, schedule(n))
        optimizer.lr = 0.1 / (n + 1)

    return trained(net, optimizer, change)


def with_clipped_gradients():
    net = net_of()

    def clip():
        total = np.sqrt(sum(np.sum(p.grad**2) for p in net.parameters()))
        for p in net.parameters():
            p.grad = p.grad * np.minimum(1.0, 1.0 / (total + 1e-6))

    return trained(net, optim.SGD(net.parameters(), 0.1), more=clip)


def with_averaged_parameters():
    net = net_of()
    averages = [p.data.copy() for p in net.parameters()]

    def average():
        for mean, p in zip(averages, net.parameters(), strict=True):
            mean *= 0.9
            mean += 0.1 * p.data

    task = trained(net, optim.SGD(net.parameters(), 0.1), more=average)
    task.seen = lambda: averages
    return task


def with_parameters_that_are_loaded_replaced_and_frozen():
    net = net_of()

    def change(n):
        if n == 4:
            net.load_state_dict({k: v * 0.5 for k, v in net.state_dict().items()})
        if n == 5:
            for p in net.parameters():
                p.data = p.data.copy()
        if n == 6:
            net[0].weight.requires_grad = False

    return trained(net, optim.SGD(net.parameters(), 0.1), change)


def with_two_nets():
    net, other = net_of(), net_of()
    first = optim.Adam(net.parameters())
    second = optim.SGD(other.parameters(), 0.1, momentum=0.9)

    def step(x, labels):
        first.zero_grad()
        second.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        first.step()
        distance = F.mse_loss(other(x), net(x).detach())
        distance.backward()
        second.step()
        return loss, distance

    return Task(step, batch, seen=lambda: (state_of(net, first), state_of(other, second)))


def with_masks_that_are_held_in_it():
    net = net_of(nn.Dropout(0.5))

    def f(x):
        masks = nn.DropoutMasks()
        with masks:
            first = net(x)
        with masks:
            second = net(x)
        return (first - second).detach(), first.detach()

    return Task(f, lambda n: batch(n)[:1], seen=lambda: state_of(net))


def with_a_sample_of_thinned_nets():
    net, rng = net_of(nn.Dropout(0.5), nn.GaussianDropout(0.5)), np.random.default_rng(3)

    def f(x):
        first, second = nn.mc_dropout(net, x, 3), nn.mc_dropout(net, x, 2, rng=rng)
        return first, second, nn.mc_dropout(net, x, 2, rng=0)

    return Task(f, lambda n: batch(n)[:1], lambda n: net.eval(), lambda: state_of(net))


def with_gradients_in_a_block_without():
    net = net_of()

    def f(x):
        with no_grad():
            out = net(x)
            with enable_grad():
                loss = (net(x) ** 2).sum()
                loss.backward()
        return out, loss

    return Task(f, lambda n: batch(n)[:1], seen=lambda: state_of(net))


def newtons_method():
    def f(x):
        return np.sum(x**4 + x**2)

    return Task(lambda x: x - np.linalg.solve(hessian(f)(x), grad(f)(x)))


def nested_transforms():
    def f(x):
        out, back = vjp(lambda x: np.exp(x) * x.sum(), x)
        inner = grad(lambda x: np.sum(grad(lambda y: np.sum(np.sin(y) * x))(x**2)))
        return out, back(x), jacobian(lambda x: np.tanh(x) * x[0])(x), inner(x)

    return Task(f)


def a_primitive_of_their_own():
    @primitive
    def square(x):
        return x * x

    microgrand.defvjp(square, lambda g, out, x: 2 * g * x)
    return Task(value_and_grad(lambda x: np.sum(square(x) * np.cos(x))))


def of_complex_numbers():
    def f(x):
        return np.abs(np.fft.fft(x)), np.real(x * np.conj(x)), x.imag, x.T

    return Task(f, lambda n: (draw(n, 4) + 1j * draw(n + 1, 4),))


def of_arrays_without_axes():
    return Task(lambda x: (x * 2, np.sum(x), x[()], -x), lambda n: (np.array(float(n)),))


def of_nothing():
    def f(x):
        return x * 2, x.sum(), np.concatenate([x, x]), x @ x.T, np.sum(x, axis=0)

    return Task(f, lambda n: (np.zeros((0, 3)),))


def of_integers():
    def f(x):
        return x // 2, x % 3, x << 1, ~x, x @ x, x.mean(), x.cumsum(), np.sort(x)[::-1], x / 2

    return Task(f, lambda n: (np.arange(6).astype(np.int8) + np.int8(n),))


def of_booleans():
    def f(x):
        return ~x, x & x[::-1], x.sum(), np.where(x, 1.0, 2.0), x.any(), np.logical_xor(x, True)

    return Task(f, lambda n: (draw(n, 6) > 0,))


def of_nests():
    def f(tree):
        first, second = tree["list"]
        return {"list": [first * 2, (second,)], "sum": {"x": tree["w"] + first}}

    return Task(f, lambda n: ({"w": draw(n, 2), "list": [draw(n + 1, 2), float(n)]},))


def that_raises_in_the_middle():
    task = with_all_options_of_adam()

    def arguments(n):
        x, labels = batch(n, np.float32)
        return (x[:, :2] if n == 6 else x), (labels + 7 if n in (2, 4) else labels)

    task.arguments = arguments
    return task


def with_a_key_that_comes_later():
    numbers = {"a": 2.0}

    def f(x):
        try:
            return x * numbers["b"]
        except KeyError:
            return x * 3

    return Task(f, change=lambda n: numbers.update(b=5.0) if n == 5 else None)


def with_a_decorator():
    def scaled(function):
        @functools.wraps(function)
        def wrapper(*args):
            return function(*args) * wrapper.scale

        return wrapper

    @scaled
    def f(x):
        return x + 1

    f.scale = 2.0
    return Task(f, change=lambda n: setattr(f, "scale", float(n)))


class Descent:
    """Descent as a class with a rate of all and parameters of each."""

    lr = 0.1

    def __init__(self):
        self.w = np.ones(4)

    def step(self, x):
        self.w = self.w - self.lr * x
        return self.w * 1


def a_method():
    descent = Descent()
    change = lambda n: setattr(descent, "lr", n / 10)
    return Task(descent.step, change=change, seen=lambda: descent.w)


def generators_and_comprehensions():
    def rows(x):
        for row in x:
            yield row * 2

    def f(x):
        a, *others = x
        products = map(operator.mul, others, others[::-1])
        return sum(rows(x)), [row * k for k, row in enumerate(x)], list(products), a

    return Task(f, lambda n: (draw(n, 4, 2),))


def state_in_dicts():
    state = {"mean": np.zeros(4), "square": np.zeros(4)}

    def f(g):
        state["mean"] = 0.9 * state["mean"] + 0.1 * g
        state["square"] = 0.99 * state["square"] + 0.01 * g * g
        state["mean"], state["square"] = state["mean"] * 1, state["square"] * 1
        return state["mean"] / (np.sqrt(state["square"]) + 1e-8)

    return Task(f, seen=lambda: state)


def arrays_that_change_places():
    state = {"a": np.zeros(4), "b": np.ones(4)}

    def f(x):
        state["a"], state["b"] = state["b"] + x, state["a"]
        return state["a"] - state["b"]

    return Task(f, seen=lambda: state)


def a_variable_of_the_closure():
    memory, factor = np.zeros(4), 1.0

    def f(x):
        nonlocal memory
        memory = memory * factor + x
        return memory * 1

    def change(n):
        nonlocal factor
        factor = n / 7

    return Task(f, change=change)


def a_recurrent_net():
    w, u = nn.Parameter(draw(0, 3, 3)), nn.Parameter(draw(1, 2, 3))
    optimizer = optim.SGD([w, u], 0.01)

    def step(inputs):
        optimizer.zero_grad()
        state = np.zeros(3)
        for x in inputs:
            state = np.tanh(state @ w + x @ u)
        loss = (state**2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return Task(step, lambda n: (draw(n, 4 + n % 2, 2),), seen=lambda: (w.data, u.data))


def a_running_mean():
    class Centered(nn.Module):
        def __init__(self):
            self.mean = nn.Buffer(np.zeros(4))

        def forward(self, x):
            if not self.training:
                return x - self.mean
            mean = np.mean(x, axis=0)
            self.mean.data = self.mean.data * 0.9 + 0.1 * mean.data
            return x - mean

    net = Centered()
    change = lambda n: net.eval() if n == 5 else None
    return Task(
        lambda x: net(Tensor(x)).detach(), lambda n: (draw(n, 5, 4),), change, lambda: net.mean.data
    )


class Kind(enum.Enum):
    """How a function is called."""

    FIRST = 1
    SECOND = 2


def arguments_that_are_no_numbers():
    def f(x, kind, name, function, bias=None):
        x = x * 2 if kind is Kind.FIRST else x * 3
        x = function(getattr(np, name)(x))
        return x if bias is None else x + bias

    def arguments(n):
        kind, name = (Kind.FIRST, "sin") if n < 4 else (Kind.SECOND, "cos")
        return draw(n, 4), kind, name, np.tanh, *([draw(n, 4)] if n == 6 else [])

    return Task(f, arguments)


def draws_of_all_kinds():
    rng = np.random.default_rng(5)

    def f(x):
        normal = rng.normal(0, 1, 4) * x
        return rng.random(3), normal, rng.integers(0, 9, 4), rng.permutation(x), rng.choice(x, 2)

    return Task(f, seen=lambda: str(rng.bit_generator.state))


def masks_and_indices_that_it_closes_over():
    index, mask = np.array([0, 2, 1]), np.array([True, False, True, True])

    def change(n):
        index[0] = n % 4
        mask[1] = n % 2 == 0

    return Task(lambda x: (x[index], x[mask], np.take(x, index), x[::-1]), change=change)


def parts_of_a_matrix():
    def f(x):
        decomposed = np.linalg.qr(x), np.linalg.svd(x), np.linalg.slogdet(x)
        symmetric = np.linalg.cholesky(x @ x.T + np.eye(4)), np.linalg.eigvalsh(x + x.T)
        return decomposed, symmetric, np.linalg.inv(x), np.trace(x), np.linalg.norm(x, 2)

    return Task(f, lambda n: (draw(n, 4, 4),))


def order_and_statistics():
    def f(x):
        quantiles = np.median(x), np.quantile(x, 0.3), np.percentile(x, [10, 90])
        return np.sort(x), np.argsort(x), quantiles, x.std(), x.var(ddof=1), np.ptp(x)

    return Task(f)


def where_and_out():
    def f(x):
        out = np.empty_like(x)
        np.divide(1, x, out=out, where=x > 0)
        out[x <= 0] = 0
        return out

    return Task(f)


def with_warnings():
    def f(x):
        with np.errstate(invalid="ignore"):
            y = np.sqrt(x)
        return y, 1 / np.floor(x)

    return Task(f)


def numbers_of_python():
    factor = 2.0

    def f(x):
        return x * math.pi * (2 if isinstance(factor, float) and 0 < factor < 9 else 3) * factor

    def change(n):
        nonlocal factor
        factor = float(n + 1) * 1.5

    return Task(f, change=change)


def a_context_manager():
    class Scaled(contextlib.ContextDecorator):
        scale = 1.0

        def __enter__(self):
            self.scale = 3.0
            return self

        def __exit__(self, *exception):
            self.scale = 1.0

    block = Scaled()
    block.scale = 1.0

    def f(x):
        with block as inside:
            return x * inside.scale

    return Task(f)


def functions_in_a_list():
    layers = [np.tanh, np.sin]

    def change(n):
        if n == 4:
            layers.append(np.cos)
        if n == 5:
            layers.reverse()

    return Task(lambda x: functools.reduce(lambda x, layer: layer(x), layers, x), change=change)


def views_of_arguments():
    broadcast = np.broadcast_arrays
    return Task(lambda x: (x[1:], x.T, x.reshape(2, 2), x, x, broadcast(x, np.ones((2, 1)))))


TASKS = [
    *(with_all_options_of_adam, with_momentum_that_changes, with_a_schedule_of_dropout),
    *(with_clipped_gradients, with_averaged_parameters, with_two_nets, newtons_method),
    *(with_parameters_that_are_loaded_replaced_and_frozen, with_masks_that_are_held_in_it),
    *(
        with_a_sample_of_thinned_nets,
        with_gradients_in_a_block_without,
        nested_transforms,
        a_primitive_of_their_own,
    ),
    *(of_complex_numbers, of_arrays_without_axes, of_nothing, of_integers, of_booleans, of_nests),
    *(that_raises_in_the_middle, with_a_key_that_comes_later, with_a_decorator, a_method),
    *(generators_and_comprehensions, state_in_dicts, arrays_that_change_places),
    *(a_variable_of_the_closure, a_recurrent_net, a_running_mean, arguments_that_are_no_numbers),
    *(draws_of_all_kinds, masks_and_indices_that_it_closes_over, parts_of_a_matrix),
    *(order_and_statistics, where_and_out, with_warnings, numbers_of_python, a_context_manager),
    *(functions_in_a_list, views_of_arguments),
]


@pytest.mark.parametrize("make", TASKS, ids=lambda make: make.__name__)
def test_bits_are_those_of_eager_code(make):
    runs = []
    for compiled in (False, True):
        manual_seed(0)
        task = make()
        function = compile(task.function) if compiled else task.function
        runs.append([])
        for n in range(7):
            task.change(n)
            arguments = task.arguments(n)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    result = function(*arguments)
                except ValueError as error:
                    result = str(error)
            told = [str(warning.message) for warning in caught]
            runs[-1].append((result, list(arguments), told, copy.deepcopy(task.seen())))
    assert function.traces
    for result, expected in zip(runs[1], runs[0], strict=True):
        assert_same_bits(result, expected)
