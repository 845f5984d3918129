"""Each pass keeps every bit: what it leaves of small programs, and mistakes in it are caught."""

import operator

import numpy as np
import pytest
from compiled import assert_same_bits

from microgrand import compile, value_and_grad
from microgrand.nn import functional as F
from microgrand.program import buffers, masks, operands, passes
from microgrand.program.calls import (
    Call,
    Method,
    Program,
    Storage,
    Variable,
    expect,
    in_the_memory_of,
    raw_bytes,
    same,
)
from microgrand.program.errstates import Errstate

# ------------------------------------------------------------------ what a pass leaves


def variable(name, shape=(3,), dtype=np.float64, storage=None, external=False):
    dtype = np.dtype(dtype)
    strides = np.empty(shape, dtype).strides
    return Variable(np.ndarray, shape, dtype, strides, storage or Storage(external), name)


def functions(program):
    return [call.function for call in program.calls]


X, A, B, C = (variable(name) for name in "xabc")


@pytest.fixture(autouse=True)
def fresh_variables(monkeypatch):
    for name in "XABC":
        monkeypatch.setitem(globals(), name, variable(name.lower(), external=name == "X"))


def test_dead_code():
    calls = [Call(np.sin, (X,), {}, A), Call(np.cos, (X,), {}, B), Call(np.tanh, (A,), {}, C)]
    program = Program(calls, [X], [], late=[A])
    passes.dead_code(program)
    assert functions(program) == [np.sin]


def test_dead_code_keeps_writes_that_are_read():
    calls = [
        Call(np.zeros_like, (X,), {}, A),
        Call(operator.setitem, (A, 0, 1.0), {}, None, (A,)),
        Call(operator.setitem, (X, 0, 1.0), {}, None, (X,)),
    ]
    program = Program(list(calls), [X], [], late=[A])
    passes.dead_code(program)
    assert functions(program) == [np.zeros_like, operator.setitem, operator.setitem]
    program = Program(list(calls), [X], [])
    passes.dead_code(program)
    assert functions(program) == [operator.setitem]


def test_constants_are_folded():
    one = variable("one")
    one.storage, one.value = Storage(constant=True), np.ones(3)
    calls = [
        Call(np.sin, (one,), {}, A),
        Call(np.ones_like, (X,), {}, B),
        Call(np.add, (A, B), {}, C),
        Call(np.multiply, (C, X), {}, variable("y")),
    ]
    program = Program(calls, [X], [])
    passes.fold_constants(program)
    assert functions(program) == [np.multiply]
    assert_same_bits(C.value, np.sin(np.ones(3)) + 1)


def test_share():
    calls = [Call(np.sin, (X,), {}, A), Call(np.sin, (X,), {}, B), Call(np.add, (A, B), {}, C)]
    program = Program(calls, [X], [], late=[C])
    assert passes.share(program) == {B: A}
    assert functions(program) == [np.sin, np.add]
    assert program.calls[1].args == (A, A)


def test_share_not_across_a_write():
    calls = [
        Call(np.sin, (X,), {}, A),
        Call(operator.setitem, (X, 0, 1.0), {}, None, (X,)),
        Call(np.sin, (X,), {}, B),
    ]
    program = Program(calls, [X], [], late=[A, B])
    passes.share(program)
    assert len(program.calls) == 3


def test_share_hands_out_no_array_twice():
    program = Program([Call(np.sin, (X,), {}, A), Call(np.sin, (X,), {}, B)], [X], [], late=[A, B])
    passes.share(program)
    assert len(program.calls) == 2


def test_share_not_with_what_is_written_into_later():
    calls = [
        Call(np.sin, (X,), {}, A),
        Call(np.sin, (X,), {}, B),
        Call(operator.setitem, (B, 0, 1.0), {}, None, (B,)),
        Call(np.sum, (B,), {}, C),
    ]
    program = Program(calls, [X], [], late=[A, C])
    passes.share(program)
    assert len(program.calls) == 4


def test_checks_come_first():
    answer = Variable(bool, (), None, (), Storage(), "answer")
    calls = [
        Call(np.sin, (X,), {}, A),
        Call(np.cos, (X,), {}, B),
        Call(np.all, (B,), {}, answer),
        Call(expect, (bool, answer, True), {}),
    ]
    program = Program(calls, [X], [], late=[A])
    passes.checks_first(program)
    assert functions(program) == [np.cos, np.all, expect, np.sin]


