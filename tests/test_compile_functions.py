"""`compile` of functions of arrays: the same bits as eager, on random programs and derivatives."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from hypothesis import given
from hypothesis import strategies as st

from microgrand import grad, hessian, hvp, jacobian, jvp, value_and_grad
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
