"""The native backend: eager's numbers to a few units in the last place, and what is not native."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from compiled import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from test_compile_functions import as_function, same_inputs
from test_compile_steps import FLOATS, LAYERS, OPTIMIZERS, Training, batch, copies, run

from microgrand import Tensor, compile, grad, hvp, manual_seed, nn, value_and_grad
from microgrand.nn import functional as F
from microgrand.program import lowering, native, native_library, numba_cache, rolling, running
from microgrand.testing import strategies

pytest.importorskip("numba")
pytest.importorskip("scipy")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep machine code for the tests of one session, in their own folder."""
    base = tmp_path_factory.getbasetemp() / "cache"
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(base))


@pytest.fixture
def in_python(monkeypatch):
    """Run the parts as the Python that they are: Numba takes seconds for each program."""
    monkeypatch.setattr(numba_cache, "build", run_in_python)


def run_in_python(name, text, given):
    names = {**vars(native_library)}
    exec(text, names)
    part = names[name]

    def call(*args):
        with np.errstate(all="ignore"):
            return part(*args)

    call.__name__ = name
    return call


def assert_close(result, expected, ulps=64):
    """Compare kinds, dtypes, shapes and, to rounding, numbers: the largest may be off by `ulps`."""
    if isinstance(expected, (list, tuple)):
        assert type(result) is type(expected)
        assert len(result) == len(expected)
        for r, e in zip(result, expected, strict=True):
            assert_close(r, e, ulps)
    elif isinstance(expected, dict):
        assert result.keys() == expected.keys()
        for key in expected:
            assert_close(result[key], expected[key], ulps)
    elif isinstance(expected, Tensor):
        assert_close(result.data, expected.data, ulps)
    elif isinstance(expected, (np.ndarray, np.generic)) and expected.dtype.kind == "f":
        assert type(result) is type(expected)
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        largest = np.max(np.abs(expected), initial=1, where=np.isfinite(expected))
        eps = np.finfo(expected.dtype).eps
        np.testing.assert_allclose(result, expected, rtol=ulps * eps, atol=ulps * eps * largest)
    else:
        assert_same_bits(result, expected)


def assert_runs_natively(function, *arguments, calls=4, parts=1, ulps=64):
    """Call a function and its compiled self in turns; there must be native parts."""
    compiled = compile(function, backend="numba")
    for number in range(calls):
        args = [make(number) for make in arguments]
        again = [make(number) for make in arguments]
        with np.errstate(all="ignore"):
            assert_close(compiled(*again), function(*args), ulps)
            assert_close(again, args, ulps)
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0
    assert compiled.source.count("def part_") >= parts
    return compiled


def draw(shape, dtype=np.float64):
    return lambda number: np.random.default_rng((7, number)).normal(size=shape).astype(dtype)


# ------------------------------------------------------------------------------ as Python


@pytest.mark.parametrize("dtype", FLOATS)
@given(program=strategies.programs())
def test_random_programs(dtype, program):
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(numba_cache, "build", run_in_python)
        patch.setattr(lowering, "FEWEST", 1)
        f = value_and_grad(as_function(program), tuple(range(len(program.inputs))))
        assert_runs_natively(program, *same_inputs(program, dtype), parts=0, ulps=1024)
        assert_runs_natively(f, *same_inputs(program, dtype), parts=0, ulps=1024)


@given(program=strategies.programs(max_lines=6))
def test_second_derivatives_of_random_programs(program):
    def product(*inputs):
        return hvp(as_function(program), inputs, [np.ones_like(x) for x in inputs])

    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(numba_cache, "build", run_in_python)
        patch.setattr(lowering, "FEWEST", 1)
        assert_runs_natively(product, *same_inputs(program), parts=0, ulps=4096)


