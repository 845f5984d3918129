"""`compile` of functions of arrays: the same bits as eager, on random programs and derivatives."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, compile, grad, hessian, hvp, jacobian, jvp, value_and_grad
from microgrand.testing import strategies


def as_function(program):
    """Make a scalar function of the inputs of a random program."""
    return lambda *inputs: np.sum(np.sin(program(*inputs)))


def same_inputs(program, dtype=np.float64):
    return [lambda number, x=x: (x * 1.0).astype(dtype) for x in program.inputs]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(program=strategies.programs())
def test_random_programs(dtype, program):
    with np.errstate(all="ignore"):
        assert_runs_as_eager(program, *same_inputs(program, dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(program=strategies.programs())
def test_gradients_of_random_programs(dtype, program):
    with np.errstate(all="ignore"):
        f = value_and_grad(as_function(program), tuple(range(len(program.inputs))))
        assert_runs_as_eager(f, *same_inputs(program, dtype))


@given(program=strategies.programs(max_lines=6))
def test_second_derivatives_of_random_programs(program):
    n = len(program.inputs)

    def product(*inputs):
        return hvp(as_function(program), inputs, [np.ones_like(x) for x in inputs])

    with np.errstate(all="ignore"):
        assert_runs_as_eager(product, *same_inputs(program))
        assert_runs_as_eager(
            grad(lambda *x: np.sum(grad(as_function(program))(*x)), n - 1), *same_inputs(program)
        )


@given(st.integers(0, 5))
def test_new_values_are_seen(seed):
    def f(x, y):
        return {"sum": np.tanh(x) @ y, "pair": [x * y[0], np.maximum(x, 0.25)]}

    def draw(shape):
        return lambda number: np.random.default_rng((seed, number)).normal(size=shape)

    assert_runs_as_eager(f, draw((4, 3)), draw(3))
    assert_runs_as_eager(value_and_grad(lambda x, y: np.sum(f(x, y)["pair"][1])), draw(3), draw(3))


@pytest.mark.parametrize("transform", [grad, jacobian, hessian])
def test_transforms_of_numbers(transform):
    f = transform(lambda x: np.sin(x) * x**3 / (1 + x**2) + 2**x)
    assert_runs_as_eager(f, lambda number: 0.5 + number)
    assert_runs_as_eager(f, lambda number: np.float64(0.5 + number))
    assert_runs_as_eager(f, lambda number: np.float32(0.5 + number))


def test_jvp():
    def f(x, t):
        return jvp(lambda x: np.cumsum(np.exp(x)), [x], [t])

    assert_runs_as_eager(f, lambda n: np.arange(3.0) / (n + 1), lambda n: np.ones(3) * n)


def test_python_numbers_are_inputs():
    assert_runs_as_eager(
        lambda x, a: a * x + a**2, lambda n: np.arange(3, dtype=np.float32), lambda n: 0.1 * n
    )
    assert_runs_as_eager(
        lambda x, a: np.multiply(Tensor(x), a), lambda n: np.arange(3.0), lambda n: 0.1 * n
    )


@given(program=strategies.programs(), order=st.sampled_from(["F", "every other", "reversed"]))
def test_arrays_that_lie_otherwise_in_memory(program, order):
    def laid_out(x):
        if order == "F":
            return np.asfortranarray(x)
        if order == "reversed":
            return x[::-1].copy()[::-1] if x.ndim else x
        return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x

    makers = [lambda number, x=x: laid_out(x * 1.0) for x in program.inputs]
    with np.errstate(all="ignore"):
        f = value_and_grad(as_function(program), tuple(range(len(program.inputs))))
        assert_runs_as_eager(f, *makers)


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex128])
def test_other_dtypes(dtype):
    def f(x):
        return np.real(np.sum(np.exp(x) * np.conj(x) / (1 + x @ x)))

    def draw(number):
        return (np.arange(4) / 7 + number).astype(dtype)

    assert_runs_as_eager(f, draw)
    if dtype == np.longdouble:
        assert_runs_as_eager(grad(f), draw)


def test_writing_into_arrays():
    def f(x, y):
        total = np.zeros_like(x)
        total[1:] = x[:-1]
        part = total[::2]
        part *= 3
        total += y
        np.add.at(total, [0, 0, 1], y[:3])
        np.copyto(part, 1, where=part > 2)
        y[0] = 7
        return total, part, x + y, x * y

    def draw(seed):
        return lambda number: np.random.default_rng((seed, number)).normal(size=6)

    assert_runs_as_eager(f, draw(1), draw(2))


def test_arguments_that_share_memory():
    def f(x, y):
        before = x + 0
        y *= 2
        return before, x + 0, y * 1

    compiled = compile(f)
    for _ in range(4):
        x, y = np.arange(5.0), np.arange(5.0)
        assert_same_bits(compiled(x[1:], x[:-1]), f(y[1:], y[:-1]))
        assert_same_bits(x, y)
    assert compiled.eager_calls == 0


def test_one_argument_given_twice():
    compiled = compile(lambda x, y: x - y)
    x = np.arange(3.0)
    for _ in range(4):
        assert_same_bits(compiled(x, x), x - x)
    assert_same_bits(compiled(x, 2 * x), x - 2 * x)


def test_tensors_as_arguments():
    def f(x, w):
        loss = np.sum(np.tanh(x * w))
        loss.backward()
        return loss

    compiled = compile(f)
    for number in range(5):
        x = np.arange(3.0) + number
        w, other = (Tensor(x / 3, requires_grad=True) for _ in range(2))
        assert_same_bits(compiled(Tensor(x), w), f(Tensor(x), other))
        assert_same_bits(w.grad, other.grad)
        if number > 2:
            assert_same_bits(compiled(Tensor(x), w), f(Tensor(x), other))
            assert_same_bits(w.grad, other.grad)
    assert compiled.eager_calls == 0


def test_out_by_position_and_in_place():
    room = np.zeros((2, 2))

    def f(x, y):
        first = np.dot(x, y, room)
        z = room * 2
        w = x * 1
        np.nan_to_num(w, copy=False)
        return first + 0, z, w, np.real(x) + 1, np.atleast_1d(x) * x.astype(float, copy=False)

    def draw(number):
        x = np.random.default_rng(number).normal(size=(2, 2))
        x[0, 0] = np.nan if number % 2 else 1
        return x

    assert_runs_as_eager(f, draw, draw)
    with pytest.raises(TypeError, match=r"np\.dot writes into an array"):
        compile(lambda x: np.dot(x, x, np.empty((2, 2))))(draw(0))
    with pytest.raises(TypeError, match="a string"):
        compile(lambda x: np.array_repr(x))(draw(0))


def test_numbers_and_tensors():
    w = Tensor(1.7, requires_grad=True)

    def f(a, b, x):
        w.grad = None
        y = a**w + b**w + x**w + a * w / b - x @ np.ones(3) * w + w**a + 2**w
        np.sum(y).backward()
        return y, w.grad

    assert_runs_as_eager(
        f, lambda n: 1.1 + n, lambda n: np.float64(0.3 + n), lambda n: np.arange(3.0) + n
    )


def test_numbers_beside_arrays_of_other_dtypes():
    def f(x, a):
        small = x.astype(np.uint8)
        return small < a, small * a, small + 3, small == 2.5, x < a, x.astype(int) < a, x * 2**60

    for dtype in (np.float16, np.float32, np.float64):
        with np.errstate(all="ignore"):
            assert_runs_as_eager(
                f, lambda n, dtype=dtype: (np.arange(6) + n).astype(dtype), lambda n: 1.5 + n
            )


def test_one_of_two_equal_values_is_written_into():
    def f(x):
        y, z = x * 2, x * 2
        z += 1
        return y, z.sum()

    assert_runs_as_eager(f, lambda number: np.arange(3.0) + number)


def test_a_check_that_reads_what_a_write_before_it_may_change():
    def f(x, y):
        x *= 2
        return np.repeat(y, 2)

    compiled = compile(f)
    for _ in range(4):
        x, expected = np.arange(4.0), np.arange(4.0)
        assert_same_bits(compiled(x, np.ones(4)), f(expected, np.ones(4)))
    x = np.arange(5.0)
    with pytest.raises(TypeError, match="values after parameters have been changed"):
        compiled(x[1:], x[:-1])
    assert_same_bits(x, np.arange(5.0))
