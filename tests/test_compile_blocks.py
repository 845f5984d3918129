"""Large arrays are computed block by block: every bit stays, and mistakes are caught."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager, rejects
from planting import plant
from test_compile_mistakes import train

from microgrand import Tensor
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask
from microgrand.optim import blocks
from microgrand.program import blocks as program_blocks
from microgrand.program import operands, source


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 16 numbers of 64 bits; small operands are not spread, as large ones are not."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 128)
    monkeypatch.setattr(operands, "TINY", 0)


def assert_in_blocks(function):
    """Compare a function of two matrices, which runs in blocks, with eager code."""

    def draw(seed):
        return lambda number: np.random.default_rng((seed, number)).normal(size=(7, 13))

    compiled = assert_runs_as_eager(function, draw(1), draw(2))
    assert "for start in range(0, 91, " in compiled.source
    return compiled


def update():
    """Parameters of several blocks, of which the last one is shorter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", 32)
        for kind in ("SGD with momentum", "Adam with decay"):
            train(kind, "dropout")
            train(kind, "dropout", np.float16)


def chain():
    """Functions of one another, of several dtypes, and what stands between them."""

    def f(x, y):
        u = np.exp(np.minimum(x, 1.0))
        kept = np.tanh(u) * 2
        u *= y
        bits = np.abs(u).view(np.int64) ^ 1
        wide = bits.view(np.float64) + (x > y).astype(np.float64)
        rows = wide + wide.sum(axis=-1, keepdims=True) + y[0]
        running = np.cumsum(rows * 2, axis=1) / 3 + np.add.accumulate(rows)
        narrow = running.astype(np.float32) * np.float32(0.1)
        return rows, np.log1p(np.abs(running) + kept), narrow + np.clip(narrow, -1, 2), kept.T

    assert_in_blocks(f)


def overlap():
    """Arrays that share memory: in part, or all of it."""

    def f(x, y):
        memory = np.zeros_like(x, shape=92)
        memory[:-1] = np.reshape(x, -1)
        left, right = memory[:-1], memory[1:]
        more = np.sin(left) + 1
        right *= more
        last = np.cos(right) * np.tan(y[-1, -1])
        right += left
        product = x * 3
        corner = np.transpose(product)[2:]
        flat = np.reshape(product - y, -1)
        flat += 1
        turned = np.transpose(np.reshape(flat, x.shape))
        return memory, product, corner * 2 + corner, flat * 2, turned + 1, last, right * right

    assert_in_blocks(f)


def activate():
    """Activations and masks, forward and backward."""

    def f(x, y):
        z = np.concatenate([x[:3], y[3:]])
        z *= 2
        bits = z.view(np.int64)
        bits *= y > 0
        w = Tensor(z / 3, requires_grad=True)
        loss = (apply_mask(F.gelu(w * y), np.less(x, 0.5), 2.0) * F.silu(w)).sum()
        loss.backward()
        return loss.detach(), w.grad, bits.sum()

    compiled = assert_in_blocks(f)
    assert "exp(scratch_block" in compiled.source


BATTERY = [update, chain, overlap, activate]
MISTAKES = {
    "what a block needs is overwritten": (
        program_blocks.Loop,
        "find_rooms",
        "if last[storage] > i]",
        "if last[storage] > i + 9]",
    ),
    "what is read after a loop stays in its scratch space": (
        program_blocks.Group,
        "in_blocks",
        "any(id(c) not in own for c in known.touching[v.storage])",
        "False",
    ),
    "what is handed out stays in a loop's scratch space": (
        program_blocks.Group,
        "in_blocks",
        "if v.storage in known.shown or",
        "if",
    ),
    "a running sum is computed block by block": (
        program_blocks,
        "is_large_and_elementwise",
        'is_simple = is_elementwise(call) and call.kwargs.keys() <= {"dtype"}',
        'is_simple = call.kwargs.keys() <= {"axis", "dtype", "out"}',
    ),
    "rows are taken for arrays": (
        program_blocks,
        "is_large_and_elementwise",
        "v.shape == result.shape",
        "True",
    ),
    "what overlaps is changed block by block": (
        program_blocks.Group,
        "overlaps",
        "roots[v] is not roots[w] and v.storage is w.storage",
        "False",
    ),
    "what overlaps is changed in turn, block by block": (
        program_blocks.Group,
        "overlaps",
        "self.touched.get(v.storage, {root}) != {root}",
        "False",
    ),
    "what depends on a loop comes before it": (
        program_blocks.Group,
        "can_come_before",
        "v.storage in self.changed or",
        "",
    ),
    "a view of what a loop makes comes before it": (
        program_blocks.Group,
        "in_blocks",
        "*makers, *loop.views, whole, *after",
        "*after, *makers, *loop.views, whole",
    ),
    "scratch space is read as another dtype": (
        program_blocks.Loop,
        "flat_of",
        "room if alike else self.known.room_as(room, variable.dtype)",
        "room",
    ),
    "the last block is left out": (
        source.Source,
        "loop",
        "range(0, {size}, {length})",
        "range(0, {size} - {length}, {length})",
    ),
}


@pytest.mark.parametrize("function", BATTERY)
def test_without_mistakes(function):
    function()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_caught(mistake, monkeypatch):
    plant(monkeypatch, MISTAKES[mistake])
    assert any(rejects(function) for function in BATTERY)
