"""`compile`: state in places that are easily overlooked is watched, or its change refused."""

import collections
import configparser
import copy
import ctypes
import functools
import importlib
import itertools
import mmap
import multiprocessing
import queue
import random
import sys
import threading
import types
import weakref

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile
from microgrand.nn import Parameter

X = np.array([1.0, 2.0])


def calls(compiled):
    """Have a call watched, and the next one traced."""
    compiled(X)
    compiled(X)


class Key:
    value = 1.0


class Meta(type):
    scale = 1.0


class WithMeta(metaclass=Meta):
    pass


class Asked:
    """An object that answers with an error of another kind."""

    def __init__(self):
        self.scale = 1.0

    def __getattr__(self, name):
        raise KeyError(name)


def of_an_array():
    array = np.ones(2)
    total = array.sum
    return lambda x: x * total(), lambda: array.__setitem__(0, 5)


def in_a_tuple():
    array = np.ones(2)
    totals = (array.sum, 1)
    return lambda x: x * totals[0](), lambda: array.__setitem__(0, 5)


def of_a_dict():
    table = {"k": 1.0}
    get = table.get
    return lambda x: x * get("k"), lambda: table.update(k=5.0)


def view_of_a_dict():
    table = {"k": 1.0}
    numbers = table.values()
    return lambda x: x * sum(numbers), lambda: table.update(k=5.0)


def view_of_memory():
    array = np.ones(2)
    view = memoryview(array)
    return lambda x: x * np.asarray(view), lambda: array.__setitem__(0, 5)


def imported_inside():
    settings = sys.modules["settings_of_a_test"] = types.ModuleType("settings_of_a_test")
    settings.scale = 1.0

    def f(x):
        from settings_of_a_test import scale

        return x * scale

    return f, lambda: setattr(settings, "scale", 5.0)


def shape_of_an_array():
    array = np.ones(2)
    return lambda x: x * array.ndim + array.ravel(), lambda: setattr(array, "shape", (2, 1))


def shape_that_is_asked_for():
    array = np.ones(2)
    return lambda x: x * array.ndim, lambda: setattr(array, "shape", (2, 1))


def dtype_of_an_array():
    array = np.ones(2)
    return lambda x: array * 2, lambda: setattr(array, "dtype", np.int64)


def shape_in_a_tuple():
    array = np.ones(2)
    pair = (array, 1)
    return lambda x: x * pair[0].ndim + pair[0].ravel(), lambda: setattr(array, "shape", (2, 1))


def shape_of_a_default():
    array = np.ones(2)

    def f(x, array=array):
        return x * array.ndim + array.ravel()

    return f, lambda: setattr(array, "shape", (2, 1))


def imported_by_its_name():
    settings = sys.modules["settings_of_a_test"] = types.ModuleType("settings_of_a_test")
    settings.scale = 1.0

    def f(x):
        return x * importlib.import_module("settings_of_a_test").scale

    return f, lambda: setattr(settings, "scale", 5.0)


def proxy():
    key = Key()
    key.value, weak = 1.0, weakref.proxy(key)
    return lambda x: x * weak.value, lambda: setattr(key, "value", 5.0)


def partial_of_a_method():
    array = np.ones(2)
    total = functools.partial(array.sum)
    return lambda x: x * total(), lambda: array.__setitem__(0, 5)


def memory_of_a_file():
    memory = mmap.mmap(-1, 10)
    return lambda x: x * memory[0], lambda: memory.__setitem__(0, 5)


def shared_number():
    number = multiprocessing.Value("d", 1.0)
    return lambda x: x * number.value, lambda: setattr(number, "value", 5.0)


def event():
    stop = threading.Event()
    return lambda x: x * stop.is_set(), stop.set


def number_of_c():
    number = ctypes.c_double(1.0)
    return lambda x: x * number.value, lambda: setattr(number, "value", 5.0)


def polynomial():
    p = np.poly1d([1.0, 0.0])
    return lambda x: p(x) + x, lambda: p.coeffs.__setitem__(0, 5)


def flat_iterator():
    array = np.arange(3.0)
    flat = array.flat
    return lambda x: x * flat[1], lambda: array.__setitem__(1, 5)


def row_of_a_record():
    record = np.zeros(1, [("a", "f8")])
    row = record[0]
    return lambda x: x * row["a"], lambda: record["a"].__setitem__(0, 5)


def row_of_a_recarray():
    record = np.zeros(1, [("a", "f8")]).view(np.recarray)
    row = record[0]
    return lambda x: x * row.a, lambda: record["a"].__setitem__(0, 5)


def matrix():
    array = np.ones((1, 1)).view(np.matrix)
    return lambda x: x * float(array[0, 0]), lambda: array.__setitem__((0, 0), 5)


def masked():
    array = np.ma.array([1.0, 2.0])
    return lambda x: x * float(array.sum()), lambda: array.__setitem__(0, np.ma.masked)


def weak_keys():
    key = Key()
    table = weakref.WeakKeyDictionary({key: 1.0})
    return lambda x: x * table[key], lambda: table.__setitem__(key, 5.0)


