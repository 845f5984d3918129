"""Known mistakes, each planted in turn: the checks that the tests use must catch every one.

And where `gradcheck` can tell the cause, it must tell the right one. Where it cannot, it must not
make one up. Wrong versions of Dropout as a module are in test_dropout.py; a factor of 1.001 in
every rule of the table is in test_vjps/walks.py.
"""

import contextvars
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from planting import with_mistake

from microgrand import (
    Tensor,
    engine,
    grad_mode,
    manual_seed,
    nn,
    no_grad,
    tensor,
    transforms,
    vjps,
)
from microgrand.dispatch import data_of
from microgrand.engine import Rules, rules_of
from microgrand.nn import activations, linear, losses
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask
from microgrand.testing import Adapter, GradcheckError, gradcheck

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 2, (3, 4)) * [[-1, 1, 1, -1], [1, -1, 1, 1], [-1, -1, 1, 1]]
Y = np.abs(RNG.permuted(X)) + 0.1
SQUARE, OTHER = X[:, :3], Y[:, 1:]
CUBE = RNG.uniform(0.5, 2, (2, 2, 2))
ROW, BATCH = Y[0, :3], RNG.uniform(0.5, 2, (2, 3, 3))

# ------------------------------------------------------------------------- ways to plant one


def vjp(function, *wrong):
    """Give a function of the table other VJPs; None leaves one as it is."""

    def plant(monkeypatch):
        right = rules_of[function]
        given = [*wrong, *[None] * len(right.vjps)]
        vjps = tuple(new or old for new, old in zip(given, right.vjps, strict=False))
        monkeypatch.setitem(rules_of, function, Rules(vjps, None))

    return plant


def joint(function, wrong):
    def plant(monkeypatch):
        monkeypatch.setitem(rules_of, function, Rules((), wrong))

    return plant


def source(name, right, wrong):
    """Change a line of one of the engine's functions, or of those that add gradients up."""

    def plant(monkeypatch):
        owner = engine if hasattr(engine, name) else tensor
        function = with_mistake(getattr(owner, name), right, wrong)
        for module in (engine, tensor, transforms, sys.modules["microgrand.testing.adapters"]):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, function)

    return plant


def replaced(owners, name, function):
    def plant(monkeypatch):
        for owner in owners:
            monkeypatch.setattr(owner, name, function)

    return plant


# -------------------------------------------------------------------------------- the checks


def check(fn, *inputs, **options):
    return lambda: gradcheck(fn, *inputs, **options)


def gradient(fn, x):
    leaf = Tensor(np.asarray(x, float), requires_grad=True)
    fn(leaf).backward(np.ones_like(fn(leaf).data))
    return leaf.grad


def convention(fn, x, expected):
    """Check a derivative where differences do not tell: at a kink."""

    def run():
        assert np.array_equal(gradient(fn, x), expected)

    return run


def backward_and_grad(outputs, cotangents, leaves, create_graph):
    for output, cotangent in zip(outputs, cotangents, strict=True):
        output.backward(cotangent.data)
    return [leaf.grad for leaf in leaves]


THROUGH_GRAD = Adapter(
    tensor=lambda array: Tensor(array, requires_grad=True),
    array=data_of,
    gradients=backward_and_grad,
)


def check_gradients_have_the_dtype_of_their_leaf():
    leaf = Tensor(np.ones(2, np.float32), requires_grad=True)
    out = leaf * np.ones(2)
    out.sum().backward()
    assert leaf.grad.dtype == np.float32
    unchanged = engine.unbroadcast(np.ones(2), leaf.data, out, 0)
    assert unchanged.dtype == np.float32


def check_leaves_share_no_gradient():
    x, y = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (x + y).backward(np.ones(2))
    assert not np.shares_memory(x.grad, y.grad)


def check_a_change_in_place_is_noticed():
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = np.sum(x * x)
    with no_grad():
        x += 1.0
    try:
        y.backward()
    except RuntimeError:
        return
    raise AssertionError("a wrong gradient, without a word")


def check_no_grad_ends():
    with no_grad():
        pass
    assert (Tensor([1.0], requires_grad=True) * 2).requires_grad


def check_dropout_in_evaluation():
    manual_seed(0)
    gradcheck(nn.Dropout(0.5).eval(), X)


def check_dropout_in_training():
    manual_seed(0)
    mask = bernoulli_mask(X.shape, 0.5, np.random.default_rng(0))
    gradcheck(lambda x: apply_mask(x, mask, 2.0), X, order=2)


