"""Writes become values, and rows one long row: every bit stays, and mistakes are caught."""

import operator

import numpy as np
import pytest
from compiled import assert_runs_as_eager, rejects
from planting import plant
from test_compile_passes import functions, variable

from microgrand import grad
from microgrand.program import operands, sums, values
from microgrand.program.calls import Call, Method, Program

# ------------------------------------------------------------------ what a pass leaves


def test_a_write_into_a_new_array_becomes_a_value():
    x, a, b = variable("x", external=True), variable("a"), variable("b")
    calls = [
        Call(np.sin, (x,), {}, a),
        Call(operator.iadd, (a, x), {}, a, (a,)),
        Call(operator.imul, (a, 2.0), {}, a, (a,)),
        Call(np.tanh, (a,), {}, b),
    ]
    program = Program(calls, [x], [], late=[b])
    values.values_for_writes(program)
    assert functions(program) == [np.sin, np.add, np.multiply, np.tanh]
    assert not any(call.writes for call in program.calls)
    assert program.calls[1].args == (program.calls[0].result, x)
    assert program.calls[3].args == (program.calls[2].result,)
    assert len({call.result.storage for call in program.calls}) == 4


@pytest.mark.parametrize("reason", ["shown", "external", "viewed", "wider", "no out"])
def test_other_writes_stay(reason):
    x, y, a, b = variable("x", external=True), variable("y"), variable("a"), variable("b")
    operand = variable("wide", dtype=np.complex128) if reason == "wider" else y
    view = variable("view", storage=a.storage)
    target = x if reason == "external" else a
    calls = [
        Call(np.sort if reason == "no out" else np.sin, (x,), {}, a),
        Call(Method("view"), (a,), {}, view),
        Call(operator.iadd, (target, operand), {}, target, (target,)),
        Call(np.tanh, (view if reason == "viewed" else target,), {}, b),
    ]
    program = Program(calls, [x, y], [], late=[b, a] if reason == "shown" else [b])
    values.values_for_writes(program)
    assert program.calls[2].function is operator.iadd


# ------------------------------------------------------------------ mistakes are caught


def write():
    """Write into arrays of one's own that are viewed, before and after, or handed out."""

    def f(x, y):
        early = np.sin(x)
        row = early[0]
        early += y
        late = np.cos(x)
        late -= y[0]
        column = late[:, 1]
        late *= 2
        shown = np.tanh(x)
        shown += 1
        twice = np.exp(x)
        twice += 1
        flat = np.reshape(twice, -1)
        twice *= y
        below = np.sinh(x)
        below += y
        part = below[1:]
        other = np.tanh(np.cos(x) * 2) + 1
        x += 1
        return (
            row * 2,
            early * 3,
            column + 1,
            late - 1,
            shown,
            flat * 5,
            twice + x,
            part * other[1:],
        )

    def draw(seed):
        return lambda number: np.random.default_rng((seed, number)).normal(size=(3, 4))

    assert_runs_as_eager(f, draw(1), draw(2))


def find_extremes():
    """Rows with ties of zeros, with nan and infinities; other axes, and rows that lie apart."""

    def f(x):
        total = np.max(x, axis=-1), x.min(axis=2, keepdims=True), np.max(x, axis=0)
        apart = np.swapaxes(x * 2, 1, 2)
        lowest = np.max(-np.abs(x), axis=-1, keepdims=True) * 2
        last = np.minimum.reduce(x + 1, axis=-1) - 1
        return *total, np.max(apart, axis=-1), lowest, last

    def draw(number):
        some = np.array([0.0, -0.0, 1.0, np.nan, -np.inf, np.inf])
        return np.random.default_rng(number).choice(
            some, (3, 4, 5), p=[0.4, 0.4, 0.05, *[0.05] * 3]
        )

    compiled = assert_runs_as_eager(f, draw, calls=9)
    assert [compiled.source.count(f"np.{m}imum.reduceat(") for m in ("max", "min")] == [2, 2]


def take_apart():
    """Gradients of parts that cover an array, do not, overlap, and hold zeros of either sign."""

    def draw(number):
        return np.random.default_rng(number).normal(size=(5, 3, 4))

    def covers(x):
        return np.sum(np.swapaxes(x[:, 0], 0, 1) @ (x[:, 2] * np.tanh(x[:, 1])))

    def signs(x):
        return np.sum(x[..., :2] * np.array([-0.0, 1.0])) + np.sum(x[..., 2:] * -0.0)

    for f in covers, signs, lambda x: covers(x * -1):
        assert "zeros" not in assert_runs_as_eager(grad(f), draw).source

    def overlaps(x):
        return np.sum(x[:, 1:] * x[:, :-1]) + np.sum(x[1] * x[2, 0])

    def leaves_gaps(x):
        y = np.sin(x * 2)
        return np.sum(y[:, 0] * y[:, 2])

    def by_hand(x):
        one, two, three = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
        one[0], two[1], three[2:] = x[0], x[1], x[2:]
        both = one + two
        return both, both + three

    def numbers(x):
        return np.sum(np.reshape(x[0, 0, 0], 1) * np.reshape(x[1, 1, 1], 1))

    for f in grad(overlaps), grad(leaves_gaps), grad(numbers), by_hand:
        assert_runs_as_eager(f, draw)


BATTERY = [write, find_extremes, take_apart]
MISTAKES = {
    "an array that is viewed gets another one in its place": (
        values,
        "values_for_writes",
        "made[other] < number < last[other]",
        "False",
    ),
    "an array that is handed out gets another one in its place": (
        values,
        "values_for_writes",
        "and array.storage not in shown",
        "",
    ),
    "views are still of the array from before": (
        values,
        "values_for_writes",
        "variable.storage = moved.get(variable.storage, variable.storage)",
        "pass",
    ),
    "the array from before is read": (
        values,
        "values_for_writes",
        "now[array], moved[array.storage] = value, value.storage",
        "moved[array.storage] = value.storage",
    ),
    "a part is not added to 0": (
        sums,
        "part_filled",
        "np.add, (value, 0)",
        "np.multiply, (value, 1)",
    ),
    "a number is filled as if it were a view": (
        sums,
        "fills_a_part",
        "return is_view and",
        "return",
    ),
    "parts that overlap are filled": (
        sums,
        "sums_of_parts",
        "both.times.max() == 1 and",
        "",
    ),
    "what is between the parts is not 0": (
        sums,
        "fill",
        "np.empty if one.times.all() else np.zeros",
        "np.empty",
    ),
    "an array is filled before it is there": (
        sums,
        "fill",
        "in program.calls if",
        "in program.calls[::-1] if",
    ),
    "a sum that is read twice is filled further": (
        sums,
        "sums_of_parts",
        "uses[x.array] == 1 or len(x.fills) == 1",
        "True",
    ),
    "rows of another length": (
        operands,
        "extremes_of_rows",
        "np.arange(0, size, width)",
        "np.arange(0, size, size // math.prod(array.shape[1:]))",
    ),
    "the extremes of columns are looked for in rows": (
        operands,
        "is_of_rows",
        "in (-1, len(array.shape) - 1) and",
        "is not None and",
    ),
    "rows that lie apart are one row": (
        operands,
        "is_of_rows",
        "and is_contiguous(array) and",
        "and",
    ),
}


@pytest.mark.parametrize("function", BATTERY)
def test_without_mistakes(function):
    function()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_caught(mistake, monkeypatch):
    plant(monkeypatch, MISTAKES[mistake])
    assert any(rejects(function) for function in BATTERY)
