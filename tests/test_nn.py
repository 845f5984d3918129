"""Layers, losses, their functions and modules; the masks themselves are in test_dropout.py."""

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import FLOATS
from hypothesis import given
from hypothesis import strategies as st

from microgrand import (
    Tensor,
    grad,
    hvp,
    jacobian,
    jvp,
    manual_seed,
    nn,
    no_grad,
    optim,
    vjp,
)
from microgrand.dispatch import unwrap
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import bernoulli_mask
from microgrand.random import default_rng
from microgrand.testing import gradcheck

RECORDED = json.loads((Path(__file__).parent / "recorded" / "nn.json").read_text())


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
batches = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def normal(seed, *shapes):
    """Draw arrays from a generator, which keeps Hypothesis's examples small."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


# ---------------------------------------------------------------- values, against PyTorch's


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:.* encountered in .*divide")
@pytest.mark.parametrize("title", RECORDED["functions"])
def test_functions_give_what_pytorch_gives(title):
    case = RECORDED["functions"][title]
    tensors = [
        Tensor(np.array(array, float).reshape(shape), requires_grad=True)
        for array, shape in zip(case["arrays"], case["shapes"], strict=True)
    ]
    out = getattr(F, case["function"])(*tensors, **case["constants"])
    out.backward(np.array(case["cotangent"]).reshape(out.shape))
    expected = np.array(case["output"]).reshape(out.shape)
    np.testing.assert_allclose(out.data, expected, rtol=1e-12, atol=1e-14)
    for tensor, gradient in zip(tensors, case["gradients"], strict=True):
        expected = np.array(gradient).reshape(tensor.shape)
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-12, atol=1e-14)


def test_training_gives_what_pytorch_gives():
    recorded = RECORDED["training"]
    net = nn.Sequential(
        nn.Linear(4, 6, dtype=np.float64), nn.ReLU(), nn.Linear(6, 5, dtype=np.float64),
        nn.ReLU(), nn.Linear(5, 3, dtype=np.float64),
    )  # fmt: skip
    assert repr(net) == recorded["repr"]
    assert list(net.state_dict()) == list(recorded["start"])
    net.load_state_dict(recorded["start"])
    losses = []
    for _ in recorded["losses"]:
        loss = nn.CrossEntropyLoss()(net(np.array(recorded["x"])), recorded["labels"])
        net.zero_grad()
        loss.backward()
        with no_grad():
            for parameter in net.parameters():
                parameter -= recorded["learning_rate"] * parameter.grad
        losses.append(loss.item())
    np.testing.assert_allclose(losses, recorded["losses"], rtol=1e-12)
    for name, value in net.state_dict().items():
        np.testing.assert_allclose(value, recorded["end"][name], rtol=1e-11)


# ---------------------------------------------------------------------------- gradient checks


@given(seeds, batches, sizes, sizes, st.booleans())
def test_gradient_of_linear(seed, batch, width, out_features, with_bias):
    x, weight, bias = normal(seed, (*batch, width), (out_features, width), out_features)
    arrays = (x, weight, bias) if with_bias else (x, weight)
    assert gradcheck(F.linear, *arrays, order=2, mode="fast")


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("batch", [(), (2,), (0,), (2, 1, 2)])
def test_gradient_of_the_layer_in_every_entry(batch, with_bias):
    layer = nn.Linear(3, 2, bias=with_bias, dtype=np.float64)
    (x,) = normal(0, (*batch, 3))
    assert gradcheck(layer, x, order=2)
    for name in ["weight", "bias"][: 1 + with_bias]:

        def of_parameter(value, name=name):
            both = {"weight": layer.weight, "bias": layer.bias, name: value}
            return F.linear(x, **both)

        assert gradcheck(of_parameter, getattr(layer, name).data, order=2)


def away_from_zero(array):
    """Move values from ReLU's kink, which differences cannot see."""
    return array + np.copysign(0.1, array)


@given(seeds, batches)
def test_gradient_of_relu(seed, shape):
    (x,) = normal(seed, shape)
    assert gradcheck(F.relu, away_from_zero(x), order=2)
    assert gradcheck(nn.ReLU(), away_from_zero(x), order=2)


@given(seeds, batches, st.floats(0, 0.95))
def test_gradient_of_dropout_with_its_mask_held_still(seed, shape, p):
    (x,) = normal(seed, shape)
    for training in True, False:

        def f(x, training=training):
            return F.dropout(x, p, training, np.random.default_rng(seed))

        assert gradcheck(f, x, order=2)

    def module(x):
        return nn.Dropout(p, rng=np.random.default_rng(seed))(x)

    assert gradcheck(module, x, order=2)


