"""Padding: values beside NumPy's, derivatives, dtypes, compiled and misuse."""

import re

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck
from microgrand.testing.strategies import arrays, shapes

#: PyTorch's modes, and NumPy's names of them.
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
LAYERS = {
    "reflect": (nn.ReflectionPad1d, nn.ReflectionPad2d),
    "replicate": (nn.ReplicationPad1d, nn.ReplicationPad2d),
    "circular": (nn.CircularPad1d, nn.CircularPad2d),
    "constant": (nn.ZeroPad1d, nn.ZeroPad2d),
}
of_each = pytest.mark.parametrize("mode", MODES)


@st.composite
def paddings(draw, mode):
    """Draw an input, and how much to pad its last axes, the last one first."""
    x = draw(shapes(1, 3, min_side=1).flatmap(arrays))
    pad = []
    for length in x.shape[: -1 - draw(st.integers(1, x.ndim)) : -1]:
        taken = [draw(st.integers(0, length - 1)), 0][:: draw(st.sampled_from([1, -1]))]
        taken = [number if draw(st.booleans()) else 0 for number in taken]
        left = length - sum(taken)
        most = {"reflect": left - 1, "circular": left}.get(mode, 3)
        pad += [-number or draw(st.integers(0, most)) for number in taken]
    return x, tuple(pad)


@of_each
@given(data=st.data())
def test_values_and_derivatives(mode, data):
    x, pad = data.draw(paddings(mode))
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    kept = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for n, (before, after) in zip(x.shape[x.ndim - len(pairs) :], pairs, strict=True)
    )
    widths = [(0, 0)] * (x.ndim - len(pairs)) + [(max(a, 0), max(b, 0)) for a, b in pairs]
    expected = np.pad(x[(..., *kept)], widths, MODES[mode])
    np.testing.assert_array_equal(F.pad(x, pad, mode).data, expected)
    assert gradcheck(lambda x: np.square(F.pad(x, pad, mode)), x, order=2, mode="fast")


@of_each
@pytest.mark.parametrize("padding", [1, (2, 0)])
def test_derivatives_of_convolutions_with_other_padding(mode, padding):
    rng = np.random.default_rng(0)
    mode = "zeros" if mode == "constant" else mode
    for make, padding_, shape in [(nn.Conv1d, 1, (2, 2, 4)), (nn.Conv2d, padding, (2, 3, 4))]:
        layer = make(2, 3, 2, padding=padding_, padding_mode=mode, dtype=np.float64)
        assert gradcheck(layer, rng.normal(size=shape), order=2, mode="fast")


@of_each
def test_layers_are_the_function(mode):
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    for layer, sizes in zip(LAYERS[mode], [(2, 1), (1, 2, 2, 0)], strict=True):
        np.testing.assert_array_equal(layer(sizes)(x).data, F.pad(x, sizes, mode).data)
        np.testing.assert_array_equal(layer(1)(x).data, F.pad(x, (1,) * len(sizes), mode).data)
    around = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=3.0)
    np.testing.assert_array_equal(nn.ConstantPad2d(1, 3.0)(x).data, around)


@of_each
@pytest.mark.parametrize("dtype", [bool, np.int8, np.float16, np.float32, np.longdouble, complex])
def test_any_dtype_stays(mode, dtype):
    x = np.array([[0, 1, 1]], dtype)
    out = F.pad(x, (2, 1), mode)
    assert isinstance(out, Tensor)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.data, np.pad(x, [(0, 0), (2, 1)], MODES[mode]))


@of_each
def test_infinities_stay_where_they_are(mode):
    x = Tensor([np.inf, 1.0, np.nan], requires_grad=True)
    out = F.pad(x, (2, 2), mode)
    assert out.data[3] == 1
    out.backward(np.ones(7))
    assert x.grad.tolist() == {
        "constant": [1, 1, 1], "reflect": [2, 3, 2], "replicate": [3, 1, 3], "circular": [2, 3, 2],
    }[mode]  # fmt: skip


@of_each
def test_compiled_they_have_the_same_bits(mode):
    draw = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    layer = nn.Conv2d(2, 3, 2, padding=1, padding_mode="zeros" if mode == "constant" else mode)
    for parameter in layer.parameters():
        parameter.requires_grad = False

    def loss(x):
        return np.sum(np.square(F.pad(x, (1, 2, -1, 1), mode, **value))) + np.sum(layer(x))

    value = {"value": 0.5} if mode == "constant" else {}
    assert_runs_as_eager(grad(loss), lambda i: draw[i])


def test_an_axis_that_is_not_padded_may_be_empty():
    for mode in MODES:
        assert F.pad(np.ones((0, 3)), (1, 1), mode).shape == (0, 5)
    assert F.pad(np.ones((2, 0)), (1, 2), value=3.0).data.tolist() == [[3, 3, 3]] * 2
    with pytest.raises(ValueError, match=r"too few elements along axis 1 for 1 more"):
        F.pad(np.ones((2, 0)), (1, 0), "replicate")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.pad([1.0], 1), TypeError, r"\(left, right, top, bottom\) for the last two"),
        (lambda: F.pad([1.0], (0.5, 1)), TypeError, "integers"),
        (lambda: F.pad([1.0], (1,)), ValueError, "two numbers for each axis"),
        (lambda: F.pad([1.0], (1, 1, 1, 1)), ValueError, re.escape("input of shape (1,)")),
        (lambda: F.pad([1.0], (1, 1), "edge"), ValueError, "'reflect', 'replicate', 'circular'"),
        (lambda: F.pad([1.0, 2.0], (1, 1), "reflect", 2.0), ValueError, "takes elements"),
        (lambda: F.pad([1.0], (1, 1), value="0"), TypeError, "a number"),
        (lambda: F.pad([1], (1, 1), value=0.5), ValueError, r"cannot hold it.*astype"),
        (lambda: F.pad([1], (1, 1), value=np.inf), ValueError, r"cannot hold it"),
        (lambda: F.pad(np.ones(1, np.uint8), (1, 1), value=-1), ValueError, "cannot hold it"),
        (lambda: F.pad([1.0, 2.0], (-2, -1)), ValueError, "fewer elements than are taken away"),
        (lambda: F.pad([1.0, 2.0], (2, 0), "reflect"), ValueError, "too few elements along axis 0"),
        (lambda: F.pad([1.0, 2.0], (0, 3), "circular"), ValueError, "for 3 more in mode 'circ"),
        (lambda: nn.ReflectionPad2d((1, 1)), ValueError, r"a number or \(left, right, top, bot"),
        (lambda: nn.ZeroPad1d("same"), TypeError, "ZeroPad1d's padding is a tuple of integers"),
        (lambda: nn.ConstantPad1d(1, None), TypeError, "a number"),
        (lambda: nn.Conv2d(1, 1, 2, padding_mode="constant"), ValueError, "Conv2d's padding_mode"),
        (
            lambda: nn.Conv1d(1, 1, 3, padding=2, padding_mode="reflect")(np.ones((1, 2))),
            ValueError,
            r"Conv1d got an input of shape \(1, 2\), which has too few elements.*mode='zeros'",
        ),
        (
            lambda: nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")(np.ones((2, 2))),
            ValueError,
            "an axis for its channels",
        ),
        (
            lambda: nn.ConvTranspose1d(1, 1, 2, padding_mode="reflect"),
            ValueError,
            r"takes away from the output, and to pad the input, call functional\.pad",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
