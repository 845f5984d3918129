"""Arrays over other memory, arrays of objects, and what is done with arrays beside computing."""

import ctypes
import multiprocessing
from multiprocessing import shared_memory

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, detect_anomaly, nn

X = np.arange(4.0)


@pytest.fixture
def buffers(tmp_path):
    shared = shared_memory.SharedMemory(create=True, size=32)
    arrays = {
        "memmap": np.memmap(tmp_path / "array.bin", np.float64, "w+", shape=4),
        "bytearray": np.frombuffer(bytearray(32)),
        "mp.Array": np.frombuffer(multiprocessing.RawArray("d", 4)),
        "ctypes": np.ctypeslib.as_array((ctypes.c_double * 4)()),
        "shared memory": np.ndarray(4, np.float64, shared.buf),
    }
    arrays["part"] = np.frombuffer(bytearray(64))[2:6]
    yield arrays
    arrays.clear()
    shared.unlink()


NAMES = ("memmap", "bytearray", "mp.Array", "ctypes", "shared memory", "part")


@pytest.mark.parametrize("name", NAMES)
def test_arrays_over_buffers_are_written_into(buffers, name):
    array, own = buffers[name], np.zeros(4)

    def adding(held):
        def f(x):
            held[:] += x
            return held * 2

        return f

    compiled, eager = compile(adding(array)), adding(own)
    for _ in range(4):
        assert_same_bits(compiled(X), eager(X))
    assert_same_bits(array.copy().view(np.ndarray), own)
    assert compiled.traces


@pytest.mark.parametrize("name", NAMES)
def test_arrays_over_buffers_are_put_back(buffers, name):
    array = buffers[name]
    array[:] = X

    def f(x):
        array.__iadd__(x)
        return float(array[1])

    with pytest.raises(TypeError, match="float"):
        compile(f)(X)
    assert_same_bits(array.copy().view(np.ndarray), X)


def test_two_arrays_over_one_buffer():
    def summing():
        buffer = bytearray(32)
        a, b = np.frombuffer(buffer), np.frombuffer(buffer)

        def f(x):
            before = a.sum()
            b.__iadd__(x)
            return before, a.sum(), a * b

        return f

    compiled, eager = compile(summing()), summing()
    for _ in range(4):
        assert_same_bits(compiled(X), eager(X))


def test_a_view_of_what_is_read_only_by_now():
    base = np.zeros(6)
    view = base[1:5]
    base.setflags(write=False)

    def f(x):
        view.__iadd__(x)
        return float(view[1])

    with pytest.raises(TypeError, match="float"):
        compile(f)(X)
    assert_same_bits(base, np.zeros(6))


OBJECTS = np.array([{"a": 2.0}, None, "word", X, [X]], dtype=object)
NUMBERS = np.array([2.0, 3, np.float32(4)], dtype=object)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * OBJECTS[0]["a"],
        lambda x: x * len(OBJECTS[2]),
        lambda x: x * (2 if OBJECTS[1] is None else 3),
        lambda x: x * OBJECTS[3:][1][0],
        lambda x: [x * len(o) for o in OBJECTS[4:]],
        lambda x: x * len(OBJECTS[4:].sum()),
    ],
)
def test_objects_from_arrays_are_refused(function):
    compiled = compile(function)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"test_compile_memory.py:\d+: "):
            compiled(X)


@pytest.mark.parametrize("check", [False, True])
def test_numbers_as_objects(check):
    def f(x):
        return x * NUMBERS[0] + NUMBERS[1], NUMBERS * 2, NUMBERS[:2] + x[:2], NUMBERS.sum() * x

    compiled = compile(f, check=check)
    for _ in range(4):
        for result, expected in zip(compiled(X), f(X), strict=True):
            assert result.dtype == expected.dtype
            assert result.tolist() == expected.tolist()


def test_check_compares_arrays_of_every_kind():
    words, records = np.array(["a", "b"]), np.ones(2, [("a", float), ("b", int)])
    objects = np.array([np.nan, "a", None, (1, 2)], dtype=object)
    compiled = compile(lambda x: (x * 2, words, records, objects), check=True)
    for _ in range(4):
        assert compiled(X)[2].dtype == records.dtype


NET = nn.Linear(4, 1)
STATE = NET.state_dict()


def loads(x):
    NET.load_state_dict(STATE)
    return NET(x).detach()


def detects(x):
    with detect_anomaly():
        return NET(x).detach()


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (loads, "load a state outside"),
        (detects, "use detect_anomaly around the call"),
        (lambda x: np.r_[x, x], "write np.concatenate"),
        (lambda x: np.c_[x, x], "write np.column_stack"),
        (lambda x: x * len([*np.nditer(x)]), "instead of a loop by np.nditer compute with whole"),
        (lambda x: np.lib.stride_tricks.as_strided(x, (2,), (8,)), "sliding_window_view"),
        (lambda x: np.vectorize(abs)(x), "np.vectorize calls Python for each element"),
        (lambda x: np.array([x, x]), "write np.stack"),
    ],
)
def test_what_asks_for_values_is_refused_with_the_way_out(function, advice):
    with pytest.raises(TypeError, match=rf"test_compile_memory.py:\d+: here .*{advice}"):
        compile(function)(X)


class Counting:
    factor = 2.0

    @compile
    @classmethod
    def outside(cls, x):
        return x * cls.factor

    @classmethod
    @compile
    def inside(cls, x):
        return x * cls.factor

    @compile
    @staticmethod
    def of_none(x):
        return x * 3


class Slots:
    __slots__ = ("factor",)

    @compile
    def method(self, x):
        return x * self.factor


def test_methods_of_classes():
    kind = type("Other", (Counting,), {"factor": 5.0})
    for _ in range(3):
        for owner, factor in ((Counting, 2.0), (kind, 5.0), (Counting(), 2.0), (kind(), 5.0)):
            assert_same_bits(owner.outside(X), X * factor)
            assert_same_bits(owner.inside(X), X * factor)
            assert_same_bits(owner.of_none(X), X * 3)
    assert len(Counting.outside.traces) == len(kind.outside.traces) == 1
    with pytest.raises(TypeError, match="a Slots has no room for it"):
        Slots().method(X)


@pytest.mark.parametrize("save", [np.save, np.savetxt, np.savez, np.savez_compressed])
def test_files_are_not_written(save, tmp_path):
    def f(x):
        save(tmp_path / "array", x * 2)
        return x

    with pytest.raises(TypeError, match=rf"np.{save.__name__} returns nothing, and a program"):
        compile(f)(X)
