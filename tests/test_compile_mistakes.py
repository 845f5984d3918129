"""Mistakes that are planted in the passes are caught."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits, rejects
from planting import plant
from test_compile_steps import Training, batch, copies

from microgrand import Tensor, compile, manual_seed, nn, value_and_grad
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask
from microgrand.program import buffers, masks, operands, passes, replacing, source, tracing
from microgrand.program.calls import (
    expect,
)


def train(optimizer="SGD with momentum", layer="two dropouts", dtype=np.float32):
    """Train eagerly and compiled, and compare all that others can see."""
    eager, training = (Training(layer, optimizer, dtype) for _ in range(2))
    step = compile(training.step)
    results = []
    for one, run in (eager, eager.step), (training, step):
        manual_seed(2)
        seen = []
        for number in range(6):
            one.net.train(number != 4)
            loss = run(*batch(number, dtype))
            seen.append((loss, one.seen()))
            seen.append(copies(one.seen()))
        results.append(seen)
    assert_same_bits(results[1], results[0])


def write():
    """Compare functions that write into arrays, and compute again what they have computed."""

    def f(x, y):
        before = np.sin(x) * 2
        total = np.zeros_like(x)
        total[1:] = x[:-1]
        x += 1
        after = np.sin(x) * 3
        value = np.tanh(after)
        copy = np.empty_like(value)
        copy[...] = value
        copy *= 2
        again = np.sin(x) * 3
        again += 1
        after = after + again.sum()
        return before, copy, after, value + 1, total, np.sin(y) + 1, np.sin(y) + 1

    def draw(seed):
        return lambda number: np.random.default_rng((seed, number)).normal(size=6)

    compiled = assert_runs_as_eager(f, draw(1), draw(2))
    *_, one, two = compiled(draw(1)(0), draw(2)(0))
    assert one is not two


def compute_again():
    """Compare a function that views what it has computed before, in another place."""

    def f(x):
        u = np.exp(np.tanh(x))
        v = np.expand_dims(np.tanh(x), 0)
        w = np.sin(u) + np.cos(u)
        return np.sum(np.sin(w) * v)

    assert_runs_as_eager(f, lambda number: np.arange(5.0) / (number + 1))


def differentiate():
    """Compare a gradient with many intermediate values that are used later again."""

    def f(x, w):
        y = np.tanh(x @ w)
        z = np.swapaxes(y, 0, 1) @ y + 0.3 * np.exp(-y.T @ y)
        return np.sum(z * np.sin(z) / (1.7 + z**2)) + np.linalg.svd(z)[1].sum()

    def draw(seed, shape):
        return lambda number: np.random.default_rng((seed, number)).normal(size=shape)

    assert_runs_as_eager(value_and_grad(f, (0, 1)), draw(1, (5, 4)), draw(2, (4, 3)))


def close_over():
    """Compare a function that closes over an array that changes."""

    def results(compiled):
        offset = np.zeros(3)
        f = lambda x: x + offset * 2
        f = compile(f) if compiled else f
        found = []
        for number in range(5):
            offset[0] = max(number - 2, 0)
            found.append(f(np.ones(3)))
        return found

    assert_same_bits(results(True), results(False))


def evaluate():
    """Compare evaluation with errors in the labels."""
    w = Tensor(np.ones((3, 2)), requires_grad=True)
    dropout = nn.Dropout(0.5)

    def step(x, labels):
        w.grad = None
        F.cross_entropy(dropout(x @ w), labels).backward()

    def results(step):
        manual_seed(3)
        found = []
        for number in range(6):
            labels = np.array([0, 1 if number != 4 else 5])
            try:
                step(np.arange(6.0).reshape(2, 3) - number, labels)
            except ValueError:
                found.append("refused")
            found.append((copies([w.grad]), manual_seed.__globals__["default_generator"].random()))
        return found

    assert_same_bits(results(compile(step)), results(step))


def drop_in_turn():
    """Two masks and a scale: from run to run another one, also one that changes zeros."""
    w = Tensor(np.arange(1.0, 7.0).reshape(2, 3), requires_grad=True)
    dropout = nn.Dropout(0.5)

    def step(x, scale, shift):
        w.grad = None
        hidden = dropout(x * w)
        kept = apply_mask(apply_mask(hidden, np.less(x, 2.0)), np.greater(x, -1.0), scale)
        loss = (kept * x * shift).sum()
        loss.backward()
        return loss.detach()

    def results(step):
        manual_seed(4)
        found = []
        for number, scale in enumerate((2.0, 2.0, 2.0, 3.0, 3.0, -1.0, np.inf, 0.5, 0.0)):
            with np.errstate(all="ignore"):
                x = np.arange(-3.0, 3.0).reshape(2, 3) + number / 2
                loss = step(x, scale, 1.0 + number // 4)
            found.append(copies([w.grad, loss.numpy()]))
        return found

    assert_same_bits(results(compile(step)), results(step))


BATTERY = [
    train,
    write,
    compute_again,
    differentiate,
    close_over,
    evaluate,
    drop_in_turn,
]


MISTAKES = {
    "an operand is overwritten that is still needed": (
        buffers,
        "buffers_and_views",
        "and last[v.storage] <= number",
        "",
    ),
    "a buffer is used again too early": (
        buffers,
        "buffers_and_views",
        "for s in room.living if last[s] <= number]",
        "for s in room.living if last[s] <= number + 2]",
    ),
    "uses through views do not count": (
        buffers,
        "buffers_and_views",
        "last[variable.storage] = number",
        "last.setdefault(variable.storage, number)",
    ),
    "a buffer is handed out": (
        buffers,
        "is_own",
        "result.storage not in handed_out and",
        "",
    ),
    "what is read is no reason to keep a write": (
        passes,
        "dead_code",
        "v.storage.external or v.storage in read",
        "v.storage.external",
    ),
    "a constant that is none": (
        passes,
        "fold_constants",
        "all(v.storage.constant for v in operands)",
        "any(v.storage.constant for v in operands)",
    ),
    "a constant that is written into": (
        passes,
        "fold_constants",
        "and result.storage not in changing",
        "",
    ),
    "values from before a write are shared": (
        passes,
        "share",
        'times.get("outside" if s.external else s, 0)',
        "0",
    ),
    "views of shared values stay apart": (
        passes,
        "share",
        "moved[again.storage] = known.storage",
        "pass",
    ),
    "what is handed out is shared": (
        passes,
        "share",
        "if first is None or new_to_others or",
        "if first is None or",
    ),
    "what is written into later is shared": (
        passes,
        "share",
        "or new_to_others or not may_be_one:",
        "or new_to_others:",
    ),
    "a copy is left out of what is changed later": (
        passes,
        "no_copies",
        "is_fresh and last[value.storage] == number and",
        "is_fresh and",
    ),
    "the parts of a joined draw overlap": (
        passes,
        "join_draws",
        "slice(8 * start, 8 * (start + count))",
        "slice(0, 8 * count)",
    ),
    "a scale is folded wrongly": (
        operands,
        "numbers_as_arrays",
        "value = np.array(arg, dtype)",
        "value = np.array(arg, np.float16).astype(dtype)",
    ),
    "an operand is spread before it is there": (
        operands,
        "operands_alike",
        "calls += [room, copy]",
        "calls[:0] = [room, copy]",
    ),
    "two masks in turn, of which one is forgotten": (
        masks,
        "join_masks",
        "left_out = chain[:-1]",
        "left_out = chain[:-1]; call.args = (first.bits, second.mask)",
    ),
    "two masks in turn, of which one is forgotten backward": (
        masks,
        "join_masks",
        "first.call.args = (first.bits, joined[key])",
        "first.call.args = (first.bits, first.mask)",
    ),
    "a scale that changes zeros comes later": (
        masks,
        "can_come_later",
        "program.calls[place:place] = checks",
        "pass",
    ),
    "numbers are computed only if all have changed": (
        source.Source,
        "numbers",
        '" or ".join',
        '" and ".join',
    ),
    "numbers come before the draws that are taken back": (
        source.Source,
        "write",
        "call.function is not raw_bytes):",
        "True):",
    ),
    "a learning rate is a constant": (
        operands,
        "numbers_as_arrays",
        "args[i] = converted[arg, dtype]",
        "args[i] = converted[arg, dtype]; program.calls.append(calls.pop())",
    ),
    "an array in the closure is a constant": (
        replacing.Replacing,
        "recorded",
        "if is_plain_array(value):",
        "if is_plain_array(value) and value.size != 3:",
    ),
    "a mask is drawn once for ever": (
        tracing.RecordingSource,
        "draw_mask",
        "mask._variable.read_only = True",
        "mask = mask._value; return mask",
    ),
    "a check comes too late": (
        tracing.Tracing,
        "make_program",
        "passes.checks_first(program)",
        "program.calls = [c for c in program.calls if c.function is not expect_of]",
    ),
}


@pytest.mark.parametrize("function", BATTERY)
def test_without_mistakes(function):
    function()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_caught(mistake, monkeypatch):
    plant(monkeypatch, MISTAKES[mistake], expect_of=expect)
    assert any(rejects(function) for function in BATTERY)