def test_joined_draws():
    rng = Variable(np.random.Generator, (), None, (), Storage(True), "rng", "PCG64")
    bytes_of = [variable(f"bytes {i}", (8 * n,), np.uint8) for i, n in enumerate((2, 3, 1))]
    calls = [
        Call(raw_bytes, (rng, n), {}, result) for n, result in zip((2, 3, 1), bytes_of, strict=True)
    ]
    program = Program(calls, [], [rng], late=bytes_of)
    passes.join_draws(program)
    assert functions(program) == [raw_bytes, *[operator.getitem] * 3]
    assert program.calls[0].args[1] == 6
    assert [call.args[1] for call in program.calls[1:]] == [
        slice(0, 16),
        slice(16, 40),
        slice(40, 48),
    ]


def test_a_copy_of_what_nobody_needs():
    calls = [
        Call(np.sin, (X,), {}, A),
        Call(np.empty_like, (X,), {}, B),
        Call(operator.setitem, (B, ..., A), {}, None, (B,)),
    ]
    program = Program(list(calls), [X], [], late=[B])
    passes.no_copies(program)
    assert functions(program) == [np.sin]
    assert program.calls[0].result is B


def test_small_powers():
    calls = [Call(operator.pow, (X, n), {}, variable("y")) for n in (1, 2, 2.0, 3, -1)]
    program = Program(calls, [X], [])
    operands.powers(program)
    assert functions(program) == [np.positive, np.square, np.square, operator.pow, operator.pow]


def test_numbers_become_arrays_of_the_dtype():
    x = variable("x", dtype=np.float32, external=True)
    result = variable("y", dtype=np.float32)
    number = Variable(float, (), None, (), Storage(True), "lr")
    calls = [
        Call(operator.mul, (x, 0.1), {}, result),
        Call(operator.mul, (x, number), {}, variable("z", dtype=np.float32)),
    ]
    program = Program(calls, [x, number], [])
    operands.numbers_as_arrays(program)
    assert functions(program) == [operator.mul, operator.setitem, operator.mul]
    assert program.calls[0].args[1].value == np.float32(0.1)
    assert program.calls[0].args[1].dtype == np.float32


def test_conversions_of_numbers_to_their_dtype():
    x, y, z = (Variable(np.float32, (), np.dtype("f4"), (), Storage(), n) for n in "xyz")
    wide = Variable(np.float64, (), np.dtype("f8"), (), Storage(), "wide")
    astype = Method("astype")
    calls = [Call(astype, (x, np.float32), {}, y), Call(astype, (x, np.float64), {}, wide)]
    program = Program([*calls, Call(astype, (wide, np.float32), {}, z)], [x], [])
    operands.same_numbers(program)
    assert functions(program) == [same, astype, astype]


def test_numbers_are_computed_when_they_change():
    p, rest, scale = (Variable(float, (), None, (), Storage(), n) for n in ("p", "rest", "scale"))
    x = variable("x", external=True)
    calls = [
        Call(operator.sub, (1, p), {}, rest),
        Call(np.sin, (x,), {}, A),
        Call(operator.truediv, (1, rest), {}, scale),
        Call(operator.mul, (A, scale), {}, B),
    ]
    program = Program(calls, [x, p], [], late=[B])
    operands.numbers_as_arrays(program)
    operands.numbers_first(program)
    assert functions(program) == [np.sin, operator.mul]
    assert [call.function for call in program.numbers] == [
        operator.sub,
        operator.truediv,
        operator.setitem,
    ]


def zeroings(*between):
    """A program that zeroes floats by two masks, with calls in between."""
    x, first, second = (variable(n, external=True, dtype=np.float32) for n in ("x", "a", "b"))
    ones, twos = variable("ones", dtype=bool), variable("twos", dtype=bool)
    calls = [Call(np.less, (x, first), {}, ones), Call(np.less, (x, second), {}, twos)]
    value = x
    for step in (ones, *between, twos):
        bits = variable("bits", dtype=np.int32, storage=value.storage)
        if isinstance(step, Variable) and step.is_array:
            product = variable("product", dtype=np.int32)
            calls.append(Call(Method("view"), (value, np.int32), {}, bits))
            calls.append(Call(operator.mul, (bits, step), {}, product))
            value = variable("floats", dtype=np.float32, storage=product.storage)
            calls.append(Call(Method("view"), (product, np.float32), {}, value))
        else:
            product = variable("scaled", dtype=np.float32)
            calls.append(Call(operator.mul, (value, step), {}, product))
            value = product
    scales = [step for step in between if isinstance(step, Variable)]
    return Program(calls, [x, first, second, *scales], [], late=[value])


