"""`compile`: errors and warnings that a function catches, and errors in the middle of a step."""

import warnings

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, manual_seed
from microgrand.nn import Linear, Parameter
from microgrand.optim import Adam

TABLE = np.arange(3.0)
GOOD, BAD = np.eye(2), np.diag([1.0, -1.0])


def often(compiled):
    for _ in range(20):
        compiled(BAD)


def jitter(k):
    try:
        return np.linalg.cholesky(k)
    except np.linalg.LinAlgError:
        return np.linalg.cholesky(k + 10 * np.eye(2))


def asked_only(k):
    try:
        np.linalg.cholesky(k)
    except np.linalg.LinAlgError:
        return k * 0
    return k * 2


def errstate_inside(k):
    with np.errstate(all="raise"):
        try:
            return 1 / (k + 1)
        except FloatingPointError:
            return k * 5


def warnings_are_errors(k):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.sqrt(k)
        except RuntimeWarning:
            return k * 5


def warnings_are_kept(k):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        root = np.sqrt(k)
    return k * 5 if told else root


def places(k):
    try:
        return TABLE[((1 - k[1]) * 2).astype(int)]
    except IndexError:
        return k * 0


def after_a_change():
    count = np.zeros(1)

    def f(k):
        count[0] += 1
        return jitter(k) * count

    return f


FUNCTIONS = [
    *(jitter, asked_only, errstate_inside, warnings_are_errors, warnings_are_kept, places),
    after_a_change,
]