def check_hidden_layer():
    rng = np.random.default_rng(0)
    layers = nn.Linear(4, 5, dtype=float, rng=rng), nn.ReLU(), nn.Dropout(0.5, rng=rng)
    net, masks = nn.Sequential(*layers), nn.DropoutMasks()
    assert gradcheck(masks.hold(net), X, order=2)
    with masks:
        out = net(X).data
    hidden = X @ net[0].weight.data.T + net[0].bias.data
    assert np.allclose(out, np.where(masks[0], 2 * np.maximum(hidden, 0), 0))


def check_softmax_keeps_the_dtype():
    assert F.softmax(X).dtype == X.dtype


def cross_entropy(logits):
    return F.cross_entropy(logits, [0, 2, 1])


def at_a_tie(t):
    """Two equal elements, whatever `t` is: their maximum is `t`."""
    return np.max(np.stack([t, t]), axis=0)


# ------------------------------------------------------------------------------ the mistakes


@dataclass
class Mistake:
    plant: Callable[[pytest.MonkeyPatch], None]
    check: Callable[[], Any]
    #: The cause that gradcheck tells; "" if it tells none; None if it is not gradcheck that fails.
    cause: str | None = ""


def matmul(left=None, right=None):
    return vjp(np.matmul, left, right)


PRODUCT = np.matmul
MISTAKES = {
    # ---- signs and factors
    "subtract: sign of the second": Mistake(
        vjp(np.subtract, None, lambda g, out, x, y: g),
        check(np.subtract, X, Y), "the sign is wrong",
    ),
    "cos: sign": Mistake(
        vjp(np.cos, lambda g, out, x: g * np.sin(x)), check(np.cos, X), "the sign is wrong"
    ),
    "divide: sign of the divisor's": Mistake(
        vjp(np.true_divide, None, lambda g, out, x, y: g * out / y),
        check(np.true_divide, X, Y), "the sign is wrong",
    ),
    "square: without 2": Mistake(
        vjp(np.square, lambda g, out, x: g * x), check(np.square, X), "2 times too small"
    ),
    "sqrt: without 1/2": Mistake(
        vjp(np.sqrt, lambda g, out, x: g / out), check(np.sqrt, Y), "2 times too large"
    ),
    "power: without the exponent": Mistake(
        vjp(np.power, lambda g, out, x, y: g * x ** (y - 1)),
        check(lambda x: x**5, X), "5 times too small",
    ),
    "log10: as log": Mistake(
        vjp(np.log10, lambda g, out, x: g / x), check(np.log10, Y), "found is 2.30259 times"
    ),
    "exp2: as exp": Mistake(
        vjp(np.exp2, lambda g, out, x: g * out), check(np.exp2, X), "found is 1.4427 times"
    ),
    "mean: without 1/n": Mistake(
        vjp(np.mean, lambda g, out, x, axis=None: np.broadcast_to(g, x.shape)),
        check(np.mean, X), "12 times too large; 12 is also a number of elements here",
    ),
    "mean: 1/n of all instead of the axis": Mistake(
        vjp(np.mean, lambda g, out, x, axis=None: np.broadcast_to(g / x.size, x.shape)),
        check(lambda x: np.mean(x, axis=0), X), "4 times too small",
    ),
    "var: without 2": Mistake(
        vjp(np.var, lambda g, out, x: g * (x - np.mean(x)) / x.size), check(np.var, X),
        "2 times too small",
    ),
    "var: without ddof": Mistake(
        vjp(np.var, lambda g, out, x, ddof=0: g * 2 * (x - np.mean(x)) / x.size),
        check(lambda x: np.var(x, ddof=1), X), "found is 0.916667 times",
    ),
    "std: as var": Mistake(
        vjp(np.std, lambda g, out, x: g * 2 * (x - np.mean(x)) / x.size), check(np.std, X),
    ),
    "cross-entropy: without 1/n": Mistake(
        vjp(losses.mean_cross_entropy, lambda g, out, x, one_hot, log_p: (
            len(one_hot) * losses.mean_cross_entropy_vjp(g, out, x, one_hot, log_p))),
        check(cross_entropy, X), "3 times too large; 3 is also a number of elements",
    ),
    "affine: bias averaged over the batch": Mistake(
        joint(linear.affine, lambda g, out, needed, x, weight, bias: (
            *linear.affine_vjp(g, out, needed, x, weight, bias)[:2], np.mean(g, axis=0))),
        check(F.linear, X, OTHER.T @ X, ROW), "3 times too small",
    ),
    # ---- wrong formulas, which no single cause explains
    "tanh: 1 - out": Mistake(vjp(np.tanh, lambda g, out, x: g * (1 - out)), check(np.tanh, X)),
    "sin: not differentiated": Mistake(vjp(np.sin, lambda g, out, x: g * out), check(np.sin, X)),
    "abs: without the sign": Mistake(vjp(np.absolute, lambda g, out, x: g), check(np.abs, X)),
    "multiply: by itself": Mistake(
        vjp(np.multiply, lambda g, out, x, y: g * x), check(np.multiply, X, Y)
    ),
    "divide: not inverted": Mistake(
        vjp(np.true_divide, lambda g, out, x, y: g * y), check(np.true_divide, X, Y)
    ),
    "arctan2: arguments swapped": Mistake(
        vjp(np.arctan2, lambda g, out, y, x: g * y / (x**2 + y**2)), check(np.arctan2, X, Y)
    ),
    "minimum: gives to the larger": Mistake(
        vjp(np.minimum, lambda g, out, x, y: np.where(x > y, g, 0)), check(np.minimum, X, Y),
        "the mask on the way back is another one",
    ),
    "where: branches swapped": Mistake(
        vjp(np.where, None, lambda g, out, condition, x, y: np.where(condition, 0, g)),
        check(lambda x, y: np.where(X > 0, x, y), X, Y), "the mask on the way back is another one",
    ),
    "clip: lets everything through": Mistake(
        vjp(sys.modules["microgrand.vjps.elementwise"].clip, lambda g, out, x, low, high: g),
        check(lambda x: np.clip(x, -1.03, 1.03), X), "a mask is missing",
    ),
    "softmax: without its cross terms": Mistake(
        vjp(F.softmax, lambda g, out, x, dim=-1: g * out * (1 - out)), check(F.softmax, X)
    ),
    "log_softmax: without the sum": Mistake(
        vjp(F.log_softmax, lambda g, out, x, dim=-1: g - np.exp(out) * g), check(F.log_softmax, X)
    ),
    "cross-entropy: without the labels": Mistake(
        vjp(losses.mean_cross_entropy,
            lambda g, out, x, one_hot, log_p: np.exp(log_p) * (g / len(one_hot))),
        check(cross_entropy, X),
    ),
    # ---- axes
    "sum: axis not put back": Mistake(
        vjp(np.sum, lambda g, out, x, axis=None: np.broadcast_to(g, x.shape)),
        check(lambda x: np.sum(x, axis=1), SQUARE), "spread along axis 0 instead of axis 1",
    ),
    "swapaxes: ignored": Mistake(
        vjp(np.swapaxes, lambda g, out, x, axis1, axis2: g),
        check(lambda x: np.swapaxes(x, 0, 1), SQUARE), "transposed: axes 0 and 1",
    ),
    "reshape: order ignored": Mistake(
        vjp(np.reshape, lambda g, out, x, shape, order="C": np.reshape(g, x.shape)),
        check(lambda x: np.reshape(x, -1, order="F"), SQUARE), "transposed: axes 0 and 1",
    ),
    "transpose: not inverted": Mistake(
        vjp(np.transpose, lambda g, out, x, axes=None: np.transpose(g, axes)),
        check(lambda x: np.transpose(x, (1, 2, 0)), CUBE), "the axes of the result are permuted",
    ),
    "moveaxis: not inverted": Mistake(
        vjp(np.moveaxis, lambda g, out, x, start, end: np.moveaxis(g, start, end)),
        check(lambda x: np.moveaxis(x, 0, 2), CUBE), "the axes of the result are permuted",
    ),
    "cumsum: not from the end": Mistake(
        vjp(np.cumsum, lambda g, out, x, axis=None: np.cumsum(g, axis)),
        check(lambda x: np.cumsum(x, axis=1), X),
    ),
    # ---- matrix products: every combination of 1-D, 2-D and more
    "vector @ vector, left": Mistake(
        matmul(lambda g, out, x, y: g * x), check(PRODUCT, ROW, X[0, :3])
    ),
    "vector @ vector, right": Mistake(
        matmul(None, lambda g, out, x, y: g * y), check(PRODUCT, ROW, X[0, :3])
    ),
    "vector @ matrix, left": Mistake(
        matmul(lambda g, out, x, y: g @ y), check(PRODUCT, ROW, SQUARE)
    ),
    "vector @ matrix, right": Mistake(
        matmul(None, lambda g, out, x, y: np.outer(g, x)), check(PRODUCT, ROW, SQUARE),
        "transposed: axes 0 and 1",
    ),
    "matrix @ vector, left": Mistake(
        matmul(lambda g, out, x, y: np.outer(y, g)), check(PRODUCT, SQUARE, ROW),
        "transposed: axes 0 and 1",
    ),
    "matrix @ vector, right": Mistake(
        matmul(None, lambda g, out, x, y: x @ g), check(PRODUCT, SQUARE, ROW)
    ),
    "matrix @ matrix, left": Mistake(
        matmul(lambda g, out, x, y: g @ y), check(PRODUCT, SQUARE, OTHER)
    ),
    "matrix @ matrix, right": Mistake(
        matmul(None, lambda g, out, x, y: g.T @ x), check(PRODUCT, SQUARE, OTHER),
        "transposed: axes 0 and 1",
    ),
    "batch @ matrix, right": Mistake(
        matmul(None, lambda g, out, x, y: x[0].T @ g[0]), check(PRODUCT, BATCH, SQUARE)
    ),
    "affine: weight": Mistake(
        joint(linear.affine, lambda g, out, needed, x, weight, bias: (
            g @ weight, x.T @ g, None)),
        check(F.linear, SQUARE, OTHER), "transposed: axes 0 and 1",
    ),
    # ---- elements that are moved, repeated or joined
    "index: repeated elements do not add up": Mistake(
        replaced([vjps.indexing], "selects_once", lambda part: True),
        check(lambda x: x[[0, 2, 0]], X),
        "only the last counts",
    ),
    "repeat: the first copy only": Mistake(
        vjp(np.repeat, lambda g, out, x, times, axis: g[::2]),
        check(lambda x: np.repeat(x, 2, axis=0), X), "only the first counts",
    ),
    "sort: not brought back": Mistake(
        vjp(np.sort, lambda g, out, x, axis=-1: g), check(np.sort, X),
        "the right numbers are in the wrong places",
    ),
    "concatenate: without offsets": Mistake(
        joint(sys.modules["microgrand.vjps.shapes"].concatenate,
              lambda g, out, needed, *arrays, axis=0: [g[: len(array)] for array in arrays]),
        check(lambda x, y: np.concatenate([x, y]), X, Y),
    ),
    # ---- special points
    "prod: out / x": Mistake(
        vjp(np.prod, lambda g, out, x: g * out / x), check(np.prod, np.array([2.0, 0.0, 3.0])),
        "backward produces",
    ),
    "power: 0 * x**-1 at 0": Mistake(
        vjp(np.power, lambda g, out, x, y: g * y * x ** (y - 1)),
        check(lambda x: x ** np.array([0.0, 2.0]), np.array([0.0, 3.0])), "backward produces nan",
    ),
    "maximum: a tie gives to both": Mistake(
        vjp(np.maximum, *[lambda g, out, x, y: g] * 2), check(lambda x: np.maximum(x, x), X),
        "2 times too large",
    ),
    "max: a tie gives to all": Mistake(
        vjp(np.max, lambda g, out, x, axis: np.where(x == data_of(out), g, 0)), check(at_a_tie, X),
        "2 times too large",
    ),
    "max: a tie gives to the first": Mistake(
        vjp(np.max, lambda g, out, x: g * (np.arange(x.size) == np.argmax(x))),
        check(np.max, np.array([1.0, 2.0, 2.0])), "a kink at this point",
    ),
    "clip: 0 at its bounds": Mistake(
        vjp(sys.modules["microgrand.vjps.elementwise"].clip,
            lambda g, out, x, low, high: np.where((low < x) & (x < high), g, 0)),
        convention(lambda x: np.clip(x, 0, 1), [0, 0.5, 1, 2], [1, 1, 1, 0]), None,
    ),
    "abs: 1 at 0": Mistake(
        vjp(np.absolute, lambda g, out, x: np.where(x >= 0, g, -g)),
        convention(np.abs, [-1, 0, 1], [-1, 0, 1]), None,
    ),
    "relu: 1 at 0": Mistake(
        replaced([activations], "relu_mask", lambda x: ~(x < 0)),
        convention(F.relu, [-1, 0, 1], [0, 0, 1]), None,
    ),
    # ---- masks
    "mask: inverted on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: apply_mask(g, ~mask, scale)),
        check_dropout_in_training, "the mask on the way back is another one",
    ),
    "mask: redrawn on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: apply_mask(
            g, bernoulli_mask(x.shape, 0.5, np.random.default_rng(1)), scale)),
        check_dropout_in_training, "the mask on the way back is another one",
    ),
    "mask: not applied on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: g * scale), check_dropout_in_training,
        "a mask is missing",
    ),
    "dropout: not scaled on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: apply_mask(g, mask)),
        check_dropout_in_training, "2 times too small",
    ),
    "dropout: evaluation ignored": Mistake(
        replaced([nn.Dropout], "forward",
                 lambda self, x: super(nn.Dropout, self.train()).forward(x)),
        check_dropout_in_evaluation, "the function is not deterministic",
    ),
    "hidden layer: mask not applied on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: g * scale), check_hidden_layer
    ),
    "hidden layer: not scaled on the way back": Mistake(
        vjp(apply_mask, lambda g, out, x, mask, scale=1.0: apply_mask(g, mask)),
        check_hidden_layer, "2 times too small",
    ),
    "hidden layer: without ReLU's mask": Mistake(
        replaced([activations], "relu_mask", lambda x: np.ones(x.shape, bool)),
        check_hidden_layer, None,
    ),
    # ---- the engine
    "engine: overwritten": Mistake(
        source("backpropagate", "cotangents[arg] + contribution", "contribution"),
        check(lambda x: x + x, X),
        "overwritten instead of added",
    ),
    "engine: grad overwritten": Mistake(
        source("new_gradient", "np.add(tensor._grad, cotangent, out=gradient)",
               "gradient[...] = cotangent"),
        check(lambda x: (np.sin(x), np.cos(x)), X, adapter=THROUGH_GRAD),
        "overwritten instead of added",
    ),
    "engine: a node before all its uses": Mistake(
        source("backpropagate", "uses[arg] -= 1", "uses[arg] = 0 if uses[arg] > 0 else -1"),
        # The leaf is visited before the sine's share has reached it.
        check(lambda x: np.sin(x) * x, X), "the order of the graph",
    ),
    "engine: broadcasting not undone": Mistake(
        replaced([engine], "unbroadcast", lambda cotangent, value, function, i: cotangent),
        check(np.add, X, Y[0]), "broadcasting is not undone",
    ),
    "engine: broadcasting undone by the mean": Mistake(
        source("unbroadcast", "sum_of(", "np.mean("), check(np.add, X, Y[0]),
        "3 times too small; 3 is also a number of elements",
    ),
    "engine: gradients of another dtype": Mistake(
        source("unbroadcast", "cotangent.astype(data.dtype)", "cotangent"),
        check_gradients_have_the_dtype_of_their_leaf, None,
    ),
    "engine: one array for two gradients": Mistake(
        source("new_gradient", "    gradient[...] = cotangent", "    gradient = cotangent"),
        check_leaves_share_no_gradient, None,
    ),
    "engine: changes in place unnoticed": Mistake(
        source("inputs_of_vjps", "version != node.saved_version", "False"),
        check_a_change_in_place_is_noticed, None,
    ),
    "engine: no_grad never ends": Mistake(
        replaced([grad_mode.GradMode], "__exit__", lambda self, *exception: None),
        check_no_grad_ends, None,
    ),
    # ---- the second derivative
    "sin: derivative is a constant": Mistake(
        vjp(np.sin, lambda g, out, x: g * np.cos(data_of(x))), check(np.sin, X, order=2),
        "no gradient arrives",
    ),
    # At first order this is right: the derivative through the mean cancels.
    "var: the mean is a constant": Mistake(
        vjp(np.var, lambda g, out, x: g * 2 * (x - np.mean(data_of(x))) / x.size),
        check(np.var, X, order=2),
    ),
    # ---- precision
    "softmax: computed in float32": Mistake(
        replaced([activations], "subtract_max", lambda x, *_: x.astype(np.float32)),
        check_softmax_keeps_the_dtype, None,
    ),
    "softmax: rounded to float32 on the way": Mistake(
        replaced([activations], "subtract_max", lambda x, *_: x.astype(np.float32).astype(float)),
        check(F.softmax, X), "is a part of it computed in float32?",
    ),
}  # fmt: skip


def test_the_catalogue_is_large():
    assert len(MISTAKES) >= 70


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_planted_mistake_is_caught(mistake, monkeypatch):
    mistake.check()  # nothing is wrong yet
    mistake.plant(monkeypatch)
    # In a context of its own, as a mistake may leave recording switched off.
    with np.errstate(all="ignore"), pytest.raises(AssertionError) as caught:
        contextvars.copy_context().run(mistake.check)
    if mistake.cause is not None:
        assert isinstance(caught.value, GradcheckError)
        report = str(caught.value)
        if mistake.cause:
            assert mistake.cause in report
        else:
            assert "cause" not in report


def test_a_constant_mean_is_no_mistake_of_first_order(monkeypatch):
    MISTAKES["var: the mean is a constant"].plant(monkeypatch)
    assert gradcheck(np.var, X)