@given(seeds, st.lists(sizes, min_size=1, max_size=3).map(tuple), st.data())
def test_gradient_of_softmax_and_log_softmax(seed, shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    (x,) = normal(seed, shape)
    for f in F.softmax, F.log_softmax:
        assert gradcheck(lambda x, f=f: f(x, axis=axis), x, order=2)
        assert gradcheck(lambda x, f=f: f(x, axis), x)


@given(seeds, sizes, sizes)
def test_gradient_of_cross_entropy(seed, n, classes):
    (logits,) = normal(seed, (n, classes))
    labels = np.random.default_rng(seed).integers(0, classes, n)
    for loss in F.cross_entropy, nn.CrossEntropyLoss():
        assert gradcheck(lambda logits, loss=loss: loss(logits, labels), logits, order=2)


@given(seeds, st.lists(sizes, max_size=3).map(tuple))
def test_gradient_of_mse_loss(seed, shape):
    prediction, target = normal(seed, shape, shape)
    for loss in F.mse_loss, nn.MSELoss():
        assert gradcheck(loss, prediction, target, order=2)


@given(seeds, sizes, sizes)
def test_gradient_of_a_network(seed, n, width):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(n, 2)), rng.integers(0, 3, n)
    net = nn.Sequential(
        nn.Linear(2, width, dtype=float, rng=rng),
        nn.ReLU(),
        nn.Linear(width, 3, dtype=float, rng=rng),
    )

    def loss(weight, bias):
        hidden = F.relu(F.linear(x, weight, bias))
        return F.cross_entropy(net[2](hidden), labels)

    weight, bias = net[0].weight.data, net[0].bias.data
    hidden = x @ weight.T + bias
    if np.abs(hidden).min() > 1e-3:
        assert gradcheck(loss, weight, bias, order=2, mode="fast")


# ---------------------------------------------------------------------- extremes, empty batches


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_is_stable_at_any_finite_logit(dtype):
    largest = np.finfo(dtype).max
    rows = np.array([[largest, -largest, 0], [-largest, -largest, -largest], [0, 1, 2]], dtype)
    for row, label, expected in [
        (0, 0, 0.0),  # certain and right
        (0, 1, np.inf),  # certain and wrong: 2 * largest, which the dtype does not hold
        (0, 2, largest),
        (1, 1, np.log(3)),  # undecided
        (2, 0, 2 + np.log(1 + np.exp(-1) + np.exp(-2))),
    ]:
        logits = Tensor(rows[row : row + 1].copy(), requires_grad=True)
        loss = F.cross_entropy(logits, [label])
        assert loss.dtype == dtype
        np.testing.assert_allclose(float(loss.data), float(expected), rtol=2e-3)
        loss.backward()
        assert logits.grad.dtype == dtype
        assert np.isfinite(logits.grad).all()
        assert abs(logits.grad.sum()) < 1e-2  # softmax minus one-hot


@pytest.mark.filterwarnings("error")
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_softmax_never_overflows(values):
    x = np.array(values, np.float32)
    probabilities = F.softmax(Tensor(x)).data
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    assert (probabilities >= 0).all()
    log_probabilities = F.log_softmax(Tensor(x)).data
    assert log_probabilities.max() <= 0
    assert not np.isnan(log_probabilities).any()
    # What a naive logarithm of the softmax gets wrong:
    assert log_probabilities.max() > -np.log(len(x)) - 1e-5


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:.* encountered in .*divide")
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_empty_batch_goes_through_and_its_loss_is_nan(dtype):
    net = nn.Sequential(nn.Linear(3, 2, dtype=dtype), nn.ReLU(), nn.Dropout(0.5))
    x = Tensor(np.zeros((0, 3), dtype), requires_grad=True)
    for loss in (
        nn.CrossEntropyLoss()(net(x), np.zeros(0, int)),
        nn.MSELoss()(net(x), np.zeros((0, 2))),
    ):
        assert np.isnan(loss.item())
        net.zero_grad()
        loss.backward()
        assert x.grad.shape == (0, 3)
        np.testing.assert_array_equal(net[0].weight.grad, np.zeros((2, 3)))
        np.testing.assert_array_equal(net[0].bias.grad, np.zeros(2))


# -------------------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize("given_dtype", FLOATS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_layer_casts_to_its_own_dtype_and_gradients_have_their_tensors(dtype, given_dtype):
    layer = nn.Linear(3, 2, dtype=dtype)
    x = Tensor(np.ones((4, 3), given_dtype), requires_grad=True)
    out = layer(x)
    assert out.dtype == dtype
    np.sum(out).backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == dtype
    assert layer.bias.dtype == layer.bias.grad.dtype == dtype
    assert x.grad.dtype == given_dtype
    assert layer(np.ones((4, 3), given_dtype)).dtype == dtype


