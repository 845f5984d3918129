"""Which arrays are one object, and whose memory they are in: a program holds for that alone."""

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import Tensor, compile

X, Y, BASE = np.ones(2), np.ones(2) / 3, np.arange(6.0)
PARTS = BASE[:2], BASE[1:3], BASE[4:]


def unaligned():
    return np.ndarray(2, np.float64, bytearray(17), 1)


def read_only():
    array = np.ones(2)
    array.flags.writeable = False
    return array


QUESTIONS = {
    "is": (lambda a, b: a * 2 if a is b else a * 3, [(X, Y), (X, X), (Y, X), (Y, Y)]),
    "is not": (lambda a, b: a * 2 if a is not b else a * 3, [(X, X), (X, Y)]),
    "id": (lambda a, b: a * len({id(a), id(b)}), [(X, Y), (X, X)]),
    "in": (lambda a, b: a * 2 if any(a is x for x in [b]) else a * 3, [(X, Y), (X, X)]),
    "of three": (lambda a, b, c: a * 2 if b is c else a * 3, [(X, Y, BASE[:2]), (X, Y, Y)]),
    "in nests": (lambda n: n["a"] * (2 if n["a"] is n["b"][0] else 3), None),
    "shares_memory": (
        lambda a, b: a * 2 if np.shares_memory(a, b) else a * 3,
        [(X, Y), PARTS[:2], PARTS[::2], (X, X)],
    ),
    "may_share_memory": (
        lambda a, b: a * 2 if np.may_share_memory(a, b) else a * 3,
        [PARTS[:2], PARTS[::2], (BASE[::2], BASE[1::2]), (X, Y)],
    ),
    "owndata": (lambda a: a * 2 if a.flags.owndata else a * 3, [(X,), (PARTS[0],)]),
    "of a part": (lambda a: a * 2 if a[:1].flags["ALIGNED"] else a * 3, [(X,), (unaligned(),)]),
    "aligned": (lambda a: a * 2 if a.flags.aligned else a * 3, [(X,), (unaligned(),)]),
    "num": (lambda a: a * float(a.flags.num), [(X,), (PARTS[0],), (unaligned(),)]),
    "text": (lambda a: a * len(str(a.flags)), [(X,), (PARTS[0],), (unaligned(),)]),
    "writeable": (lambda a: a * 2 if a.flags["W"] else a * 3, [(X,), (read_only(),)]),
    "equal": (lambda a, b: a * (2 if a.flags == b.flags else 3), [(X, Y), (X, PARTS[0])]),
    "base": (lambda a: a * 2 if a.base is None else a * 3, [(X,), (PARTS[0],)]),
    "one base": (
        lambda a, b: a * 2 if a.base is b.base else a * 3,
        [(X, Y), PARTS[:2], (PARTS[0], Y), (PARTS[0], np.ones(4)[:2])],
    ),
    "base of": (lambda a, b: a * 2 if a.base is b else a * 3, [(PARTS[0], BASE), (X, BASE)]),
}
QUESTIONS["in nests"] = (
    QUESTIONS["in nests"][0],
    [({"a": X, "b": [Y]},), ({"a": X, "b": [X]},)],
)


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_about_memory_is_answered_as_eager_code_does(name):
    function, calls = QUESTIONS[name]
    for order in (calls, calls[::-1]):
        compiled = compile(function)
        for args in [*(args for args in order for _ in range(3)), *order, *order]:
            assert_same_bits(compiled(*args), function(*args))
        assert compiled.traces
        assert len(compiled.traces) <= len(calls)
        assert compiled.recordings <= 2 * len(calls)


def test_state_and_arguments():
    held, others = np.ones(2), [np.ones(2), np.ones(2)]

    def f(a):
        return a * (2 if a is held else 3) * (5 if others[0] is others[1] else 7)

    compiled = compile(f)
    for _ in range(2):
        for args in (Y, Y, Y, held, held, held, Y):
            assert_same_bits(compiled(args), f(args))
        others[1] = others[0]


@pytest.mark.parametrize("share", [np.shares_memory, np.may_share_memory])
def test_memory_of_state(share):
    held = BASE[3:5]

    def f(a):
        return a * (2 if share(a, held) else 3)

    compiled = compile(f)
    for a in (X, X, X, BASE[2:4], BASE[2:4], BASE[2:4], X, BASE[:2], BASE[4:]):
        assert_same_bits(compiled(a), f(a))
    held = X
    for a in (X, X, X, Y, Y, Y, BASE[4:]):
        assert_same_bits(compiled(a), f(a))


def test_tensors_of_one_array():
    def f(a, b):
        return (a * 2 if a.data is b.data else a * 3).data

    compiled = compile(f)
    for other in (Y, Y, Y, X, X, X, Y):
        assert_same_bits(compiled(Tensor(X), Tensor(other)), f(Tensor(X), Tensor(other)))


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a if np.shares_memory(a[1:], b[:1]) else b,
        lambda a, b: a * (a + b)[1:].base,
        lambda a, b: a * 2 if a.T.base is a else b,
        lambda a, b: a * (2 if a.base is not None and a.base.shape == (6,) else 3),
    ],
)
def test_questions_about_views_and_bases_are_refused(function):
    match = r"test_compile_identities.py:\d+: .* of (views that|the base of an array)"
    with pytest.raises(TypeError, match=match):
        compile(function)(PARTS[0], PARTS[1])


def test_memory_of_what_is_made_inside():
    def f(a, b):
        c = a + b
        made = np.shares_memory(a, c), np.shares_memory(c, c[:1]), np.shares_memory(a, a[:1])
        return c, made, c.flags.owndata, c.base is None

    compiled = compile(f)
    for _ in range(3):
        assert_same_bits(compiled(X, Y), f(X, Y))
    assert len(compiled.traces) == 1


def test_a_flag_that_is_set():
    def f(a):
        b, c = a * 2, a * 3
        b.flags.writeable = c.flags["WRITEABLE"] = False
        return b, c

    compiled = compile(f)
    for _ in range(3):
        assert not any(x.flags.writeable for x in compiled(X))
    with pytest.raises(TypeError, match="the flag aligned of an array cannot be traced"):
        compile(lambda a: setattr(a.flags, "aligned", False))(X)