def weak_values():
    key = Key()
    table = weakref.WeakValueDictionary(k=key)
    return lambda x: x * table["k"].value, lambda: setattr(key, "value", 5.0)


def configuration():
    settings = configparser.ConfigParser()
    settings["a"] = {"k": "1"}
    change = settings["a"].__setitem__
    return lambda x: x * settings.getfloat("a", "k"), lambda: change("k", "5")


def metaclass():
    Meta.scale = 1.0
    return lambda x: x * WithMeta.scale, lambda: setattr(Meta, "scale", 5.0)


def that_raises_other_errors():
    asked = Asked()
    return lambda x: x * asked.scale, lambda: setattr(asked, "scale", 5.0)


WATCHED = [
    *(shape_of_an_array, shape_that_is_asked_for, dtype_of_an_array, shape_in_a_tuple),
    *(
        shape_of_a_default,
        of_an_array,
        in_a_tuple,
        of_a_dict,
        view_of_a_dict,
        view_of_memory,
        imported_inside,
        event,
    ),
    *(number_of_c, polynomial, flat_iterator, row_of_a_record, row_of_a_recarray, matrix, masked),
    *(imported_by_its_name, proxy, partial_of_a_method, memory_of_a_file, shared_number),
    *(weak_keys, weak_values, configuration, metaclass, that_raises_other_errors),
]


@pytest.mark.parametrize("make", WATCHED, ids=lambda f: f.__name__)
def test_state_is_watched(make):
    f, change = make()
    compiled = compile(f)
    for n in range(1, 4):
        assert_same_bits(compiled(X * n), f(X * n))
    assert compiled.traces
    change()
    for n in range(1, 4):
        assert_same_bits(compiled(X * n), f(X * n))


def test_draws_of_a_bound_method():
    def make():
        draw = np.random.default_rng(0).normal
        return lambda x: x * draw()

    f, compiled = make(), compile(make())
    for _ in range(4):
        assert_same_bits(compiled(X), f(X))
    assert compiled.traces


def log():
    items = []
    append = items.append
    return lambda x: (append(x * 3), x)[1]


def line():
    items = queue.Queue()
    return lambda x: (items.put(x * 3), x)[1]


def line_of_c():
    items = queue.SimpleQueue()
    return lambda x: (items.put(x * 3), x)[1]


def kept_in_a_default():
    items = [None]
    put = items.__setitem__
    return lambda x: (put(0, {"of": [{"a": (x * 3).tolist}]}), x)[1]


def order():
    table = collections.OrderedDict(a=1.0, b=2.0, c=3.0)
    return lambda x: (table.move_to_end(next(iter(table))), x * next(iter(table.values())))[1]


def order_of_a_dict():
    table = {"a": 1.0, "b": 2.0, "c": 3.0}

    def f(x):
        key = next(iter(table))
        table[key] = table.pop(key)
        return x * next(iter(table.values()))

    return f


def order_of_a_long_dict():
    table = dict(zip(range(2000), range(2000), strict=True))

    def f(x):
        key = next(iter(table))
        table[key] = table.pop(key)
        return x * 2

    return f


def counter():
    count = itertools.count()
    return lambda x: x * 5 if next(count) % 7 == 6 else x


def turns():
    following = itertools.cycle((1, 2)).__next__
    return lambda x: x * 5 if following() == 7 else x


def generator():
    numbers = (n for n in range(100))
    return lambda x: x * 5 if next(numbers) % 7 == 6 else x


def loop():
    numbers = iter(range(100))

    def f(x):
        for n in numbers:
            if n != 50:
                break
        return x

    return f


def pythons():
    rng = random.Random(0)
    return lambda x: x * 5 if rng.random() < 1e-3 else x


def pythons_own():
    return lambda x: x * 5 if random.random() < 1e-9 else x


def numpys_old():
    rng = np.random.RandomState(0)
    return lambda x: x * 5 if rng.rand() < 1e-3 else x


def numpys_own():
    return lambda x: x * 5 if np.random.rand() < 1e-9 else x  # noqa: NPY002


def of_a_bit_generator():
    bits = np.random.PCG64(0)
    return lambda x: x * 5 if bits.random_raw() % 1000 == 7 else x


def of_numpys_iterators():
    numbers = np.nditer(np.arange(50.0))
    return lambda x: x * 5 if next(numbers) == 7 else x


def of_a_flat_iterator():
    numbers = np.arange(50.0).flat
    return lambda x: x * 5 if next(numbers) == 7 else x


def spawned():
    rng = np.random.default_rng(0)
    return lambda x: x * rng.spawn(1)[0].normal()


def spawned_by_the_seed():
    seed = np.random.SeedSequence(1)
    return lambda x: x * 5 if seed.spawn(1)[0].generate_state(1)[0] < 5 else x


def copied():
    rng = np.random.default_rng(0)
    return lambda x: x * 5 if copy.deepcopy(rng).random() < 1e-9 else x


CHANGING = [
    *(
        log,
        line,
        line_of_c,
        kept_in_a_default,
        order,
        order_of_a_dict,
        order_of_a_long_dict,
        counter,
        turns,
        generator,
        loop,
    ),
    *(of_a_bit_generator, of_numpys_iterators, of_a_flat_iterator),
    *(pythons, pythons_own, numpys_old, numpys_own, spawned, spawned_by_the_seed, copied),
]


