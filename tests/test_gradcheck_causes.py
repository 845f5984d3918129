"""gradcheck names the cause of a mistake if there is evidence for that one and no other."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import MODES
from toy import Toy

from microgrand import Tensor, defvjp, primitive
from microgrand.tensor import data_of
from microgrand.testing import MICROGRAND, Adapter, GradcheckError, gradcheck

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2, (3, 3)) * RNG.choice([-1, 1], (3, 3))
CUBE = RNG.uniform(0.5, 2, (2, 2, 2))


def with_vjp(function, vjp):
    made = primitive(lambda x: function(x))
    defvjp(made, vjp)
    return made


def cause_of(fn, *inputs, **options):
    """Return the cause that gradcheck names; "" if it names none."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(fn, *inputs, **options)
    return str(caught.value).partition("cause: ")[2]


def assigned(g, out, x, index):
    share = np.zeros_like(x)
    share[index] = g
    return share


INDEX = np.array([0, 2, 0])
VJPS = {
    "mean of squares, g ignored": (
        lambda x: np.mean(x * x), lambda g, out, x: 2 * x / x.size, "the cotangent is ignored",
    ),
    "sine, g ignored": (np.sin, lambda g, out, x: np.cos(x), "the cotangent is ignored"),
    "relu, masked by g": (
        lambda x: np.maximum(x, 0), lambda g, out, x: g * (g > 0), "masked by the sign of the cot",
    ),
    "square, masked by g": (
        np.square, lambda g, out, x: 2 * x * g * (g > 0), "masked by the sign of the cotangent",
    ),
    "sine, |g|": (np.sin, lambda g, out, x: np.abs(g) * np.cos(x), "not linear in the cotangent"),
    "relu, without its mask": (
        lambda x: np.maximum(x, 0), lambda g, out, x: g, "a mask is missing",
    ),
    "relu, the opposite mask": (
        lambda x: np.maximum(x, 0), lambda g, out, x: g * (x < 0), "mask on the way back",
    ),
    "leaky relu, as relu": (
        lambda x: np.where(x > 0, x, 0.1 * x), lambda g, out, x: g * (x > 0),
        "no gradient arrives at some of the elements",
    ),
    "index, repeated": (
        lambda x: x[INDEX], lambda g, out, x: assigned(g, out, x, INDEX), "only the last counts",
    ),
    "embedding, repeated": (
        lambda x: np.sin(x)[INDEX],
        lambda g, out, x: assigned(g, out, x, INDEX) * np.cos(x), "only the last counts",
    ),
    "tile, first only": (
        lambda x: np.concatenate([x, x]), lambda g, out, x: g[:3], "only the first counts",
    ),
    "sum of rows, spread over columns": (
        lambda x: np.sum(x, axis=1), lambda g, out, x: g * np.ones_like(x),
        "spread along axis 0 instead of axis 1",
    ),
    "sum of squares of rows, spread over columns": (
        lambda x: np.sum(x * x, axis=1), lambda g, out, x: 2 * x * g,
        "spread along axis 0 instead of axis 1",
    ),
    "transposition, ignored": (np.transpose, lambda g, out, x: g, "transposed: axes 0 and 1"),
    "flip, ignored": (lambda x: x[::-1], lambda g, out, x: g, "in the wrong places"),
    "square, without 2": (np.square, lambda g, out, x: g * x, "2 times too small"),
    "cube, without 3": (lambda x: x**3, lambda g, out, x: g * x**2, "3 times too small"),
    "mean, without 1/n": (
        np.mean, lambda g, out, x: g * np.ones_like(x), "so perhaps a 1/n is missing",
    ),
    "sum, with 1/n": (
        np.sum, lambda g, out, x: g * np.ones_like(x) / x.size, "perhaps a 1/n is one too many",
    ),
    "tanh, 1 - out": (np.tanh, lambda g, out, x: g * (1 - out), ""),
    "exp, not differentiated twice": (np.exp, lambda g, out, x: g * out * x, ""),
}  # fmt: skip


@MODES
@pytest.mark.parametrize("name", VJPS)
def test_the_cause_of_a_wrong_vjp(name, mode):
    function, vjp, cause = VJPS[name]
    found = cause_of(with_vjp(function, vjp), X, mode=mode)
    assert cause in found
    assert cause or not found


