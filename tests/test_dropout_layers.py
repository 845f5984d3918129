"""What single layers of the dropout family promise; their misuse and their `repr`."""

import numpy as np
import pytest
from dropout_kinds import CLASSIC, UNITS, input_of

from microgrand import Tensor, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck


def test_gradients_of_the_input_and_bias_of_dropconnect():
    layer = nn.DropConnect(3, 2, p=0.5, dtype=np.float64, rng=np.random.default_rng(0))
    x = Tensor(np.arange(12.0).reshape(4, 3) / 7, requires_grad=True)
    out = layer(x)
    g = np.linspace(-1, 1, 8).reshape(4, 2)
    out.backward(g)
    assert 0 < layer.mask.sum() < 6
    weight = np.where(layer.mask, 2 * layer.weight.data, 0)
    np.testing.assert_allclose(out.data, x.data @ weight.T + layer.bias.data)
    np.testing.assert_allclose(x.grad, g @ weight)
    np.testing.assert_allclose(layer.bias.grad, g.sum(axis=0))
    np.testing.assert_allclose(layer.weight.grad, np.where(layer.mask, 2 * g.T @ x.data, 0))
    assert gradcheck(nn.DropoutMasks().hold(layer), x.data, order=2)


def test_dropconnect_drops_infinite_weights_exactly():
    layer = nn.DropConnect(2, 2, p=1, bias=False)
    layer.weight.data = np.array([[np.inf, np.nan], [-np.inf, 1]], np.float32)
    out = layer(np.ones((3, 2)))
    out.sum().backward()
    assert not out.data.any()
    assert not layer.weight.grad.any()


def test_dropconnect_is_a_linear_layer():
    layer = nn.DropConnect(3, 2, p=0.25, rng=np.random.default_rng(0))
    linear = nn.Linear(3, 2, rng=np.random.default_rng(0))
    assert repr(layer) == "DropConnect(in_features=3, out_features=2, bias=True, p=0.25)"
    linear.load_state_dict(layer.state_dict())
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(layer.eval()(x).data, linear(x).data)
    assert layer.weight.dtype == np.float32
    assert nn.DropConnect(3, 2, bias=False).bias is None


def test_both_scalings_are_the_same_up_to_the_scale():
    x = input_of(UNITS)
    inverted, classic = UNITS.make(0.25), CLASSIC.make(0.25)
    np.testing.assert_allclose(classic(x).data / 0.75, inverted(x).data)
    np.testing.assert_allclose(classic.eval()(x).data / 0.75, inverted.eval()(x).data)