def test_parameters_are_float32_unless_asked_otherwise():
    assert {p.dtype for p in nn.Linear(2, 2).parameters()} == {np.dtype(np.float32)}
    assert nn.Linear(2, 1)([1.0, 2.0]).dtype == np.float32  # a list is no reason for float64
    assert nn.Parameter([1.0]).dtype == np.float64
    assert nn.Parameter([1.0], dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("dtype", FLOATS)
def test_functions_keep_the_dtype(dtype):
    x = Tensor(np.arange(6).reshape(2, 3).astype(dtype), requires_grad=True)
    for out in (
        F.relu(x), F.dropout(x, 0.3), F.dropout(x, np.float64(0.3)), F.softmax(x),
        F.log_softmax(x), F.cross_entropy(x, [0, 1]), F.mse_loss(x, np.zeros((2, 3))),
    ):  # fmt: skip
        assert out.dtype == dtype
        x.grad = None
        np.sum(out).backward()
        assert x.grad.dtype == dtype


def test_functions_take_arrays_and_lists():
    for x in [[0.0, 1.0], [2.0, 3.0]], np.array([[0.0, 1.0], [2.0, 3.0]]):
        for out in (
            F.linear(x, np.ones((3, 2)), [1.0, 2.0, 3.0]), F.relu(x), F.dropout(x),
            F.cross_entropy(x, [0, 1]), F.mse_loss(x, x), nn.ReLU()(x), nn.Dropout()(x),
        ):  # fmt: skip
            assert isinstance(out, Tensor)
        assert F.softmax(x).shape == F.log_softmax(x).shape == (2, 2)


NOT_FLOATS = {
    "integers": np.ones((2, 3), int),
    "uint8": np.ones((2, 3), np.uint8),
    "list of integers": [[1, 2, 3], [4, 5, 6]],
    "booleans": np.ones((2, 3), bool),
    "complex": np.ones((2, 3), complex),
    "strings": [["1", "2", "3"], ["4", "5", "6"]],
    "objects": np.full((2, 3), None),
}


@pytest.mark.parametrize("what", NOT_FLOATS)
@pytest.mark.parametrize(
    "f",
    [
        nn.Linear(3, 2),
        nn.ReLU(),
        nn.Dropout(),
        nn.Dropout().eval(),
        F.dropout,
        F.softmax,
        F.log_softmax,
        lambda x: F.linear(np.ones((2, 3)), x),
        lambda x: F.linear(np.ones((2, 2)), np.ones((3, 2)), np.asarray(x)[0]),
        lambda x: F.cross_entropy(x, [0, 0]),
        lambda x: F.mse_loss(x, np.ones((2, 3))),
    ],
)
def test_what_is_not_floating_point_is_refused(f, what):
    with pytest.raises(TypeError, match=r"dtype|expects numbers|not supported"):
        f(NOT_FLOATS[what])


def test_targets_of_mse_may_be_any_real_numbers():
    prediction = Tensor(np.array([1.5, 2.5], np.float32), requires_grad=True)
    for target in [1, 2], np.array([1, 2], np.uint8), np.array([1.0, 2.0]):
        loss = F.mse_loss(prediction, target)
        assert loss.dtype == np.float32
        assert loss.item() == 0.25
    with pytest.raises(TypeError, match="complex"):
        F.mse_loss(prediction, np.ones(2, complex))


# -------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 2), (3, 0), (0,)])
def test_linear_refuses_another_width(shape):
    with pytest.raises(ValueError, match=r"last axis must be 3") as error:
        nn.Linear(3, 2)(np.ones(shape))
    assert str(shape) in str(error.value)
    assert "(2, 3)" in str(error.value)


def test_linear_refuses_a_weight_or_bias_of_another_shape():
    x = np.ones((4, 3))
    for weight in np.ones(3), np.ones((1, 2, 3)), np.array(1.0):
        with pytest.raises(ValueError, match="out_features, in_features"):
            F.linear(x, weight)
    for bias in np.ones(1), np.ones(3), np.ones((4, 2)), np.array(1.0):
        with pytest.raises(ValueError, match=r"bias must be of shape \(2,\)"):
            F.linear(x, np.ones((2, 3)), bias)


@pytest.mark.parametrize("dtype", [*"bBhHiIqQ"])
def test_labels_of_any_integer_dtype(dtype):
    logits = np.array([[0.0, 1.0, 3.0], [2.0, 0.0, 0.0]])
    expected = F.cross_entropy(logits, [2, 0]).item()
    labels = np.array([2, 0], dtype)
    assert F.cross_entropy(logits, labels).item() == expected
    assert F.cross_entropy(logits, Tensor(labels)).item() == expected
    assert F.cross_entropy(logits, list(labels)).item() == expected


def test_uint8_labels_reach_beyond_255_classes_without_wrapping():
    logits = np.zeros((2, 300))
    logits[0, 255] = logits[1, 3] = 1000
    assert F.cross_entropy(logits, np.array([255, 3], np.uint8)).item() == 0
    with pytest.raises(ValueError, match="label 255"):
        F.cross_entropy(np.zeros((1, 3)), np.array([255], np.uint8))


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0], np.array([0, 2**64 - 1], np.uint64)])
def test_labels_that_are_no_classes_are_refused(labels):
    wrong = next(label for label in labels if not 0 <= label < 3)
    with pytest.raises(ValueError, match=rf"label {wrong} is not a class.*0 to 2"):
        F.cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize(
    "labels",
    [[0.0, 1.0], [True, False], ["0", "1"], np.eye(3)[:2], [None, 1], Tensor([0.0, 1.0])],
)
def test_labels_that_are_not_integers_are_refused(labels):
    with pytest.raises(TypeError, match=r"integer class labels.*argmax"):
        F.cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ((2, 3), (3,)), ((2, 3), (1,)), ((2, 3), ()), ((2, 3), (2, 1)), ((2, 3), (2, 3)),
        ((3,), (1,)), ((3,), ()), ((), ()), ((2, 3, 4), (2,)), ((2, 3, 4), (2, 4)),
        ((2, 3), (0,)), ((0, 3), (2,)),
    ],
)  # fmt: skip
def test_cross_entropy_refuses_shapes_that_do_not_fit(logits, labels):
    with pytest.raises(ValueError, match=re.escape(f"got {logits} and {labels}")):
        F.cross_entropy(np.zeros(logits), np.zeros(labels, int))