def test_a_permutation_that_is_not_inverted():
    wrong = with_vjp(
        lambda x: np.transpose(x, (1, 2, 0)), lambda g, out, x: np.transpose(g, (1, 2, 0))
    )
    assert "permutation" in cause_of(wrong, CUBE)
    # Of different lengths, the shape tells.
    adapter = replace(
        MICROGRAND,
        gradients=lambda *args: [np.moveaxis(g, 0, 1) for g in MICROGRAND.gradients(*args)],
    )
    assert "permuted" in cause_of(np.sin, np.ones((2, 3, 4)), adapter=adapter)


@MODES
@pytest.mark.parametrize("x", [0.5, 2.0, 1 / 3, 0.25, -1.0])
def test_a_number_that_is_a_multiple_by_chance_is_no_factor(mode, x):
    # At 0.5, x is 2 x^2, and so on: Hypothesis shrinks to such points.
    assert cause_of(with_vjp(np.square, lambda g, out, x: g * x**3), np.array(x), mode=mode) == ""
    assert cause_of(with_vjp(np.exp, lambda g, out, x: g * x), np.array([x]), mode=mode) == ""
    assert "2 times too small" in cause_of(with_vjp(np.square, lambda g, out, x: g * x), x)


def test_one_over_n_has_to_follow_n():
    cube = with_vjp(lambda x: x**3, lambda g, out, x: g * x**2)
    for shape in ((3,), (3, 3), (1, 3)):
        cause = cause_of(cube, np.linspace(0.4, 1.3, np.prod(shape)).reshape(shape))
        assert cause == "off by a factor: 3 times too small"
    mean = with_vjp(lambda x: np.mean(x, axis=0), lambda g, out, x: np.ones_like(x) * g)
    assert "perhaps a 1/n is missing" in cause_of(mean, np.linspace(0.4, 1.3, 15).reshape(3, 5))


@MODES
def test_a_second_derivative_that_is_not_recorded(mode):
    wrong = with_vjp(np.sin, lambda g, out, x: g * np.cos(data_of(x)))
    assert "no gradient arrives at second order" in cause_of(wrong, X, order=2, mode=mode)
    arrays = Adapter(  # a framework that knows no second derivative
        tensor=lambda array: Tensor(array, requires_grad=True),
        array=lambda tensor: tensor.data,
        gradients=through_grad,
    )
    cause = cause_of(lambda x: x * x, X, order=2, mode=mode, adapter=arrays)
    assert "no gradient arrives at second order" in cause


def through_grad(outputs, cotangents, leaves, create_graph):
    for leaf in leaves:
        leaf.grad = None
    total = sum((output * cotangent.data).sum() for output, cotangent in zip(outputs, cotangents))  # noqa: B905
    if total.requires_grad:
        total.backward()
    return [leaf.grad for leaf in leaves]


# ------------------------------------------------------------------------------- the engine


def diamond(c):
    return c.sin() * c + c


ENGINE = {
    "overwritten": (lambda x, y: x * y * x, "overwritten instead of added"),
    "shared": (lambda x, y: (x + y) + x, "two gradients share one array"),
    "order": (lambda x, y: diamond(x * y), "the order of the graph"),
    "broadcasting": (lambda x, y: x * y, "broadcasting is not undone"),
}


@MODES
@pytest.mark.parametrize("fault", ENGINE)
def test_the_cause_of_a_fault_of_the_engine(fault, mode, monkeypatch):
    adapter = Adapter.guess(Toy)
    fn, cause = ENGINE[fault]
    y = X[0] + 3 if fault == "broadcasting" else X + 3
    assert gradcheck(fn, X, y, adapter=adapter, mode=mode)
    monkeypatch.setattr(Toy, "fault", fault)
    assert gradcheck(lambda x: x.sin(), X, adapter=adapter, mode=mode)  # a chain is right
    assert cause in cause_of(fn, X, y, adapter=adapter, mode=mode)


def test_advice_to_users_of_other_frameworks_names_none_of_our_tools(monkeypatch):
    draws = np.random.default_rng(0)

    def dropout(x):
        return x * Toy((draws.uniform(size=x.shape) < 0.5) * 2.0)

    with pytest.raises(GradcheckError, match="not deterministic") as caught:
        gradcheck(dropout, X, adapter=Adapter.guess(Toy))
    assert "nn." not in str(caught.value)
    assert "manual_seed" not in str(caught.value)