@pytest.mark.parametrize("make", CHANGING, ids=lambda f: f.__name__)
def test_a_change_out_of_sight_is_refused(make):
    compiled = compile(make())
    with pytest.raises(TypeError, match=r"changes|iterator|generator|is kept") as told:
        calls(compiled)
    assert "stood" not in str(told.value)  # what has changed is named, not what came of it


def test_a_module_that_the_first_call_imports(tmp_path, monkeypatch):
    (tmp_path / "made_for_a_test.py").write_text("scale = 1.0")
    monkeypatch.syspath_prepend(tmp_path)

    def f(x):
        import made_for_a_test

        return x * made_for_a_test.scale

    compiled = compile(f)
    for n in range(4):
        assert_same_bits(compiled(X * n), X * n)
    assert compiled.traces
    sys.modules["made_for_a_test"].scale = 2.0
    assert_same_bits(compiled(X), f(X))
    del sys.modules["made_for_a_test"]


def test_an_iterator_among_the_arguments():
    compiled = compile(lambda x, numbers: x * 5 if next(numbers) == 50 else x)
    with pytest.raises(TypeError, match=r"test_compile_unseen.py:\d+: here .* an iterator"):
        compiled(X, iter(range(100)))


def test_a_refusal_puts_the_state_of_chance_back():
    rng, old = np.random.default_rng(0), random.Random(0)
    table = {"a": 1, "b": 2}

    def f(x):
        rng.bit_generator.random_raw()
        old.random()
        table["a"] = table.pop("a")
        return x * 2 if x[0] > 0 else x

    before = rng.bit_generator.state, old.getstate()
    with pytest.raises(TypeError, match="if"):
        compile(f)(X)
    assert (rng.bit_generator.state, old.getstate()) == before
    assert [*table] == ["a", "b"]


@pytest.mark.parametrize("check", [False, True])
def test_what_the_function_freezes(check):
    def make():
        weight, bias = Parameter(np.ones(2)), Parameter(np.ones(2))

        def f(x, freeze):
            weight.requires_grad = not freeze
            weight.grad = bias.grad = None
            (weight * x + bias).sum().backward()
            return weight.requires_grad

        return weight, f

    (weight, f), (twin, g) = make(), make()
    compiled = compile(g, check=check)
    for freeze in (False, False, True, False, True, False, True, True, False, False, True):
        assert compiled(X, freeze) == f(X, freeze)
        assert twin.requires_grad == weight.requires_grad
        assert (twin.grad is None) == (weight.grad is None)
        assert twin.version == weight.version
    assert compiled.traces


def test_the_line_of_a_change_is_told():
    class Counter:
        number = 0

    counter = Counter()
    counter.number = 0

    def f(x):
        y = x * 2
        counter.number += 1
        return y

    line = f.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"test_compile_unseen.py:{line}: .* counter.number"):
        calls(compile(f))


def test_the_line_of_what_is_kept_is_told():
    items = queue.SimpleQueue()

    def f(x):
        y = x * 2
        items.put(y + 1)
        return y

    line = f.__code__.co_firstlineno + 2
    with pytest.raises(TypeError, match=rf"test_compile_unseen.py:{line}: what is computed here"):
        compile(f)(X)


def test_an_object_that_is_made_once():
    class Lazy:
        mean = None

        def __call__(self, x):
            if self.mean is None:
                self.mean = {"of": [x.mean()]}
            return x - self.mean["of"][0]

    f, compiled = Lazy(), compile(Lazy())
    for n in range(5):
        assert_same_bits(compiled(X + n), f(X + n))


def set_shape(x):
    x.shape = (2, 1)
    return x


def set_dtype(x):
    x.dtype = np.int64
    return x


@pytest.mark.parametrize("function", [set_shape, set_dtype])
def test_what_an_array_is_like_is_not_assigned(function):
    line = function.__code__.co_firstlineno + 1
    with pytest.raises(TypeError, match=rf"test_compile_unseen.py:{line}: `\.\w+ =` of an array"):
        compile(function)(X.copy())


def test_parts_of_complex_numbers_are_assigned():
    def f(x):
        z = x * (1 + 1j)
        z.real = x * 2
        z.imag = 5
        return z

    compiled = compile(f)
    for n in range(4):
        assert_same_bits(compiled(X * n), f(X * n))
    assert compiled.traces


def test_a_compiled_method_of_a_class():
    class Scaled:
        scale = 2.0

        @classmethod
        @compile
        def f(cls, x):
            return x * cls.scale

    for n in range(4):
        assert_same_bits(Scaled.f(X * n), X * n * 2)
    Scaled.scale = 3.0
    assert_same_bits(Scaled().f(X), X * 3)


def test_a_compiled_method_without_room():
    class Scaled:
        __slots__ = ()

        @compile
        def f(self, x):
            return x * 2

    with pytest.raises(TypeError, match="a Scaled has no room for it beside its __slots__"):
        Scaled().f(X)