@pytest.mark.parametrize(
    ("prediction", "target"), [((3, 1), (3,)), ((3,), (3, 1)), ((3,), ()), ((2, 3), (3, 2))]
)
def test_mse_loss_refuses_to_broadcast(prediction, target):
    with pytest.raises(ValueError, match=r"equal shapes.*reshape") as error:
        nn.MSELoss()(np.zeros(prediction), np.zeros(target))
    assert str(prediction) in str(error.value)
    assert str(target) in str(error.value)


@pytest.mark.parametrize("features", [0, -1, 2.0, "2", None, True, (2, 3)])
def test_linear_refuses_bad_sizes(features):
    for sizes_given, name in ((features, 2), "in_features"), ((2, features), "out_features"):
        with pytest.raises((TypeError, ValueError), match=name):
            nn.Linear(*sizes_given)


def test_linear_refuses_bad_options():
    with pytest.raises(TypeError, match="bias is True or False"):
        nn.Linear(2, 3, np.float64)
    with pytest.raises(TypeError, match=r"numpy\.random\.Generator"):
        nn.Linear(2, 3, rng=0)
    for dtype in int, complex, bool:
        with pytest.raises(TypeError, match="floating-point"):
            nn.Linear(2, 3, dtype=dtype)
    assert nn.Linear(np.int64(2), np.int8(3), bias=np.bool_(False)).bias is None


# ------------------------------------------------------------------------------ initial values


@pytest.mark.parametrize("in_features", [1, 4, 400])
def test_initial_values_are_uniform_as_pytorchs(in_features):
    layer = nn.Linear(in_features, 40_000 // in_features, rng=np.random.default_rng(0))
    bound = in_features**-0.5
    for values in layer.weight.data.ravel(), np.concatenate(
        [nn.Linear(in_features, 100, rng=default_rng).bias.data for _ in range(20)]
        if in_features == 400 else [nn.Linear(in_features, 10_000).bias.data]
    ):  # fmt: skip
        assert abs(values).max() <= bound * (1 + 1e-6)
        # Kolmogorov-Smirnov: beyond 2.7 / sqrt(n) from the uniform distribution with
        # probability 2 exp(-2 * 2.7^2) = 1e-6.
        ordered = np.sort((values / bound + 1) / 2)
        steps = np.arange(1, values.size + 1) / values.size
        assert np.abs(ordered - steps).max() < 2.7 / np.sqrt(values.size)


# ------------------------------------------------------------------------------------- modules


class Block(nn.Module):
    """A module whose parts are in attributes of every sort."""

    def __init__(self):
        self.scale = nn.Parameter([1.0])
        self.first = nn.Linear(2, 2)
        self.listed = [nn.Linear(2, 1), nn.Dropout()]
        self.table = {"a": nn.Parameter([1.0, 2.0]), "b": [nn.ReLU(), (nn.Linear(1, 1),)]}
        self.name, self.count, self.array, self.nothing = "block", 3, np.ones(2), None
        self.constant = Tensor([1.0])


BLOCK_NAMES = [
    "scale", "table.a", "first.weight", "first.bias", "listed.0.weight", "listed.0.bias",
    "table.b.1.0.weight", "table.b.1.0.bias",
]  # fmt: skip


def test_parameters_and_modules_are_found_in_attributes_and_containers():
    block = Block()
    assert [name for name, _ in block.named_parameters()] == BLOCK_NAMES
    assert list(block.parameters()) == [p for _, p in block.named_parameters()]
    assert dict(block.named_parameters())["table.b.1.0.weight"] is block.table["b"][1][0].weight
    modules = dict(block.named_modules())
    assert list(modules) == ["", "first", "listed.0", "listed.1", "table.b.0", "table.b.1.0"]
    assert list(block.modules()) == list(modules.values())
    assert modules[""] is block


def test_names_in_sequential_are_pytorchs():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1, bias=False)))
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.0.weight"]
    assert [name for name, _ in net.named_modules()] == ["", "0", "1", "2", "2.0"]


def test_what_is_assigned_to_a_sequential_is_found_too():
    net = nn.Sequential(nn.Linear(2, 3))
    net.head = nn.Linear(3, 1, bias=False)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "head.weight"]