def test_one_mask_over_all_time_steps():
    module = nn.Dropout(0.5, shared_axes=1, rng=np.random.default_rng(0))
    out = module(np.ones((4, 10, 8))).data
    assert (out == out[:, :1]).all()
    assert not (out == out[:1]).all()
    # The same from the end, and for several axes.
    for axes in -2, (-2,), [np.int64(1)], (1, -2):
        again = nn.Dropout(0.5, shared_axes=axes, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(again(np.ones((4, 10, 8))).data, out)


def test_the_first_axis_counted_from_the_end():
    module = nn.Dropout(0.5, shared_axes=-2)
    module(np.ones((5, 7)))
    assert module.mask.shape == (1, 7)


def test_residual_blocks_of_dropped_paths_are_the_identity():
    module = nn.DropPath(0.5, rng=np.random.default_rng(0))
    x = Tensor(np.arange(1.0, 13).reshape(6, 2), requires_grad=True)
    out = x + module(x**2)
    out.sum().backward()
    dropped = ~module.mask[:, 0]
    assert 0 < dropped.sum() < 6
    np.testing.assert_array_equal(out.data[dropped], x.data[dropped])
    np.testing.assert_array_equal(x.grad[dropped], 1)
    np.testing.assert_array_equal(out.data[~dropped], (x.data + 2 * x.data**2)[~dropped])


def test_all_occurrences_of_a_word_share_its_fate():
    embedding = Tensor(np.arange(1.0, 21).reshape(10, 2), requires_grad=True)
    module = nn.WordDropout(0.5, rng=np.random.default_rng(0))
    words = np.random.default_rng(1).integers(0, 10, (5, 7))
    rows = module(embedding)[words]
    rows.sum().backward()
    kept = module.mask[:, 0]
    np.testing.assert_array_equal((rows.data != 0).all(axis=-1), kept[words])
    np.testing.assert_array_equal((rows.data != 0).any(axis=-1), kept[words])
    counts = np.bincount(words.ravel(), minlength=10)
    np.testing.assert_array_equal(embedding.grad[:, 0], np.where(kept, 2 * counts, 0))


@pytest.mark.parametrize(
    ("make", "function", "shape"),
    [
        (nn.Dropout, F.dropout, (3, 4)),
        (nn.Dropout1d, F.dropout1d, (3, 4, 2)),
        (nn.Dropout1d, F.dropout1d, (8, 2)),
        (nn.Dropout2d, F.dropout2d, (3, 4, 2, 2)),
        (nn.Dropout3d, F.dropout3d, (3, 4, 1, 2, 2)),
        (nn.Dropout3d, F.dropout3d, (8, 1, 2, 2)),
        (nn.AlphaDropout, F.alpha_dropout, (3, 4)),
        (nn.FeatureAlphaDropout, F.feature_alpha_dropout, (3, 4, 2)),
        (nn.FeatureAlphaDropout, F.feature_alpha_dropout, (3, 4)),
    ],
)
def test_the_functions_do_what_the_modules_do(make, function, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for p in 0.5, np.float64(0.25), 0, 1:
        out = function(x, p, rng=np.random.default_rng(5))
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out.data, make(p, rng=np.random.default_rng(5))(x).data)
    default = function(x, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(default.data, make(rng=np.random.default_rng(5))(x).data)
    tensor = Tensor(x)
    assert function(tensor, 0.5, training=False) is tensor
    with pytest.raises(TypeError, match="training is True or False"):
        function(x, 0.5, 1)
    for wrong in (-0.1, 1.1, None, "0.5"):
        with pytest.raises((TypeError, ValueError), match="p = 1 - keep_prob"):
            function(x, wrong, training=False)


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: nn.Dropout(scaling="keras"), ValueError, "'inverted'.*'classic'"),
        (lambda: nn.Dropout(shared_axes=1.5), TypeError, "numbers of axes, got 1.5"),
        (lambda: nn.Dropout(shared_axes=None), TypeError, "numbers of axes, got None"),
        (lambda: setattr(nn.Dropout2d(), "scaling", "classik"), ValueError, "got 'classik'"),
        (lambda: nn.Dropout1d().eval()(np.ones(3)), ValueError, "dropout1d got"),
        (lambda: nn.Dropout2d().eval()(np.ones((1, 2, 3))), ValueError, "dropout2d got"),
        (lambda: nn.Dropout3d().eval()(np.ones((2, 3))), ValueError, "dropout3d got"),
        (lambda: nn.DropPath().eval()(np.ones(())), ValueError, "first axis is that of the batch"),
        (lambda: nn.WordDropout().eval()(np.ones(3)), ValueError, "takes the embedding matrix"),
        (lambda: nn.FeatureAlphaDropout().eval()(np.ones(3)), ValueError, "feature_alpha"),
        (lambda: nn.Dropout(shared_axes=1).eval()(np.ones(3)), ValueError, "has no axis 1"),
        (lambda: nn.AlphaDropout(shared_axes=1).eval()(np.ones(3)), ValueError, "has no axis 1"),
        (lambda: nn.DropoutMasks(5), TypeError, "takes a list of masks.*got 5"),
        (lambda: nn.DropoutMasks(np.array([True, False])), TypeError, "wrap it in a list"),
        (lambda: nn.DropoutMasks().hold(3), TypeError, "a module or a function.*got 3"),
        (lambda: nn.Dropout(shared_axes=(True,)), TypeError, "numbers of axes"),
        (lambda: nn.Dropout(shared_axes=("time",)), TypeError, "numbers of axes"),
        (lambda: nn.Dropout(shared_axes=2)(np.ones((2, 3))), ValueError, "no axis 2"),
        (lambda: nn.Dropout(shared_axes=-3)(np.ones((2, 3))), ValueError, "no axis -3"),
        (lambda: nn.Dropout1d()(np.ones(3)), ValueError, r"\(n, channels, length\) or \(channels"),
        (lambda: nn.Dropout1d()(np.ones((1, 2, 3, 4))), ValueError, "dropout1d got"),
        (lambda: nn.Dropout2d()(np.ones((1, 2, 3))), ValueError, r"x\[None\].*dropout1d"),
        (lambda: nn.Dropout2d()(np.ones((2, 3))), ValueError, "height, width"),
        (lambda: F.dropout2d(np.ones((2, 3, 4)), training=False), ValueError, "height, width"),
        (lambda: nn.Dropout3d()(np.ones((1, 2, 3))), ValueError, "depth, height, width"),
        (lambda: nn.DropPath()(np.ones(())), ValueError, "first axis is that of the batch"),
        (lambda: nn.WordDropout()(np.ones(3)), ValueError, r"word_dropout\(weight\)\[words\]"),
        (lambda: nn.FeatureAlphaDropout()(np.ones(3)), ValueError, r"\(n, channels, \.\.\.\)"),
        (lambda: nn.GaussianDropout(1), ValueError, "less than 1"),
        (lambda: nn.GaussianDropout(1.5), ValueError, "from 0 to 1"),
        (lambda: nn.DropConnect(0, 2), ValueError, "in_features"),
        (lambda: nn.DropConnect(3, 2, p=2), ValueError, "keep_prob"),
        (lambda: nn.DropConnect(3, 2)(np.ones((4, 2))), ValueError, "last axis must be 3"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()


def test_texts():
    assert repr(nn.Dropout(0.5)) == "Dropout(p=0.5)"
    assert repr(nn.Dropout(0.5, shared_axes=1, scaling="classic")) == (
        "Dropout(p=0.5, shared_axes=(1,), scaling='classic')"
    )
    assert repr(nn.DropoutMasks([])) == "DropoutMasks([]), for passes without dropout"
    assert repr(nn.GaussianDropout(0.25)) == "GaussianDropout(p=0.25)"
    assert repr(nn.Dropout2d(0.25)) == "Dropout2d(p=0.25)"
