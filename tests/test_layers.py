"""Layers, losses and their functions: values, gradients, dtypes and misuse."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import FLOATS
from hypothesis import given
from hypothesis import strategies as st

from microgrand import (
    Tensor,
    nn,
    no_grad,
)
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import bernoulli_mask
from microgrand.random import default_generator
from microgrand.testing import gradcheck

RECORDED = json.loads((Path(__file__).parent / "recorded" / "nn.json").read_text())


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
batches = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def normal(seed, *shapes):
    """Draw arrays from a generator, which keeps Hypothesis's examples small."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


# ---------------------------------------------------------------------- values, against PyTorch's


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


# -------------------------------------------------------------------------------- gradient checks


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


@given(seeds, batches, sizes, sizes, sizes, st.booleans())
def test_gradient_of_bilinear(seed, batch, first, second, outputs, with_bias):
    x1, x2 = normal(seed, (*batch, first), (*batch, second))
    weight, bias = normal(seed, (outputs, first, second), outputs)
    out = F.bilinear(x1, x2, weight, bias)
    expected = np.einsum("...i,oij,...j->...o", x1, weight, x2) + bias
    np.testing.assert_allclose(out.data, expected, rtol=1e-10, atol=1e-12)
    arrays = (x1, x2, weight, bias)[: 3 + with_bias]
    assert gradcheck(F.bilinear, *arrays, order=2, mode="fast")


def test_bilinear_adds_float16_up_in_float32():
    rng = np.random.default_rng(0)
    shapes = (4, 8), (4, 9), (5, 8, 9), (5,)
    arrays = [rng.normal(size=shape).astype(np.float16) for shape in shapes]
    exact = F.bilinear(*[array.astype(np.float64) for array in arrays]).data
    out = F.bilinear(*arrays).data
    assert out.dtype == np.float16
    # Rounded once: half a unit, and what float32 has rounded before.
    np.testing.assert_allclose(out, exact, rtol=2**-11 * 1.001, atol=1e-5)


def test_what_bilinear_refuses():
    for shapes in [(3, 2), (2, 3), (2, 4, 3), (1, 2), (1, 3), (4, 2, 3)], [2, 3, (4, 2, 3), 5]:
        with pytest.raises(ValueError, match="bilinear needs inputs"):
            F.bilinear(*[np.ones(shape) for shape in shapes][:4])
    with pytest.raises(ValueError, match="in2_features must be at least 1"):
        nn.Bilinear(2, 0, 3)


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
        assert gradcheck(lambda x, f=f: f(x, dim=axis), x, order=2)
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


# ------------------------------------------------------------------------ extremes, empty batches


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


# ----------------------------------------------------------------------------------------- dtypes


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


# ----------------------------------------------------------------------------------------- misuse


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
    [[0.0, 1.0], [True, False], ["0", "1"], [None, 1], Tensor([0.0, 1.0])],
)
def test_labels_that_are_not_integers_are_refused(labels):
    with pytest.raises(TypeError, match=r"integer labels.*argmax"):
        F.cross_entropy(np.zeros((2, 3)), labels)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        ((2, 3), (3,)), ((2, 3), (1,)), ((2, 3), ()), ((2, 3), (2, 1)), ((2, 3), (2, 3)),
        ((3,), (1,)), ((3,), (3,)), ((), ()), ((2, 3, 4), (2,)), ((2, 3, 4), (2, 3)),
        ((2, 3), (0,)), ((0, 3), (2,)),
    ],
)  # fmt: skip
def test_cross_entropy_refuses_shapes_that_do_not_fit(logits, labels):
    with pytest.raises(ValueError, match=re.escape(f"got {logits} and {labels}")):
        F.cross_entropy(np.zeros(logits), np.zeros(labels, int))


def test_a_column_of_labels_is_told_how_to_become_labels():
    logits, column = np.zeros((2, 3)), np.array([[0], [1]])
    with pytest.raises(ValueError, match=r"labels\[:, 0\]$"):
        F.cross_entropy(logits, column)
    assert F.cross_entropy(logits, column[:, 0]).item() == pytest.approx(np.log(3))


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


# --------------------------------------------------------------------------------- initial values


@pytest.mark.parametrize("in_features", [1, 4, 400])
def test_initial_values_are_uniform_as_pytorchs(in_features):
    layer = nn.Linear(in_features, 40_000 // in_features, rng=np.random.default_rng(0))
    bound = in_features**-0.5
    for values in layer.weight.data.ravel(), np.concatenate(
        [nn.Linear(in_features, 100, rng=default_generator).bias.data for _ in range(20)]
        if in_features == 400 else [nn.Linear(in_features, 10_000).bias.data]
    ):  # fmt: skip
        assert abs(values).max() <= bound * (1 + 1e-6)
        # Kolmogorov-Smirnov: beyond 2.7 / sqrt(n) from the uniform distribution with
        # probability 2 exp(-2 * 2.7^2) = 1e-6.
        ordered = np.sort((values / bound + 1) / 2)
        steps = np.arange(1, values.size + 1) / values.size
        assert np.abs(ordered - steps).max() < 2.7 / np.sqrt(values.size)


@pytest.mark.parametrize("layer", [nn.ReLU, nn.Dropout])
def test_a_call_applies_its_own_mask_whatever_another_thread_stores(layer):
    class Shared(layer):
        # As if another thread always stored its mask between a write and the next read.
        mask = property(lambda self: np.zeros(100, bool), lambda self, new: None)

    assert Shared()(np.ones(100)).data.any()


# ------------------------------------------------------------------------- layouts in memory


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_sizes_may_be_small_numpy_integers(dtype):
    for kind in nn.Linear, nn.DropConnect:
        small = kind(dtype(200), dtype(130), dtype=float, rng=np.random.default_rng(0))
        layer = kind(200, 130, dtype=float, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(small.weight.data, layer.weight.data)
        np.testing.assert_array_equal(small.bias.data, layer.bias.data)
        assert repr(small) == repr(layer)
    x = np.ones((3, 200))
    for axes in dtype(1), [dtype(0), dtype(1)]:
        dropout = nn.Dropout(0.5, shared_axes=axes)
        assert repr(dropout) == repr(nn.Dropout(0.5, shared_axes=np.array(axes).tolist()))
        assert dropout(x).shape == (3, 200)
    for make in nn.linear_schedule, nn.cosine_schedule:
        schedule, same = make(0.0, 0.5, dtype(200), dtype(100)), make(0.0, 0.5, 200, 100)
        assert [schedule(dtype(step)) for step in range(0, 256, 50)] == [
            same(step) for step in range(0, 256, 50)
        ]
    curriculum = nn.curriculum_schedule(0.5, dtype(200))
    assert curriculum(dtype(150)) == nn.curriculum_schedule(0.5, 200)(150)
    samples = nn.mc_dropout(nn.Dropout(), np.ones(2), dtype(130), rng=dtype(0)).samples
    assert samples.shape == (130, 2)