def test_what_is_shared_is_listed_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(net.modules())) == 3
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    tied = nn.Linear(2, 2)
    tied.weight = layer.weight
    both = nn.Sequential(layer, tied)
    assert [name for name, _ in both.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    both(np.ones((1, 2))).sum().backward()
    once = nn.Sequential(layer, layer)
    once.zero_grad()
    assert layer.weight.grad is None


def test_modules_may_refer_to_each_other():
    parent, child = nn.Module(), nn.Module()
    parent.child, child.parent = child, parent
    assert list(parent.modules()) == [parent, child]
    parent.eval()
    assert not child.training


def test_a_tensor_that_would_not_be_trained_is_refused():
    for hide in (lambda x: x), (lambda x: [x]), (lambda x: {"a": (x,)}):
        net = nn.Sequential(nn.Linear(1, 1))
        net.extra = hide(Tensor([1.0], requires_grad=True))
        for use in net.parameters, net.named_parameters, net.state_dict, net.zero_grad:
            with pytest.raises(TypeError, match=r"'extra.*nn\.Parameter"):
                list(use() or [])
    net.extra = net[0].weight * 2  # computed, as a cached value may be
    assert len(list(net.parameters())) == 2


def test_a_parameter_is_not_replaced_by_what_would_not_be_trained():
    layer = nn.Linear(2, 2)
    for wrong in np.ones((2, 2)), Tensor(np.ones((2, 2))), layer.weight * 2, [[1.0]]:
        with pytest.raises(TypeError, match=r"Linear\.weight is a Parameter.*\.data"):
            layer.weight = wrong
    layer.weight = nn.Parameter(np.ones((2, 2)))
    layer.bias = None
    assert layer.state_dict().keys() == {"weight"}
    with no_grad():
        layer.weight += 1
    assert isinstance(layer.weight, nn.Parameter)


def test_parameter():
    array = np.ones(2)
    assert nn.Parameter(array).data is array
    assert nn.Parameter(Tensor(array)).data is array
    assert nn.Parameter(array).requires_grad
    assert not nn.Parameter(array, requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="detach"):
        nn.Parameter(Tensor(array, requires_grad=True) * 2)
    for wrong in [1, 2], ["a"], [1j]:
        with pytest.raises(TypeError):
            nn.Parameter(wrong)


def test_train_and_eval_reach_every_module():
    block = Block()
    assert block.eval() is block
    assert [module.training for module in block.modules()] == [False] * 6
    assert block.train() is block
    assert [module.training for module in block.modules()] == [True] * 6
    block.listed[1].eval()  # one module may have a mode of its own
    assert [module.training for module in block.modules()].count(False) == 1
    assert nn.Linear(1, 1).training
    for wrong in np.ones((3, 2)), "eval", None, 1:
        with pytest.raises(TypeError, match="True or False"):
            block.train(wrong)


def test_zero_grad_forgets_all_gradients():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net(np.ones((3, 2))).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_frozen_parameters_get_no_gradient_and_the_others_the_same():
    x = np.ones((3, 2))
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    net(x).sum().backward()
    expected = net[2].weight.grad.copy()
    net.zero_grad()
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    net(x).sum().backward()
    assert net[0].weight.grad is None
    np.testing.assert_array_equal(net[2].weight.grad, expected)
    assert len(net.state_dict()) == 4  # still saved
    net[0].weight.requires_grad_(True)
    net(x).sum().backward()
    assert net[0].weight.grad is not None


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match=r"Block does not define forward\(\)"):
        Block()(1.0)


def test_call_passes_everything_to_forward():
    class Scale(nn.Module):
        def forward(self, x, factor, *, shift):
            return x * factor + shift

    assert Scale()(2.0, 3.0, shift=4.0) == 10.0


def test_repr_is_nested_as_pytorchs():
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.ReLU(), nn.Dropout(0.25)))
    assert repr(net) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.25)\n"
        "  )\n"
        ")"
    )
    assert "(listed.1): Dropout(p=0.5)\n" in repr(Block())
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.MSELoss()) == "MSELoss()"


def test_sequential_is_a_sequence():
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3
    assert list(net) == layers
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert net[np.int64(1)] is layers[1]
    assert isinstance(net[:2], nn.Sequential)
    assert list(net[:2]) == layers[:2]
    assert list(net[::-1]) == layers[::-1]
    x = np.ones((4, 2))
    np.testing.assert_array_equal(net[2](net[:2](x)).data, net(x).data)
    np.testing.assert_array_equal(nn.Sequential()(x), x)
    for wrong in 3, -4:
        with pytest.raises(IndexError):
            net[wrong]


@pytest.mark.parametrize("wrong", [[nn.ReLU()], nn.ReLU, F.relu, None, {"a": nn.ReLU()}])
def test_sequential_refuses_what_is_no_module(wrong):
    with pytest.raises(TypeError, match=r"takes modules.*position 1.*\*layers"):
        nn.Sequential(nn.ReLU(), wrong)


# ---------------------------------------------------------------------------------- state dicts


def small_net():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, dtype=np.float64))


def test_a_state_dict_is_a_copy():
    net = small_net()
    before = net.state_dict()
    assert [(name, value.dtype, value.shape) for name, value in before.items()] == [
        ("0.weight", np.float32, (3, 2)), ("0.bias", np.float32, (3,)),
        ("2.weight", np.float64, (1, 3)), ("2.bias", np.float64, (1,)),
    ]  # fmt: skip
    before["0.weight"][...] = 7
    assert not (net[0].weight.data == 7).any()
    loaded = {name: np.full_like(value, 2) for name, value in before.items()}
    net.load_state_dict(loaded)
    loaded["0.weight"][...] = 9
    assert (net[0].weight.data == 2).all()


