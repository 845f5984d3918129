"""Saved programs: in a Python without the library, they go on as the compiled function does."""

import collections
import enum
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, manual_seed, nn, optim

X = np.arange(6, dtype=np.float32).reshape(3, 2) / 4 - 0.6
ROW = np.linspace(-1, 2, 50)
FACTOR = 0.5
Pair = collections.namedtuple("Pair", "first second")

#: Makers of functions, and the arguments by position and by name.
CASES = {}


def case(*args, then=None, **kwargs):
    """Note how to make a function, with what it is traced, and what the module is given later."""

    def note(make):
        CASES[make.__name__] = make, (args, kwargs), then or (args, kwargs)
        return make

    return note


@case(X, FACTOR, FACTOR, then=((X, 0.1, 0.9), {}))
def one_number_as_two():
    return lambda x, a, b: x * a + b


@case(X, a=FACTOR, b=FACTOR, then=((X,), {"a": 0.1, "b": 0.9}))
def one_number_by_two_names():
    return lambda x, a, b: x * a + b


NUMBERS = {"a": FACTOR, "b": [FACTOR, FACTOR], "c": (np.float32(2), np.int64(3))}
OTHERS = {"a": 0.1, "b": [0.9, 7.0], "c": (np.float32(3), np.int64(3))}


@case(X, NUMBERS, FACTOR, then=((X, OTHERS, 2.0), {}))
def one_number_in_nests():
    return lambda x, n, c: x * n["a"] + n["b"][0] * n["b"][1] - c * n["c"][0] + n["c"][1]


@case(X, np.ones((3, 2), np.float32))
def numbers_of_layers_that_are_looked_at():
    layers = nn.CELU(0.5), nn.Softshrink(0.1), nn.Hardshrink(0.2), nn.Threshold(0.1, 2.0)
    net, losses = nn.Sequential(*layers), (nn.HuberLoss(delta=0.7), nn.SmoothL1Loss(beta=0.3))
    return lambda x, y: losses[0](net(x), y) + losses[1](net(x), y)


@case(np.ones(2))
def views_of_one_array():
    base = np.zeros(6)
    head, steps = base[:2], base[::-2]

    def f(x):
        head.__iadd__(x)
        steps.__imul__(1.5)
        return base.sum(), steps * 1

    return f


@case(2.0)
def parameters_in_one_buffer():
    flat = np.arange(6.0)
    first, second = flat[:4].reshape(2, 2), flat[4:]

    def f(x):
        np.add(flat, x, out=flat)
        return first @ second

    return f


@case(ROW)
def two_generators_of_one_stream():
    bits = np.random.PCG64(3)
    a, b = np.random.Generator(bits), np.random.Generator(bits)
    return lambda x: (x + a.normal(size=50), x + b.normal(size=50))


@case(ROW)
def strides():
    back = np.random.default_rng(0).normal(size=50)[::-1]
    columns = np.asfortranarray(np.random.default_rng(1).normal(size=(4, 50)))
    every = np.random.default_rng(2).normal(size=(100, 3))[::2, 1:]
    wide = np.broadcast_to(np.float32(3), (50,))
    return lambda x: (back @ x, columns @ x, x @ every, wide @ x)


for bits in (np.random.Philox, np.random.SFC64, np.random.MT19937, np.random.PCG64DXSM):

    def make(bits=bits):
        layer = nn.Dropout(0.5, rng=np.random.Generator(bits(1)))
        rng = np.random.Generator(bits(2))
        return lambda x: (layer(x).data, rng.normal(size=3, scale=x[0]))

    make.__name__ = bits.__name__
    case(np.ones(3))(make)


class Mine(optim.Adam):
    warm = 3
    table = (1.0, [1.0, 0.5])

    def update(self, index):
        rule, memory, (rate, *others) = super().update(index)
        rate *= self.table[1][self.steps[index] % 2]
        return rule, memory, (rate * slower(self.steps[index], self.warm), *others)


class Twice(Mine):
    @staticmethod
    def half(number):
        return number / math.sqrt(4)

    def update(self, index):
        rule, memory, (rate, *others) = super().update(index)
        return rule, memory, (self.half(rate) * self.lr, *others)


def slower(step, warm):
    return min(1.0, step / warm)