def assert_trains(layer, optimizer, dtype, between=lambda training, number: None, loss=None):
    options = {} if loss is None else {"loss": loss}
    eager = Training(layer, optimizer, dtype, **options)
    expected = run(eager, eager.step, dtype, between)
    training = Training(layer, optimizer, dtype, **options)
    step = compile(training.step, backend="numba")
    result = run(training, step, dtype, between)
    for number, (r, e) in enumerate(zip(result, expected, strict=True)):
        try:
            assert_close(r, e, 4096)
        except AssertionError as error:
            raise AssertionError(f"in call {number}") from error
    assert step.eager_calls == 0
    return step


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer, dtype, in_python):
    assert_trains(layer, "SGD", dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer, dtype, in_python):
    assert_trains("dropout", optimizer, dtype)


@pytest.mark.parametrize(
    ("build", "parts"), [(run_in_python, 1), (run_in_python, 2), (numba_cache.build, 1)]
)
def test_checks_in_a_part_that_also_updates(build, parts, monkeypatch):
    """A label that is none: nothing has changed, and the next step is as if nothing had been."""
    monkeypatch.setattr(numba_cache, "build", build)
    if parts == 2:  # large gradients are let go once the checks are made
        monkeypatch.setattr(running, "SMALL", 0)

    def run_with_a_wrong_label(training, backend=None):
        def step(x, labels):
            loss = training.loss(training.net(x), labels)
            training.optimizer.zero_grad()
            loss.backward()
            training.optimizer.step()
            return loss

        step = step if backend is None else compile(step, backend=backend)
        manual_seed(2)
        seen = []
        for number in range(6):
            x, labels = batch(number, np.float32)
            if number == 4:
                with pytest.raises(ValueError, match="label"):
                    step(x, labels + 2)
            else:
                step(x, labels)
            seen.append(copies(training.seen()))
        return seen, step

    expected, _ = run_with_a_wrong_label(Training("dropout", "SGD", np.float32))
    result, step = run_with_a_wrong_label(Training("dropout", "SGD", np.float32), "numba")
    assert_close(result, expected, 4096)
    assert step.eager_calls == 1
    assert "raise ValueError" in step.source
    assert step.source.count("def part_") == parts


def test_rates_that_change(in_python):
    def between(training, number):
        training.optimizer.lr = 0.1 / (number + 1)
        training.net[2].p = 0.25 if number > 3 else 0.5

    assert_trains("dropout", "SGD with momentum", np.float32, between)


def doubled_and_added(x, y):
    before = np.tanh(x) + 1
    y *= 2
    y += x
    x -= y * before
    return before, x + 0, y * x + 1


def doubled_and_read(x, y):
    y *= 2
    z = x * 3 + 1
    return z * 2, y - z


def doubled_and_left_to_numpy(x, y):
    y *= 2
    y += 1
    y *= y
    return np.cumsum(x), x * 2


@pytest.mark.parametrize("f", [doubled_and_added, doubled_and_read, doubled_and_left_to_numpy])
@pytest.mark.parametrize("places", [(slice(1, None), slice(-1)), (slice(-1), slice(1, None))])
def test_arguments_that_share_memory(f, places, in_python, monkeypatch):
    monkeypatch.setattr(lowering, "FEWEST", 1)
    compiled = compile(f, backend="numba")
    for _ in range(4):
        x, y = np.arange(5.0), np.arange(5.0)
        assert_close(compiled(*(x[p] for p in places)), f(*(y[p] for p in places)))
        assert_close(x, y)
    assert compiled.eager_calls == 0


# --------------------------------------------------------------------------- compiled by Numba


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_training_step_with_dropout(dtype):
    step = assert_trains("two dropouts", "SGD", dtype)
    assert re.search(r"net_2_2_dropout\[i \* \d+\] \* net_3_weight\[", step.source)
    assert "done by NumPy between them: raw_bytes\n" in step.source


def test_parts_are_written_with_the_names_of_the_program(in_python):
    compiled = compile(lambda x, bias: np.sum(np.tanh(x * 2 + bias) * x) + np.exp(x[0, 0]))
    compiled.backend = "numba"
    for _ in range(3):
        compiled(np.ones((2, 3)), np.ones(3))
    assert "def part_0(x, bias" in compiled.source
    assert "np.float64(tanh_float64(np.float64(sum" in compiled.source
    assert not re.search(r"\bv\d", compiled.source)