def test_two_masks_in_turn_are_one():
    program = zeroings()
    masks.join_masks(program)
    assert functions(program).count(operator.mul) == functions(program).count(np.bitwise_and) == 1


def test_two_masks_with_a_scale_between_stay_apart_unless_they_are_joined_already():
    program = zeroings(2.0)
    masks.join_masks(program)
    assert functions(program).count(operator.mul) == 3


def test_small_operands_are_spread():
    rows, bias, result = (
        variable(name, shape) for name, shape in (("x", (4, 3)), ("b", (3,)), ("y", (4, 3)))
    )
    mask = variable("mask", (4, 3), bool)
    ones = variable("ones", (4, 1))
    ones.storage, ones.value = Storage(constant=True), np.ones((4, 1))
    calls = [
        Call(np.add, (rows, bias), {}, result),
        Call(np.subtract, (rows, mask), {}, variable("z", (4, 3))),
        Call(np.multiply, (rows, ones), {}, variable("u", (4, 3))),
        Call(np.maximum, (rows, mask), {}, variable("v", (4, 3))),
        Call(np.add, (rows, result), {}, variable("w", (4, 3))),
    ]
    program = Program(calls, [], [])
    operands.operands_alike(program)
    spread = [np.empty_like, operator.setitem]
    assert functions(program) == [
        *(*spread, np.add),
        *(*spread, np.subtract),
        *(np.multiply, np.maximum, np.add),
    ]
    assert program.calls[6].args[1].value.shape == (4, 3)


def test_buffers_are_used_again_and_in_place():
    calls = [Call(np.sin, (X,), {}, A), Call(np.cos, (A,), {}, B), Call(np.add, (B, X), {}, C)]
    program = Program(calls, [X], [], late=[C])
    buffers.buffers_and_views(program)
    assert program.buffers == {A, B}
    assert [call.function for call in program.once] == [np.empty, in_the_memory_of]


def test_views_of_buffers_are_made_once():
    view = variable("view", storage=A.storage)
    calls = [
        Call(np.sin, (X,), {}, A),
        Call(np.transpose, (A,), {}, view),
        Call(np.add, (view, A), {}, C),
    ]
    program = Program(calls, [X], [], late=[C])
    buffers.buffers_and_views(program)
    assert functions(program) == [np.sin, np.add]
    assert [call.function for call in program.once] == [np.empty, np.transpose]


def test_no_more_memory_than_eager_code():
    compiled = compile(lambda x: np.sum(np.tanh(np.sin(np.cos(np.exp(x)) + 1)) * 2))
    for _ in range(3):
        compiled(np.ones(100))
    assert compiled.source.count("np.empty((100,)") == 1


# ------------------------------------------------------------------ what is made for one run


@pytest.mark.parametrize("around", [{}, {"over": "raise"}, {"invalid": "raise"}])
def test_an_errstate_that_is_entered_again(around):
    inner = Errstate({"over": "ignore"})
    for state_around in ({}, around, {}):
        with np.errstate(**state_around):
            before = np.geterr()
            for _ in range(2):
                with inner:
                    assert np.geterr() == before | {"over": "ignore"}
                assert np.geterr() == before
            with pytest.raises(ZeroDivisionError), inner:
                raise ZeroDivisionError
            assert np.geterr() == before


def test_overflow_where_eager_code_ignores_it():
    slope = value_and_grad(lambda x: F.cross_entropy(x, np.array([1, 0])))
    x = np.array([[-1, 1], [1, -1]], np.float32) * np.float32(3e38)
    compiled = compile(slope)
    with np.errstate(over="raise"):
        for _ in range(4):
            result = compiled(x)
    assert_same_bits(result, slope(x))
    assert compiled.eager_calls == 0