for kind in (Mine, Twice, optim.RAdam, optim.Adadelta, optim.Adamax):

    def make(kind=kind):
        manual_seed(0)
        net = nn.Linear(2, 1)
        optimizer = kind(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

        return step

    make.__name__ = kind.__name__
    case(X)(make)


@case(X, X + 1, X + 2)
def rest():
    return lambda x2, b, *rest: x2 * b + rest[0]


@case(X)
def functions_of_numpy():
    def f(x):
        windows = np.lib.stride_tricks.sliding_window_view(x, 2, 0)
        return np.apply_along_axis(np.sum, 0, x), windows * 2, np.emath.sqrt(x - 9)

    return f


for kind in (nn.LSTM, nn.GRU, nn.RNN):

    def make(kind=kind):
        manual_seed(0)
        net = kind(2, 3)
        return lambda x: net(x[:, None])[0].detach()

    make.__name__ = kind.__name__
    case(X)(make)

for kind in (nn.GaussianDropout, nn.AlphaDropout, nn.Dropout):

    def make(kind=kind):
        manual_seed(0)
        layer = kind(0.3)
        return lambda x: layer(x)

    make.__name__ = kind.__name__
    case(X)(make)


@case(np.ones(2))
def numbers_of_numpy():
    total, limit, file = np.float64(0.5), np.float32(np.inf), np.zeros(2)

    def f(x):
        nonlocal total
        total = total + x[0]
        file.__iadd__(x)
        return x * total, np.minimum(x, limit), file * 2

    return f


@case(X)
def results():
    key = (1, "a")
    return lambda x: {key: Pair(x * 2, [x]), None: collections.OrderedDict(b=x + 1, a=x)}


@case(X, X.astype([("a", "f4")])["a"], np.float16, nest=(1, {"k": X * 2}), state=2.0)
def arguments():
    def f(x, view, kind, *, nest, state):
        return x * nest[0] + nest[1]["k"] * state - view, x.astype(kind)

    return f


PROGRAM = """
import importlib, pickle, sys

class Refuses:
    def find_spec(self, name, *others):
        if name.split(".")[0] == "microgrand":
            raise ImportError("microgrand is not to be imported")

sys.meta_path.insert(0, Refuses())
with open("arguments.pickle", "rb") as file:
    given = pickle.load(file)
found = {}
for name, (args, kwargs) in given.items():
    try:
        step = importlib.import_module(f"saved_{name}").step
        found[name] = [pickle.dumps(plain(step(*args, **kwargs))) for _ in range(3)]
    except Exception as error:
        found[name] = repr(error)
assert not any(name.split(".")[0] == "microgrand" for name in sys.modules)
with open("results.pickle", "wb") as file:
    pickle.dump(found, file)
"""
#: Named tuples are of classes that only one of the two has.
PLAIN = """
def plain(tree):
    if isinstance(tree, dict):
        return {key: plain(item) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [type(tree).__name__, [plain(item) for item in tree]]
    return getattr(tree, "data", tree) if type(tree).__name__ == "Tensor" else tree
"""
names = {}
exec(PLAIN, names)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Save all programs, run them in one fresh Python, and run the compiled functions on."""
    folder = tmp_path_factory.mktemp("saved")
    expected = {}
    for name, (make, (args, kwargs), (later, later_kwargs)) in CASES.items():
        compiled = compile(make())
        for _ in range(3):
            compiled(*args, **kwargs)
        try:
            compiled.save(folder / f"saved_{name}.py")
        except Exception as error:
            expected[name] = error
            continue
        expected[name] = [names["plain"](compiled(*later, **later_kwargs)) for _ in range(3)]
    with open(folder / "arguments.pickle", "wb") as file:
        pickle.dump({name: then for name, (_, _, then) in CASES.items()}, file)
    environment = {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, "-c", PLAIN + PROGRAM]
    subprocess.run(command, cwd=folder, check=True, env=environment)
    with open(folder / "results.pickle", "rb") as file:
        return pickle.load(file), expected


@pytest.mark.parametrize("name", CASES)
def test_a_saved_program_goes_on_as_the_function_does(both, name):
    found, expected = both[0][name], both[1][name]
    assert isinstance(expected, list), expected
    assert isinstance(found, list), found
    for result, e in zip(map(pickle.loads, found), expected, strict=True):
        assert_same_bits(result, e)


# ------------------------------------------------------------------------------ refusals


def saved(function, *args, path, **kwargs):
    """Compile a function, save its program, and run the module."""
    compiled = compile(function)
    for _ in range(3):
        compiled(*args, **kwargs)
    compiled.save(path / "program.py")
    names = {"__file__": str(path / "program.py")}
    exec((path / "program.py").read_text(encoding="utf-8"), names)
    return names["step"]


class Key(enum.Enum):
    A = 1


class Level(enum.IntEnum):
    A = 1


OBJECTS = np.array([1.0, 2.0], dtype=object)


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda x: {Key.A: x * 2}, "a Key, which a module"),
        (lambda x: {Level.A: x * 2}, "a Level, which a module"),
        (lambda x: (x, Key.A), "a Key, which a module"),
        (lambda x: x * OBJECTS, "reads OBJECTS, an array of objects"),
        (lambda _program: _program * 2, "parameter called '_program'; rename it"),
        (lambda np: np * 2, "parameter called 'np'; rename it"),
        (lambda x: x * 2 if x.flags.owndata else x, "whose memory arrays are in"),
    ],
)
def test_what_cannot_be_in_a_module_is_refused(function, match, tmp_path):
    with pytest.raises(TypeError, match=match):
        saved(function, np.ones(2), path=tmp_path)
    assert not (tmp_path / "program.py").exists()


def test_parameters_that_are_no_names_are_refused(tmp_path):
    for name in ("class", "a b"):
        with pytest.raises(TypeError, match=f"parameter called '{name}'; rename it"):
            saved(lambda **options: 2 * next(iter(options.values())), path=tmp_path, **{name: X})


def test_a_state_that_has_changed_since_is_refused(tmp_path):
    net, gradient = nn.Linear(2, 1), nn.Linear(2, 1)
    for p in gradient.parameters():
        p.grad = np.ones_like(p.data)
    for change, function in (
        (net.eval, lambda x: net(x).detach()),
        (gradient.zero_grad, lambda x: gradient.weight.grad * 2),
    ):
        compiled = compile(function)
        for _ in range(3):
            compiled(X)
        change()
        with pytest.raises(RuntimeError, match="no longer such as when the latest program"):
            compiled.save(tmp_path / "program.py")


def test_a_groups_options_are_written_once_for_all_parameters(tmp_path):
    weights = [nn.Parameter(np.ones(2)) for _ in range(5)]
    optimizer = optim.Adam(weights, lr=0.1)

    def step():
        optimizer.zero_grad()
        sum((weight * weight).sum() for weight in weights).backward()
        optimizer.step()

    saved(step, path=tmp_path)
    text = (tmp_path / "program.py").read_text()
    assert text.count("'betas': (") == 2  # as a default, and of the group


def test_an_optimizer_with_numbers_from_elsewhere_is_refused(tmp_path):
    weight = nn.Parameter(np.ones(2))

    class Elsewhere(optim.SGD):
        def update(self, index):
            rule, memory, (lr, decay) = super().update(index)
            self.steps[index] += 1
            return rule, memory, (lr / self.steps[index] / held["by"], decay)

    held = {"by": 2.0}
    optimizer = Elsewhere([weight], lr=0.1)

    def step():
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()

    with pytest.raises(TypeError, match=r"numbers of Elsewhere.update cannot be computed"):
        saved(step, path=tmp_path)


def test_a_saved_program_asks_the_same_of_numbers(tmp_path):
    step = saved(lambda x, a, scale=1.0: x * 2 if a > 0 else x * 3, X, 1.0, path=tmp_path)
    assert_same_bits(step(X, 2.0), X * 2)
    with pytest.raises(ValueError, match="do something else than was traced"):
        step(X, -1.0)


def test_a_saved_program_tells_kinds_of_numbers(tmp_path):
    step = saved(lambda x, a, n: x * a * n, X, 1.0, np.int64(2), path=tmp_path)
    for args, error, match in (
        ((X, 1, np.int64(2)), TypeError, "a is a float, as when it was traced; got 1"),
        ((X, 1.0, np.int64(3)), ValueError, "n is np.int64.2., as when it was traced"),
        ((X, np.float64(1), np.int64(2)), TypeError, "a is a float"),
    ):
        with pytest.raises(error, match=match):
            step(*args)


def test_a_saved_program_tells_one_array_from_two(tmp_path):
    step = saved(lambda x, y: x * 2 if x is y else x * 3, X, X + 1, path=tmp_path)
    with pytest.raises(ValueError, match="x and y are two arrays"):
        step(X, X)