def test_a_state_dict_survives_a_file(tmp_path):
    net, other = small_net(), small_net()
    np.savez(tmp_path / "net.npz", **net.state_dict())
    with np.load(tmp_path / "net.npz") as file:
        other.load_state_dict(file)
    x = np.ones((2, 2))
    np.testing.assert_array_equal(net(x).data, other(x).data)


def test_loading_keeps_parameters_their_memory_and_dtype():
    net = small_net()
    held = list(net.parameters())
    arrays = [p.data for p in held]
    net.load_state_dict(
        {name: value.astype(np.float64) for name, value in net.state_dict().items()}
    )
    assert all(a is b for a, b in zip(net.parameters(), held, strict=True))
    assert all(p.data is array for p, array in zip(net.parameters(), arrays, strict=True))
    assert net[0].weight.dtype == np.float32
    tensors = {name: nn.Parameter(np.zeros_like(v)) for name, v in net.state_dict().items()}
    net.load_state_dict(tensors)
    assert not net[0].weight.data.any()


def test_entries_may_be_the_parameters_own_arrays():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    first, second = net.state_dict().values()
    net.load_state_dict({"0.weight": net[1].weight.data, "1.weight": net[0].weight.data})
    np.testing.assert_array_equal(net[0].weight.data, second)
    np.testing.assert_array_equal(net[1].weight.data, first)


def test_loading_refuses_with_all_problems_listed_and_changes_nothing():
    net = small_net()
    before = net.state_dict()
    state = {
        "0.weight": np.zeros((2, 3)),
        "0.bias": ["a", "b", "c"],
        "2.weight": np.zeros((1, 3)),
        "extra": np.zeros(1),
    }
    with pytest.raises(ValueError, match="nothing was changed") as error:
        net.load_state_dict(state)
    for problem in (
        "missing: 2.bias", "unknown: extra", "0.weight: shape (2, 3), expected (3, 2)",
        "0.bias: dtype",
    ):  # fmt: skip
        assert problem in str(error.value)
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "bias", [["a", "b", "c"], [1j, 0, 0], [None] * 3, [True] * 3, [0.0] * 2, [[0.0] * 3], 0.0, None]
)
def test_loading_refuses_an_entry(bias):
    net = small_net()
    state = net.state_dict()
    with pytest.raises(ValueError, match=r"0\.bias: (shape|dtype)"):
        net.load_state_dict({**state, "0.bias": bias})


def test_loading_refuses_what_is_no_mapping():
    for wrong in "net.npz", [("0.weight", 1)], None, small_net():
        with pytest.raises(TypeError, match=r"mapping.*np\.load"):
            small_net().load_state_dict(wrong)


def test_loading_invalidates_an_older_loss():
    net = small_net()
    loss = net(np.ones((2, 2))).sum()
    version = net[2].weight.version
    net.load_state_dict(net.state_dict())
    assert net[2].weight.version > version
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()
    net(np.ones((2, 2))).sum().backward()


# ----------------------------------------------------------------------------- copies, pickles


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_of_a_model_is_independent_and_draws_the_same_masks(duplicate):
    net = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5, rng=np.random.default_rng(0)), nn.Linear(8, 2)
    )
    x = np.ones((3, 4))
    net(x).sum().backward()
    other = duplicate(net.eval())
    assert repr(other) == repr(net)
    assert not other[2].training
    np.testing.assert_array_equal(other(x).data, net(x).data)
    np.testing.assert_array_equal(other[0].weight.grad, net[0].weight.grad)
    np.testing.assert_array_equal(other[2].mask, net[2].mask)
    net.train(), other.train()
    assert other[2].rng is not net[2].rng
    np.testing.assert_array_equal(other(x).data, net(x).data)
    with no_grad():
        for parameter in other.parameters():
            parameter += 1
    assert (other[0].weight.data - net[0].weight.data > 0.5).all()
    other.zero_grad()
    assert net[0].weight.grad is not None
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in other.parameters())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_what_is_shared_stays_shared_in_a_copy(duplicate):
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    rng = np.random.default_rng(0)
    net = nn.Sequential(first, second, first, nn.Dropout(rng=rng), nn.Dropout(rng=rng))
    other = duplicate(net)
    assert other[0].weight is other[1].weight
    assert other[0] is other[2]
    assert other[0].weight is not first.weight
    assert other[3].rng is other[4].rng


# --------------------------------------------------------------------------------------- seeds