def test_adam():
    assert_trains("dropout", "Adam", np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions(dtype):
    def f(x, y, a):
        z = np.exp(-(x**2)) * np.tanh(y) + np.sqrt(np.abs(x)) / (1 + y * y)
        w = np.where(z > 0, np.maximum(z, a), np.minimum(x, y)) + np.log1p(x * x) ** 1.5
        return {
            "sums": [np.sum(w), np.sum(w, axis=0), np.sum(w, axis=(0, 2), keepdims=True)],
            "extremes": (np.max(w, axis=-1), np.min(w)),
            "mask": (w > 0.5) & ~(w < x),
            "w": w,
        }

    assert_runs_natively(
        f, draw((3, 4, 5), dtype), draw((4, 1), dtype), lambda number: 0.1 * number
    )


@pytest.mark.filterwarnings("error")
def test_parts_and_transposed_arrays():
    def f(x, y):
        z = np.tanh(x) + 1
        w = z[1:3, :] @ y + z[:, 1:2].T.reshape(4, 1)[:2] * z[2:3].reshape(6)[:4]
        z[0] *= 2
        row = z[0:2, :].reshape(12)
        row *= 3
        return w, z[:, :2].T @ z[:, 2:4], z[:1].T.reshape(6) * 2, row + 1, z, w @ y.T

    assert_runs_natively(f, draw((4, 6), np.float32), draw((6, 4), np.float32))


def test_not_a_number():
    def f(x):
        y = x * 2 + 1
        return np.max(y, axis=0), np.max(y, axis=1), np.min(y), np.maximum(y, 0), np.sum(y) / 0.0

    x = np.array([[1.0, np.nan], [2.0, 3.0]])
    assert_runs_natively(f, lambda number: x + number)


def test_gradients_of_numbers_in_an_array(in_python):
    def f(x):
        return np.sum(np.reshape(x[0], 1) * np.reshape(x[1], 1) * 3)

    assert_runs_natively(grad(f), draw(3))


def solution(y, steps=3, h=0.01):
    x, v = y[0], y[1]
    for _ in range(steps):
        a1, b1 = v, -np.sin(x) - 0.1 * v
        a2, b2 = v + h / 2 * b1, -np.sin(x + h / 2 * a1) - 0.1 * (v + h / 2 * b1)
        x, v = x + h / 2 * (a1 + a2), v + h / 2 * (b1 + b2)
    return v * v / 2 - np.cos(x)


def test_an_ordinary_differential_equation():
    f = value_and_grad(solution)
    assert_runs_natively(f, lambda number: np.array([1.0, 0.5 + number]))


def test_many_steps_are_a_loop():
    f = value_and_grad(lambda y, a: solution(y, 60) * np.sin(a))
    compiled = assert_runs_natively(
        f, lambda number: np.array([1.0, 0.5 + number]), lambda number: 0.5 + number
    )
    assert compiled.source.count("= table[") < 1000
    assert "for k in range(" in compiled.source


@settings(max_examples=10)
@given(st.data())
def test_cut_runs_are_the_run(data):
    """Random operations, some of them repeated, on numbers and in arrays between."""
    period = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=80))
    seed = data.draw(st.integers(0, 100))

    def f(y):
        rng = np.random.default_rng(seed)
        values = [y[0], y[1], y[2]]
        for number in range(300):
            a, b = values[-1 - rng.integers(3)], values[-1 - rng.integers(3)]
            kind = period[number % len(period)]
            values.append([a * 0.5 + b, a - b * 0.25, np.sin(a), -b][kind])
            if number == 150:
                z = np.zeros_like(y)
                z[1] = values[-1]
                values.append(z[1] * 0.5)
        return values[-1], values[100], z * 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_cache, "build", run_in_python)
        patch.setattr(rolling, "LONG", 100)
        assert_runs_natively(f, draw(3), calls=3, ulps=1e6)


