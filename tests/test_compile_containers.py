"""Lists, tuples and dicts of other classes, among arguments and results, stay what they are."""

import collections
import enum
import time
from typing import NamedTuple

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import Tensor, compile

X, Y = np.ones(2), np.arange(2.0)


class Batch(list):
    def __init__(self, items=(), scale=1.0):
        super().__init__(items)
        self.scale = scale

    def __getitem__(self, place):
        return super().__getitem__(place) * 10

    def total(self):
        return sum(self) * self.scale

    def append(self, item):
        raise AssertionError("items are not appended")


class Config(dict):
    __slots__ = ("mode",)
    __getattr__ = dict.__getitem__

    def __setitem__(self, key, value):
        raise AssertionError("items are not set")

    def __repr__(self):
        return "Config"


class Row(tuple):
    def first(self):
        return self[0]


class Point(NamedTuple):
    x: object
    y: object = 2.0

    def norm(self):
        return np.sqrt(self.x**2 + self.y**2)


class Mode(enum.Enum):
    A = 1
    B = 2


def config(mode, **items):
    made = Config(items)
    made.mode = mode
    return made


def missing():
    return 3.0


def same_nest(result, expected):
    assert type(result) is type(expected)
    if isinstance(expected, dict):
        assert [*result] == [*expected]
        if isinstance(expected, collections.defaultdict):
            assert result.default_factory is expected.default_factory
        for a, b in zip(dict.values(result), dict.values(expected), strict=True):
            same_nest(a, b)
    elif isinstance(expected, (list, tuple)):
        base = list if isinstance(expected, list) else tuple
        assert len(result) == len(expected)
        for a, b in zip(base.__iter__(result), base.__iter__(expected), strict=True):
            same_nest(a, b)
    else:
        assert_same_bits(result, expected)
    if type(expected).__dictoffset__:
        assert vars(result) == vars(expected)
    if isinstance(expected, Config):
        assert result.mode is expected.mode


CASES = {
    "attributes": (
        lambda b: (b[0] * b.scale, b.total(), b),
        [lambda: Batch([X, Y], 7.0), lambda: Batch([X, Y], 3.0)],
    ),
    "defaultdict": (
        lambda d: (d["a"] * 2 * (d.default_factory or float)(), d),
        [
            lambda: collections.defaultdict(missing, a=X),
            lambda: collections.defaultdict(None, a=X),
        ],
    ),
    "OrderedDict": (
        lambda d: collections.OrderedDict(
            (k, v * next(reversed(d.values()))) for k, v in d.items()
        ),
        [
            lambda: collections.OrderedDict(a=X, b=Y),
            lambda: collections.OrderedDict(b=Y, a=X),
        ],
    ),
    "slots": (
        lambda c: config(c.mode, a=c.a * c.scale * c.mode.value),
        [lambda: config(Mode.A, a=X, scale=2.0), lambda: config(Mode.B, a=X, scale=5.0)],
    ),
    "tuple": (lambda r: Row([r.first() * 2, r]), [lambda: Row([X, Y]), lambda: Row([Y, X])]),
    "named": (lambda p: (p.norm(), Point(p.y), p), [lambda: Point(X, 4.0), lambda: Point(X, Y)]),
    "Counter": (
        lambda c: X * c.most_common(1)[0][1],
        [lambda: collections.Counter("aab"), lambda: collections.Counter("aaab")],
    ),
    "made inside": (lambda x: Batch([x, Tensor(x).data], 4.0), [lambda: X, lambda: Y]),
    "of times": (lambda x: (time.gmtime(0), x), [lambda: X, lambda: Y]),
    "nests": (
        lambda n: {"b": n["b"][0][0] * n["b"][0].scale, "n": n},
        [lambda: {"b": (Batch([X], 2.0),)}, lambda: {"b": (Batch([X], 5.0),)}],
    ),
    "one list": (
        lambda a, b: a[0] * (2 if a is b else 3),
        [lambda: ([X], [X]), lambda: ([Y],) * 2],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_classes_and_attributes_stay(name):
    function, makers = CASES[name]
    compiled = compile(function)
    for make in [*(make for make in makers for _ in range(3)), *makers, *makers]:
        args = make() if name == "one list" else (make(),)
        same_nest(compiled(*args), function(*args))
    assert compiled.traces
    assert compiled.eager_calls == 0
    assert compiled.recordings <= 2 * len(makers)


def rename(d):
    d["b"] = d.pop("a")
    return d["b"] * 2


def assign(b):
    b.scale = 3.0
    return b[0] * 2


def turn(d):
    d.move_to_end("a")
    return d["a"] * 2


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (rename, {"a": X}),
        (assign, Batch([X])),
        (turn, collections.OrderedDict(a=X, b=Y)),
        (lambda d: d["z"] * X, collections.defaultdict(missing, a=X)),
        (lambda b: b.extend([1]) or b[0], Batch([X])),
    ],
)
def test_changes_of_arguments_are_refused(function, argument):
    before, attributes = list(argument), dict(getattr(argument, "__dict__", {}))
    with pytest.raises(TypeError, match="changes a list or dict among its arguments"):
        compile(function)(argument)
    assert len(before) == len(list(argument))
    assert attributes == getattr(argument, "__dict__", {})


def test_attributes_that_are_arrays_are_refused():
    with pytest.raises(
        TypeError, match="a Batch among the arguments has an attribute 'scale', a n"
    ):
        compile(lambda b: b[0] * b.scale)(Batch([X], Y))
    with pytest.raises(TypeError, match="returned a Batch"):
        compile(lambda x: Batch([x], x.sum()))(X)


def test_what_a_class_calls_is_watched():
    factor = [2.0]

    class Scaled(list):
        def first(self):
            return self[0] * factor[0]

    compiled = compile(lambda b: b.first())
    for number in (2.0, 2.0, 2.0, 3.0, 4.0):
        factor[0] = number
        assert_same_bits(compiled(Scaled([X])), X * number)


def test_with_check():
    compiled = compile(lambda b: Batch([b[0] * 2], b.scale), check=True)
    for _ in range(4):
        same_nest(compiled(Batch([X], 2.0)), Batch([X * 20], 2.0))
