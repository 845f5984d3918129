"""What native parts are made of: functions of floats, products, places, and memory."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_compile_numba import assert_close, assert_runs_natively, draw, run_in_python

from microgrand import compile, manual_seed, nn, optim
from microgrand.nn import functional as F
from microgrand.program import again, memory, native_library, numba_cache
from microgrand.program.calls import Program, Storage, Variable

numba = pytest.importorskip("numba")
pytest.importorskip("scipy")


@pytest.fixture
def in_python(monkeypatch):
    """Run the parts as the Python that they are."""
    monkeypatch.setattr(numba_cache, "build", run_in_python)


def left_to_numpy(compiled):
    """Return the names of the functions that are not native."""
    first = compiled.source.split("\n", 1)[0]
    return set(first.split("between them: ")[1].split(", ")) - {"nothing"}


# ------------------------------------------------------------------------- functions of floats


def mapped(name, x):
    """Apply a function of the library to all elements of an array, in a compiled loop."""
    from microgrand.program import numba_library

    function, dtype = getattr(native_library, f"{name}_{x.dtype.name}"), x.dtype.type
    pointer = native_library.pointer

    @numba_library.loop
    def loop(given, found, count):
        for i in range(count):
            found[i] = function(given[i])

    @numba.njit
    def call(x, y):
        loop(pointer(x, x.size, dtype), pointer(y, x.size, dtype), x.size)

    y = np.empty_like(x)
    call(x, y)
    return y


def points(dtype):
    """Return floats of all sizes, more of them where the functions are not flat."""
    rng = np.random.default_rng(0)
    bits = np.dtype(f"i{np.dtype(dtype).itemsize}")
    info = np.finfo(dtype)
    special = [0, 1, np.inf, np.nan, info.tiny, info.max, info.smallest_subnormal, info.eps]
    limits = [88.72, 88.73, 89, 87.3, 103.9, 104, 709.7, 709.79, 745.1, 745.2, 746]
    with np.errstate(over="ignore"):
        return np.concatenate(
            [
                *(np.array(x, dtype) * sign for x in (special, limits) for sign in (1, -1)),
                rng.integers(np.iinfo(bits).min, np.iinfo(bits).max, 50_000, bits).view(dtype),
                rng.normal(scale=2, size=50_000).astype(dtype),
                rng.normal(1, 0.05, size=20_000).astype(dtype),
                rng.uniform(-760, 760, size=20_000).astype(dtype),
                rng.uniform(-104, 90, size=20_000).astype(dtype),
            ]
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "ulps"), [("exp", 1.1), ("log", 1.1), ("tanh", 2.7)])
def test_functions_of_floats(name, ulps, dtype):
    x = points(dtype)
    with np.errstate(all="ignore"):
        exact = getattr(np, name)(x.astype(np.longdouble))
        expected = exact.astype(dtype)
    result = mapped(name, x)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(result[~finite], expected[~finite])
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(result)[is_number], np.signbit(expected)[is_number])
    errors = np.abs(result[finite] - exact[finite]) / np.spacing(np.abs(expected[finite]))
    worst = np.argmax(errors)
    assert errors[worst] < ulps, x[finite][worst]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_in_the_order_of_floats(dtype):
    x = points(dtype)
    known = x[~np.isnan(x)]
    bits = np.dtype(f"i{x.itemsize}")
    for name, nan in (("up", np.iinfo(bits).max), ("down", np.iinfo(bits).min)):
        function = getattr(native_library, f"{name}_{x.dtype.name}")
        back = getattr(native_library, f"back_{x.dtype.name}")
        some = np.sort(known)[::500]
        order = [function(value) for value in some]
        assert sorted(order) == order
        assert all(back(o).tobytes() == v.tobytes() for o, v in zip(order, some, strict=True))
        for value in (dtype("nan"), -dtype("nan")):
            assert function(value) == nan
            assert np.isnan(back(function(value)))


def test_largest_and_smallest_with_signed_nan():
    def f(x):
        y = x * 1 + 0
        return np.max(y, axis=1), np.min(y, axis=1), np.max(y), np.max(y, axis=0), np.min(y, axis=0)

    x = np.array([[1.0, -np.inf, -3.0], [-np.nan, 2.0, 0.0], [np.inf, 5.0, -0.0]], np.float32)
    assert_runs_natively(f, lambda number: x + number)


# ---------------------------------------------------------------------------------- products


def test_products_with_blas():
    def f(x, y, z):
        return (x @ y.T) * 2 + 1, np.matmul(z, z.swapaxes(1, 2)) * 2 + x[0, 0], (x.T @ x) - 1

    compiled = assert_runs_natively(f, draw((40, 50)), draw((60, 50)), draw((3, 35, 36)), ulps=256)
    assert compiled.source.count("    product(") == 3


# ------------------------------------------------------------------------------------- places


def with_views(x, y):
    z = np.tanh(x) * 2
    turned = np.swapaxes(z.reshape(4, 2, 3), 0, 1)
    flat = turned.reshape(8, 3)
    parts = np.zeros_like(z.reshape(4, 2, 3))
    parts[:, 1] = turned[0] * 3
    parts[1:3, 0, ::2] = 5
    parts[..., 2] += y
    return {
        "flat": flat + y[0, 0],
        "parts": parts,
        "backwards": z[::-1, ::2] * 2 + z[:, :3] * 0,
        "spread": np.broadcast_to(y[:, :1], (4, 2)) * 2 - y,
        "diagonals": np.lib.stride_tricks.sliding_window_view(z, 2, axis=1)[:, :, 0] * 2,
        "turned": np.transpose(turned, (2, 0, 1)).reshape(3, 8) * 2,
    }


def with_functions(x, y):
    z = np.clip(x * 3, -1.0, 1.5) + np.rint(y * 4)
    z = np.clip(np.clip(z, -3, np.inf), None, 4)
    np.exp(z, out=z)
    np.subtract(1, z, out=z)
    return {
        "product": np.multiply(z, 0.1, dtype=z.dtype) + 1,
        "sums": np.einsum(z, [0, 1], y, [0, 1], [0]) + np.einsum(z, [0, 1], [0]),
        "columns": np.einsum(z, [0, 1], z, [0, 1], [1]) * 2,
        "all": np.einsum(z, [0, 1], y, [0, 1], []) * 2,
        "masks": (np.any(z > 0, axis=0), np.all(z < 9, axis=1), np.any(z > 99), np.all(z < 99)),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", [run_in_python, numba_cache.build])
def test_views_are_only_places(build, dtype, monkeypatch):
    monkeypatch.setattr(numba_cache, "build", build)
    compiled = assert_runs_natively(with_views, draw((4, 6), dtype), draw((4, 2), dtype))
    assert not left_to_numpy(compiled)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("build", [run_in_python, numba_cache.build])
def test_functions_that_are_native(build, dtype, monkeypatch):
    monkeypatch.setattr(numba_cache, "build", build)
    compiled = assert_runs_natively(with_functions, draw((3, 5), dtype), draw((3, 5), dtype))
    assert not left_to_numpy(compiled)


def test_arguments_in_other_orders(in_python):
    def f(x, y):
        z = np.exp(x) + y
        return np.sum(z * 2, axis=0), z.T @ y, z

    turned = lambda number: np.asfortranarray(draw((4, 3))(number))
    every_second = lambda number: draw((8, 3))(number)[::2]
    compiled = assert_runs_natively(f, turned, every_second)
    assert not left_to_numpy(compiled)
    backwards = lambda number: draw((4, 3))(number)[::-1]
    assert_runs_natively(f, turned, backwards, parts=0)


# ---------------------------------------------------------------------------------- transformer


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out, self.dropout = nn.Linear(8, 24), nn.Linear(8, 8), nn.Dropout(p)
        self.up, self.down, self.gelu = nn.Linear(8, 16), nn.Linear(16, 8), nn.GELU()

    def forward(self, x):
        qkv = self.qkv(self.norm(x)).reshape(2, 3, 3, 2, 4)
        q, k, v = (np.swapaxes(qkv[:, :, i], 1, 2) for i in range(3))
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.dropout(self.out(np.swapaxes(heads, 1, 2).reshape(2, 3, 8)))
        return x + self.dropout(self.down(self.gelu(self.up(self.norm2(x)))))


def gpt_steps(p, backend=None):
    """Train a small GPT; return the losses, the parameters, and the step."""
    manual_seed(0)
    embedding, blocks = nn.Embedding(5, 8), nn.Sequential(Block(p), Block(p))
    head = nn.Linear(8, 5)
    net = nn.Sequential(embedding, blocks, head)
    optimizer = optim.AdamW(net.parameters(), lr=0.01, eps=1e-3)

    def step(words, following):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(words).reshape(6, 5), following)
        loss.backward()
        optimizer.step()
        return loss

    step = step if backend is None else compile(step, backend=backend)
    rng = np.random.default_rng(1)
    words = [rng.integers(0, 5, (2, 4)) for _ in range(5)]
    losses = [step(w[:, :-1], w[:, 1:].reshape(-1)) for w in words]
    return losses, [q.data for q in net.parameters()], step


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_transformer(p, in_python):
    losses, parameters, step = gpt_steps(p, "numba")
    expected_losses, expected, _ = gpt_steps(p)
    assert step.eager_calls == 0
    assert_close(losses, expected_losses, 1024)
    assert_close(parameters, expected, 4096)
    assert left_to_numpy(step) <= {"getitem", "add_rows", "bernoulli_mask", "raw_bytes"}


def test_equal_layers_share_their_loops(in_python):
    _, _, step = gpt_steps(0.0, "numba")
    lines = step.source.split("\n")
    loops = [line for line in lines if re.match(r"def (loop|total)_", line)]
    calls = [line for line in lines if re.match(r" +(\w+ = )?(loop|total)_", line)]
    assert 1.5 * len(loops) < len(calls)


# -------------------------------------------------------------------------------------- memory


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 300))))
def test_what_is_needed_at_one_time_lies_apart(intervals):
    """Arrays, each used from one time to another, and their bytes."""
    room = memory.Memory()
    arrays = [
        Variable(np.ndarray, (size,), np.dtype(np.uint8), (1,), Storage()) for *_, size in intervals
    ]
    for array in arrays:
        room.add(array)
    for time in range(21):
        room.use(None)
        for array, (first, last, _) in zip(arrays, intervals, strict=True):
            if time in (min(first, last), max(first, last)):
                room.use(array)
    program = Program([], [], [])
    room.arrange(program, set(arrays))
    places = {call.result: call.args[3] for call in program.once if call.function is np.ndarray}
    spans = list(zip(arrays, intervals, strict=True))
    for i, (x, (a, b, size)) in enumerate(spans):
        for y, (c, d, _) in spans[:i]:
            if max(min(a, b), min(c, d)) <= min(max(a, b), max(c, d)):
                low, high = sorted((x, y), key=places.get)
                assert places[low] + low.nbytes <= places[high]
        assert places[x] % 64 == 0
        assert size == x.nbytes


def small_training():
    manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    x, labels = draw((5, 3), np.float32)(0), np.arange(5) % 2
    step = compile(step, backend="numba")
    return net, lambda: step(x, labels)


@pytest.mark.skipif(not again.ALONE, reason="nobody can tell how many references there are")
def test_what_nobody_holds_is_handed_out_again(in_python):
    net, step = small_training()
    seen = set()
    for _ in range(12):
        step()
        seen.add(id(net[0].weight.grad))
    assert len(seen) <= 5  # of the first two calls, and two in turns


@pytest.mark.parametrize("hold", [lambda x: x, lambda x: x[1:], lambda x: x.T, memoryview])
def test_what_is_held_stays_as_it_is(hold, in_python):
    net, step = small_training()
    for _ in range(4):
        step()
    held, copies = [], []
    for _ in range(6):
        step()
        for array in (net[0].weight.grad, net[3].bias.grad, net[2].mask):
            held.append(hold(array))
            copies.append(np.array(held[-1]))
            assert not any(np.shares_memory(array, np.asarray(x)) for x in held[:-1])
    for array, copy in zip(held, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert not net[2].mask.flags.writeable