@pytest.mark.parametrize("order", ["gggbbgg", "bbbgggb", "gbgbgbg"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_errors_that_are_caught(function, order):
    f, g = (function(), function()) if function is after_a_change else (function, function)
    compiled = compile(g)
    for letter in order:
        k = GOOD if letter == "g" else BAD
        assert_same_bits(compiled(k.copy()), f(k.copy()))
    assert compiled.traces or order == "gbgbgbg"
    assert compiled.eager_calls


def test_numbers_that_raise():
    def f(x, n):
        try:
            return x / (1 / n)
        except ZeroDivisionError:
            return x * 5

    compiled = compile(f)
    for n in (0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0):
        assert_same_bits(compiled(GOOD, n), f(GOOD, n))
    assert compiled.traces


def test_an_error_that_no_value_decides_is_part_of_the_program():
    def f(k):
        try:
            return np.concatenate([k, k], axis=5)
        except np.exceptions.AxisError:
            return k * 5

    compiled = compile(f)
    for n in range(4):
        assert_same_bits(compiled(GOOD * n), f(GOOD * n))
    assert compiled.traces
    assert compiled.eager_calls == 0


def test_a_function_that_always_catches_is_told_of():
    compiled = compile(jitter)
    with pytest.warns(RuntimeWarning, match=r"test_compile_errors.py:\d+: \S*jitter has caught"):
        often(compiled)


@pytest.mark.parametrize(
    "function",
    [
        lambda k: np.nanmean(np.where(k > 5, k, np.nan)),
        lambda k: np.polyfit(np.arange(2.0), k[0] * 0, 5),
    ],
)
def test_warnings_of_python_are_not_asked_for(function):
    def f(k):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                return function(k) * k
            except Warning:
                return k * 5

    with pytest.raises(TypeError, match=r"test_compile_errors.py:\d+: np\.\w+ warns depending on"):
        compile(f)(GOOD)


def test_numpy_calls_nobody():
    met = []

    def f(k):
        with np.errstate(all="call", call=lambda *error: met.append(error)):
            root = np.sqrt(k)
        return k * 5 if met else root

    with pytest.raises(TypeError, match=r'test_compile_errors.py:\d+: .*"ignore" or "raise"'):
        compile(f)(GOOD)


def test_seterr():
    def f(k):
        np.seterr(divide="ignore")
        return 1 / k

    with pytest.raises(TypeError, match=r"test_compile_errors.py:\d+: .*np.seterr"):
        compile(f)(GOOD)
    assert np.geterr()["divide"] == "warn"


def test_warnings_that_are_silenced_inside():
    def f(k):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "divide by zero")
            return 1 / k

    compiled = compile(f)
    for _ in range(4):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled(GOOD)
    assert compiled.traces


def facts(net, seen, optimizer, rng):
    of_net = [(p.data, p.grad, p.version) for p in net.parameters()]
    return of_net, seen, optimizer.steps, optimizer.memory, rng.bit_generator.state


def test_an_error_after_the_first_change():
    def make():
        manual_seed(0)
        net, seen = Linear(2, 1), np.zeros(1)
        table, rng = np.arange(3.0), np.random.default_rng(0)
        optimizer = Adam(net.parameters())

        def step(x, i):
            seen[0] += 1
            optimizer.zero_grad()
            (net(x) ** 2).sum().backward()
            optimizer.step()
            net.bias.grad = None
            noise = rng.normal()
            net.weight.requires_grad = bool(seen.shape)
            return table[i] * noise

        return (net, seen, optimizer, rng), step

    (kept, f), (ours, g) = make(), make()
    compiled = compile(g)
    for n in range(12):
        for step in (f, compiled):
            x = np.full((1, 2), n, np.float32)
            if n % 4 == 3:
                with pytest.raises(IndexError, match="out of bounds"):
                    step(x, np.array([9]))
            else:
                step(x, np.array([0]))
        assert_same_bits(facts(*ours), facts(*kept))
    assert compiled.traces
    assert compiled.eager_calls == 3


def test_a_replaced_gradient_is_there_after_an_error():
    def make():
        weight, seen, table = Parameter(np.ones(2)), np.zeros(1), np.arange(3.0)

        def step(x, i):
            seen[0] += 1
            weight.grad = None
            (weight * x).sum().backward()
            return table[i] * 1

        return weight, step

    (weight, f), (twin, g) = make(), make()
    compiled = compile(g)
    for n in range(5):
        for step in (f, compiled):
            place = np.array([0 if n < 4 else 9])
            try:
                step(np.full(2, float(n)), place)
            except IndexError:
                assert n == 4
        assert_same_bits(twin.grad, weight.grad)


def test_an_error_while_tracing_is_that_of_eager_code():
    count, rng = np.zeros(1), np.random.default_rng(0)
    names = []

    def f(x):
        count[0] += rng.random()
        names.append(1)
        return x @ x

    error = r"matmul: Input operand"
    state = rng.bit_generator.state
    with pytest.raises(ValueError, match=error):
        compile(f)(np.ones((2, 3)))
    after, drawn = rng.bit_generator.state, count.copy()
    rng.bit_generator.state, count[0] = state, 0
    names.clear()
    with pytest.raises(ValueError, match=error):
        f(np.ones((2, 3)))
    assert rng.bit_generator.state == after
    assert_same_bits(drawn, count)
    assert names == [1]


def test_an_error_of_tracing_only_is_refused():
    count = np.zeros(1)

    def f(x):
        count[0] += 1
        return np.frombuffer(x) * 2

    with pytest.raises(
        TypeError, match=r"test_compile_errors.py:\d+: this raised .* array"
    ) as told:
        compile(f)(np.ones(2))
    assert "Recorded" not in str(told.value)
    assert count == 0


def test_errors_that_native_code_would_not_raise():
    pytest.importorskip("numba")

    def f(x):
        with np.errstate(all="raise"):
            try:
                return np.exp(1 / (x * 2 - 2) - 3) * 2 + x
            except FloatingPointError:
                return x

    compiled = compile(f, backend="numba")
    for n in (5, 6, 7, 1, 5):
        x = np.full(3, float(n))
        assert_same_bits(compiled(x), f(x))
    assert compiled.traces


def test_an_error_that_the_caller_asks_for():
    def make():
        weight = Parameter(np.ones(2))

        def f(x):
            weight.data += 1
            weight.grad = None
            try:
                y = 1 / x
            except FloatingPointError:
                y = x * 5
            (weight * y).sum().backward()

        return weight, f

    (weight, f), (twin, g) = make(), make()
    compiled = compile(g)
    with np.errstate(all="raise"):
        for n in (1, 2, 3, 0, 4):
            f(np.full(2, float(n)))
            compiled(np.full(2, float(n)))
            assert_same_bits((twin.data, twin.grad), (weight.data, weight.grad))
    assert compiled.eager_calls == 1


def test_objects_of_python_in_an_array():
    objects = np.array([{"a": 2.0}, None], dtype=object)
    compiled = compile(lambda x: x * objects[0]["a"])
    with pytest.raises(TypeError, match=r"test_compile_errors.py:\d+: here a dict is taken out"):
        compiled(GOOD)


def into_places(k):
    array = np.zeros_like(k[0])
    np.add.at(array, (2 - 2 * k[1, 1]).astype(int), 1)
    return array


def powers(k):
    return np.arange(2) ** k[1].astype(int)


def nothing_but_nan(k):
    return np.nanargmax(np.sqrt(k[1] - 0.5 * (k[1, 1] < 0)))


@pytest.mark.parametrize("fails", [into_places, powers, nothing_but_nan, np.linalg.cholesky])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_late_error_that_is_caught(fails):
    def make():
        count = np.zeros(1)

        def f(k):
            count[0] += 1
            try:
                return fails(k) + count
            except (ValueError, IndexError):
                return count * 100

        return f

    f, compiled = make(), compile(make())
    for k in (GOOD, GOOD, GOOD, BAD, GOOD, BAD):
        assert_same_bits(compiled(k.copy()), f(k.copy()))
    assert compiled.traces
    assert compiled.eager_calls == 2