def test_what_has_no_native_code_is_left_to_numpy():
    def f(x):
        y = np.tanh(x) * 2 + 1
        z = np.linalg.inv(y @ y.T + np.eye(3))
        return np.cumsum(z * 2 - np.exp(z), axis=0)

    compiled = assert_runs_natively(f, draw((3, 3)), parts=2)
    assert "done by NumPy between them: inv, cumsum\n" in compiled.source


def test_large_sums_of_float64_are_numpys():
    def f(x):
        y = np.tanh(x) * 2 + 1
        return np.sum(y), y - 1

    source = assert_runs_natively(f, draw(native.MOST_TERMS + 1), ulps=8).source
    assert source.startswith("# Native parts, compiled by Numba; done by NumPy between them: sum\n")
    source = assert_runs_natively(f, draw(native.MOST_TERMS)).source
    assert source.startswith(
        "# Native parts, compiled by Numba; done by NumPy between them: nothing\n"
    )


def test_large_sums_of_float32_are_exact():
    def f(x):
        y = x * 2 + 1
        return np.sum(y - 1)

    assert_runs_natively(f, draw(100_000, np.float32), ulps=64)


def test_machine_code_is_kept_on_disk():
    def step(x):
        return np.exp(x) * 2 + np.tanh(x)

    compiled = compile(step, backend="numba")
    for _ in range(3):
        compiled(np.arange(3.0))
    folder = numba_cache.folder()
    assert list(folder.glob("part_*.py"))
    assert list(folder.glob("**/part_*.nbc"))


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(file))
    assert_runs_natively(lambda x: np.exp(x) * 2 + np.tanh(x), draw(3))


# ----------------------------------------------------------------------------------- refusals


def test_numba_is_not_installed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "numba" else find(n))
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'microgrand\[numba\]'"):
        compile(np.sin, backend="numba")


def test_numba_is_not_imported_by_default():
    code = (
        "import sys; sys.modules['numba'] = None; import numpy as np; from microgrand import "
        "compile; f = compile(np.sin); [f(np.ones(2)) for _ in range(3)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_backends():
    with pytest.raises(ValueError, match='backend must be "numpy" or "numba", got \'jax\''):
        compile(np.sin, backend="jax")


def test_bits_cannot_be_checked():
    with pytest.raises(ValueError, match="check=True compares bits"):
        compile(np.sin, backend="numba", check=True)


def test_native_parts_cannot_be_saved(tmp_path):
    compiled = assert_runs_natively(lambda x: np.exp(x) * 2 + np.tanh(x), draw(3))
    with pytest.raises(TypeError, match='backend="numpy"'):
        compiled.save(tmp_path / "step.py")


def test_a_mistake_in_a_part_is_not_hidden(monkeypatch):
    monkeypatch.setitem(native.FORMS, np.add, "{0} + nothing({1})")
    compiled = compile(lambda x: np.exp(x) * 2 + np.tanh(x), backend="numba")
    x = np.arange(3.0)
    for _ in range(2):
        compiled(x)
    with pytest.raises(Exception, match="nothing"):
        compiled(x)


def test_losses(in_python):
    assert_trains("dropout", "SGD", np.float32, loss=F.cross_entropy)


def test_gradients_of_functions_with_loops_over_rows(in_python):
    def f(x):
        return np.sum(np.tanh(x[1:] * x[:-1].T.T) ** 2) + np.sum(x[0] * x[-1])

    assert_runs_natively(grad(f), draw((4, 3)))


def test_what_is_changed_is_shown_where_a_view_comes_next():
    weight, seen = nn.Parameter(np.ones((3, 4))), []

    def step(x):
        weight.grad = None
        loss = ((weight @ x) ** 2).sum()
        loss.backward()
        weight.data -= 0.01 * weight.grad
        flat = weight.data.reshape(-1)
        np.clip(flat, -1, 1, out=flat)
        return loss

    compiled = compile(step, backend="numba")
    for n in range(4):
        x, before = np.full(4, float(n)), weight.data.copy()
        compiled(x)
        np.testing.assert_allclose(weight.grad, 2 * (before @ x)[:, None] * x)
        seen.append(weight.grad)
    assert len({id(gradient) for gradient in seen}) == 4