def test_one_seed_gives_the_same_parameters_and_masks():
    def draw(seed):
        assert manual_seed(seed) is default_rng
        net = nn.Sequential(nn.Linear(8, 8), nn.Dropout())
        return [net[0].weight.data, net[0].bias.data, net(np.ones((4, 8))).data, net[1].mask]

    for a, b, c in zip(draw(1), draw(1), draw(np.int64(2)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize("seed", [-1, 1.0, None, True, "1", [1, 2], np.float64(1), default_rng])
def test_bad_seeds_are_refused_and_change_nothing(seed):
    manual_seed(0)
    expected = default_rng.random()
    manual_seed(0)
    with pytest.raises((TypeError, ValueError), match="non-negative integer"):
        manual_seed(seed)
    assert default_rng.random() == expected


def test_a_generator_of_its_own_leaves_the_librarys_untouched():
    manual_seed(0)
    expected = default_rng.random()
    manual_seed(0)
    rng = np.random.default_rng(5)
    net = nn.Sequential(nn.Linear(2, 3, rng=rng), nn.Dropout(rng=rng))
    net(np.ones((4, 2)))
    F.dropout(np.ones(3), rng=rng)
    assert default_rng.random() == expected
    again = nn.Linear(2, 3, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(net[0].weight.data, again.weight.data)


@pytest.mark.parametrize(
    ("bias", "words"),
    [
        (np.full(2, 1e300), "bias: numbers beyond the range of float32"),
        ([[1.0], [2.0, 3.0]], "bias: "),
    ],
)
def test_an_entry_that_does_not_fit_changes_nothing(bias, words):
    layer = nn.Linear(2, 2)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=words):
        layer.load_state_dict({"weight": np.full((2, 2), 7.0), "bias": bias})
    np.testing.assert_array_equal(layer.weight.data, before["weight"])


def test_a_read_only_parameter_refuses_a_load_before_anything_is_changed():
    layer = nn.Linear(2, 2)
    layer.bias = nn.Parameter(np.broadcast_to(np.float32(0), (2,)))
    before = layer.state_dict()
    with pytest.raises(ValueError, match="bias: the parameter's array is read-only"):
        layer.load_state_dict({"weight": np.full((2, 2), 7.0), "bias": np.ones(2)})
    np.testing.assert_array_equal(layer.weight.data, before["weight"])


def test_two_parameters_of_one_name_are_refused():
    net = nn.Module()
    net.parts = {1: nn.Parameter(np.zeros(1)), "1": nn.Parameter(np.zeros(1))}
    with pytest.raises(ValueError, match=r"two parameters have the name 'parts\.1'"):
        list(net.parameters())


@pytest.mark.parametrize("layer", [nn.ReLU, nn.Dropout])
def test_a_call_applies_its_own_mask_whatever_another_thread_stores(layer):
    class Shared(layer):
        # As if another thread always stored its mask between a write and the next read.
        mask = property(lambda self: np.zeros(100, bool), lambda self, new: None)

    assert Shared()(np.ones(100)).data.any()


# ------------------------------------------------------------------------- nets of several layers


def test_a_hidden_layer_has_a_second_derivative():
    rng = np.random.default_rng(0)
    layers = [nn.Linear(3, 4, dtype=float, rng=rng), nn.ReLU(), nn.Dropout(0.5, rng=rng)]
    net = nn.Sequential(*layers, nn.Linear(4, 2, dtype=float, rng=rng))
    held = nn.DropoutMasks().hold(lambda x: np.tanh(net(x)))
    assert gradcheck(held, rng.normal(size=(5, 3)), order=2)


@pytest.mark.parametrize("make", [nn.Dropout, None])
@pytest.mark.parametrize("batch", [1, 2, 6])
def test_transforms_of_a_net_with_parameters_on_a_batch(make, batch):
    rng = np.random.default_rng(0)
    hidden = [nn.Linear(3, 8, dtype=float, rng=rng), nn.ReLU(), *([make(0.5)] if make else [])]
    net = nn.Sequential(*hidden, nn.Linear(8, 2, dtype=float, rng=rng))
    held = nn.DropoutMasks().hold(net)
    x, direction, cotangent = (rng.normal(size=(batch, n)) for n in (3, 3, 2))
    out = held(x).data

    # The net is linear between its kinks: the Jacobian is all there is.
    slopes = unwrap(jacobian(held)(x))
    step = 1e-4 * direction
    changed = held(x + step).data - out
    np.testing.assert_allclose(np.tensordot(slopes, step), changed, rtol=1e-6, atol=1e-15)
    value, pull_back = vjp(held, x)
    found = {
        "value": (value, out),
        "vjp": (pull_back(cotangent), np.tensordot(cotangent, slopes)),
        "jvp": (jvp(held, [x], [direction])[1], np.tensordot(slopes, direction)),
        "grad": (grad(lambda x: np.sum(held(x)))(x), slopes.sum(axis=(0, 1))),
        "grad of one": (grad(lambda x: held(x)[0, 1])(x), slopes[0, 1]),
        "hvp": (hvp(lambda x: np.sum(held(x)), [x], [direction]), np.zeros_like(x)),
    }
    for name, (ours, expected) in found.items():
        np.testing.assert_allclose(np.squeeze(unwrap(ours)), np.squeeze(expected), err_msg=name)

    # A penalty on the gradient: the derivative of what `grad` returns reaches the parameters.
    leaf = Tensor(x, requires_grad=True)
    np.sum(grad(lambda x: np.sum(held(x)))(leaf) ** 2).backward()
    weight = net[0].weight
    step = 1e-5 * rng.normal(size=weight.shape)

    def penalty():
        return unwrap(np.sum(grad(lambda x: np.sum(held(x)))(x) ** 2))

    expected = np.sum(weight.grad * step)
    before = penalty()
    weight.data[...] += step
    assert abs(penalty() - before - expected) < 1e-3 * abs(expected)


def test_a_hidden_layer_notices_a_change_while_it_is_computed():
    linear, dropout = nn.Linear(2, 2, dtype=float), nn.Dropout(0.5)

    def draw(shape, rng):
        linear.weight.data = 3 * linear.weight.data  # as another thread's optimizer would
        return np.ones(shape, bool)

    dropout.draw = draw
    x = Tensor(np.ones((1, 2)), requires_grad=True)
    out = nn.Sequential(linear, nn.ReLU(), dropout)(x).sum()
    with pytest.raises(RuntimeError, match="changed in place"):
        out.backward()


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_used_again_after_a_step_and_notices_one_too_early(bias):
    layer = nn.Linear(2, 3, bias)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        layer(np.ones((1, 2))).sum().backward()
        optimizer.step()
    loss = layer(np.ones((1, 2))).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_gradients_of_layers_are_laid_out_by_rows(batch):
    x = Tensor(np.ones((batch, 8), np.float32), requires_grad=True)
    layer = nn.Linear(8, 8)
    layer(layer(x)).sum().backward()
    for leaf in (x, layer.weight):
        assert leaf.grad.flags.c_contiguous
        assert leaf.grad.flags.writeable
    wide = Tensor(np.ones((3, 4)), requires_grad=True)
    (wide.T * 2 + wide.T * 3).sum().backward()
    assert wide.grad.flags.c_contiguous


def test_sequential_calls_subclasses_of_the_parts():
    class Doubles(nn.Dropout):
        def forward(self, x):
            return 2 * x

    class Negates(nn.ReLU):
        def forward(self, x):
            return -x

    class Zero(nn.Linear):
        def forward(self, x):
            return 0 * x

    x = Tensor([1.0, 2.0])
    one = nn.Linear(2, 2, dtype=float)
    one.load_state_dict({"weight": np.eye(2), "bias": np.zeros(2)})
    assert nn.Sequential(one, nn.ReLU(), Doubles(0.5))(x).tolist() == [2, 4]
    assert nn.Sequential(one, Negates(), nn.Dropout(0.0))(x).tolist() == [-1, -2]
    assert nn.Sequential(Zero(2, 2), nn.ReLU(), nn.Dropout(0.0))(x).tolist() == [0, 0]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("whose", "name"), [("instance", "forward"), ("class", "forward"), ("class", "__call__")]
)
def test_who_replaces_what_a_layer_does_is_listened_to(place, whose, name, monkeypatch):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.5))
    layer, seen = net[place], []
    owner = layer if whose == "instance" else type(layer)
    old = getattr(owner, name)

    def spy(*args):
        seen.append(args)
        return old(*args)

    monkeypatch.setattr(owner, name, spy)
    net(np.ones(3))
    assert len(seen) == 1


def test_all_calls_of_modules_can_be_listened_to(monkeypatch):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Dropout(0.5))
    old, seen = nn.Module.__call__, []
    monkeypatch.setattr(
        nn.Module, "__call__", lambda self, *args: (seen.append(self), old(self, *args))[1]
    )
    net(np.ones(3))
    assert seen == [net, *net]


def test_a_given_mask_that_is_not_boolean_is_refused_in_a_sequential():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Dropout(0.5))
    with nn.DropoutMasks([np.array([1.0, 0.0])]), pytest.raises(TypeError, match="boolean array"):
        net(np.ones(2))


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize(("rows", "outputs"), [(2, 8), (2, 7), (1, 3), (0, 5), (9, 2)])
def test_layers_of_any_shape_and_order_in_memory(rows, outputs, order):
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=(rows, 6)), order=order)
    layer = nn.Linear(6, outputs, dtype=float, rng=rng)
    expected = x @ layer.weight.data.T + layer.bias.data
    np.testing.assert_allclose(layer(x).data, expected, rtol=1e-14)
    net = nn.Sequential(layer, nn.ReLU(), nn.Dropout(0.5, rng=rng))
    assert gradcheck(F.linear, x, layer.weight.data, layer.bias.data, order=2)
    assert gradcheck(nn.DropoutMasks().hold(net), x, order=2)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (3, 3), (1, 4), (4, 1)])
def test_cross_entropy_of_any_order_in_memory(shape, order):
    rng = np.random.default_rng(0)
    logits = np.asarray(rng.normal(size=shape), order=order)
    labels = rng.integers(0, shape[1], shape[0])
    picked = logits[np.arange(shape[0]), labels]
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - picked)
    assert abs(F.cross_entropy(logits, labels).item() - expected) < 1e-14
    assert gradcheck(lambda x: F.cross_entropy(x, labels), logits, order=2)


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("shape", [(4, 5), (3, 512), (2, 1024)])
def test_dropout_draws_the_same_masks_whatever_the_order_in_memory(shape, order):
    x = np.asarray(np.ones(shape), order=order)
    dropout = nn.Dropout(0.5, rng=np.random.default_rng(0))
    out = dropout(x)
    expected = bernoulli_mask(shape, 0.5, np.random.default_rng(0))
    assert np.array_equal(out.data != 0, expected)
    assert np.array_equal(dropout.mask, expected)
