"""Convolutions: the derivatives of all orders, shapes, dtypes and misuse.

What PyTorch gives for the same is compared in test_recorded_images.py.
"""

import math
import re

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, compile, hessian, nn, no_grad, optim
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

KINDS = {
    "conv1d": (F.conv1d, nn.Conv1d, 1),
    "conv2d": (F.conv2d, nn.Conv2d, 2),
    "conv_transpose1d": (F.conv_transpose1d, nn.ConvTranspose1d, 1),
    "conv_transpose2d": (F.conv_transpose2d, nn.ConvTranspose2d, 2),
}
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


def per_axis(numbers, axes):
    """Draw an option: one number, or one for each axis."""
    return numbers | st.tuples(*[numbers] * axes)


@st.composite
def convolutions(draw, name):
    """Draw arrays and options that fit."""
    _, _, axes = KINDS[name]
    transposed = "transpose" in name
    kernel = [draw(st.integers(1, 3)) for _ in range(axes)]
    options = {
        "stride": draw(per_axis(st.integers(1, 3), axes)),
        "dilation": draw(per_axis(st.integers(1, 2), axes)),
        "groups": draw(st.integers(1, 3)),
    }
    stride, dilation = (np.broadcast_to(options[name], axes) for name in ("stride", "dilation"))
    spans = dilation * (np.array(kernel) - 1) + 1
    if transposed:
        options["output_padding"] = draw(st.integers(0, min(np.maximum(stride, dilation)) - 1))
        options["padding"] = draw(st.integers(0, (min(spans) - 1) // 2))
        lengths = [draw(st.integers(1, 3)) for _ in range(axes)]
    else:
        options["padding"] = draw(per_axis(st.integers(0, 2), axes))
        if draw(st.booleans()):
            options |= {"padding": draw(st.sampled_from(["same", "valid"])), "stride": 1}
        pads = (
            0 if isinstance(options["padding"], str) else np.broadcast_to(options["padding"], axes)
        )
        least = np.maximum(1, spans - 2 * pads)
        lengths = [int(low) + draw(st.integers(0, 2)) for low in least]
    groups = options["groups"]
    inside, outside = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(*batch, groups * inside, *lengths))
    shape = (
        (groups * inside, outside, *kernel) if transposed else (groups * outside, inside, *kernel)
    )
    arrays = [x, rng.normal(size=shape)]
    if draw(st.booleans()):
        arrays.append(rng.normal(size=groups * outside))
    return arrays, options


# ------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_derivatives_of_first_and_second_order(name, data):
    arrays, options = data.draw(convolutions(name))
    function = KINDS[name][0]
    assert gradcheck(lambda *a: function(*a, **options), *arrays, order=2, mode="fast")


@pytest.mark.parametrize("name", KINDS)
def test_derivatives_in_every_entry(name):
    function, _, axes = KINDS[name]
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 2, *(4, 3)[:axes])), rng.normal(size=(2, 1, *(2, 3)[:axes]))
    for options in {"stride": 2, "padding": 1, "groups": 2}, {"dilation": 2, "padding": 2}:
        channels = options.get("groups", 1)
        arrays = (x, w) if channels == 2 else (x[:, :1], w[:1])
        gradcheck(lambda x, w, o=options: function(x, w, **o), *arrays, order=2, mode="full")


def direct(x, w, stride, padding, dilation, groups):
    """Convolve in two dimensions by the definition."""
    n, channels, height, width = x.shape
    out_channels, inside, *kernel = w.shape
    padded = np.zeros((n, channels, height + 2 * padding, width + 2 * padding))
    padded[:, :, padding : padding + height, padding : padding + width] = x
    places = [
        (length + 2 * padding - dilation * (k - 1) - 1) // stride + 1
        for length, k in zip((height, width), kernel, strict=True)
    ]
    y = np.zeros((n, out_channels, *places))
    for o, p, q in np.ndindex(out_channels, *places):
        first = o // (out_channels // groups) * inside
        for c, i, j in np.ndindex(inside, *kernel):
            row, column = stride * p + dilation * i, stride * q + dilation * j
            y[:, o, p, q] += w[o, c, i, j] * padded[:, first + c, row, column]
    return y


@given(
    st.integers(0, 2**32 - 1),
    *[st.integers(1, 3)] * 2,
    *[st.integers(0, 2), st.integers(1, 2), st.integers(1, 2)],
)
def test_values_are_those_of_the_definition(seed, kernel, stride, padding, dilation, groups):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2 * groups, 5, 6))
    w = rng.normal(size=(3 * groups, 2, kernel, 2))
    how = (stride, padding, dilation, groups)
    np.testing.assert_allclose(F.conv2d(x, w, None, *how).data, direct(x, w, *how), atol=1e-12)


@given(data=st.data())
def test_a_transposed_convolution_is_the_transpose(data):
    (x, w, *_), options = data.draw(convolutions("conv2d"))
    if isinstance(options["padding"], str):
        options["padding"] = 0
        x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, 4)] * 2)
    y = F.conv2d(x, w, **options).data
    g = np.random.default_rng(0).normal(size=y.shape)
    back = F.conv_transpose2d(g, w, **options).data  # where the last rows meet no kernel, shorter
    part = x[..., : back.shape[-2], : back.shape[-1]]
    np.testing.assert_allclose(np.sum(y * g), np.sum(part * back), rtol=1e-9, atol=1e-9)


def test_third_derivatives():
    x = np.random.default_rng(0).normal(size=(1, 1, 3))

    def loss(w):
        return np.sum(F.conv1d(x, np.reshape(w, (1, 1, 2))) ** 3)

    gradcheck(hessian(loss), np.array([0.5, -1.5]), order=1)


# -------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("name", KINDS)
def test_layers_have_pytorchs_parameters_and_initial_values(name):
    _, layer, axes = KINDS[name]
    shape = (6, 4, 5, 3)[: 2 + axes] if "transpose" in name else (8, 3, 5, 3)[: 2 + axes]
    made = layer(6, 8, (5, 3)[:axes], groups=2, rng=np.random.default_rng(0))
    assert {key: value.shape for key, value in made.state_dict().items()} == {
        "weight": shape,
        "bias": (8,),
    }
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    values = np.concatenate([made.weight.data.ravel(), made.bias.data])
    assert np.abs(values).max() <= bound
    assert np.abs(values).max() > 0.9 * bound
    assert abs(values.mean()) < 0.2 * bound
    assert values.dtype == np.float32
    assert layer(2, 3, 1, bias=False).bias is None


def test_reprs_are_pytorchs():
    assert [
        repr(layer)
        for layer in (
            nn.Conv1d(1, 4, 3),
            nn.Conv2d(3, 6, (3, 5), 2, 1, 2, 3, False),
            nn.Conv2d(3, 6, 3, padding="same"),
            nn.ConvTranspose1d(4, 2, 3, 2, 1, 1, 2),
            nn.ConvTranspose2d(1, 1, (2, 3), dilation=2),
        )
    ] == [
        "Conv1d(1, 4, kernel_size=(3,), stride=(1,))",
        "Conv2d(3, 6, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=3,"
        " bias=False)",
        "Conv2d(3, 6, kernel_size=(3, 3), stride=(1, 1), padding=same)",
        "ConvTranspose1d(4, 2, kernel_size=(3,), stride=(2,), padding=(1,), output_padding=(1,), "
        "groups=2)",
        "ConvTranspose2d(1, 1, kernel_size=(2, 3), stride=(1, 1), dilation=(2, 2))",
    ]


@pytest.mark.parametrize("name", KINDS)
def test_one_example_needs_no_batch_axis(name):
    _, layer, axes = KINDS[name]
    x = np.random.default_rng(0).normal(size=(1, 2, *(5, 6)[:axes]))
    made = layer(2, 3, 3, dtype=float)
    assert np.array_equal(made(x[0]).data, made(x).data[0])


@pytest.mark.parametrize("name", KINDS)
def test_an_empty_batch_goes_through(name):
    _, layer, axes = KINDS[name]
    made = layer(2, 3, 3)
    x = Tensor(np.zeros((0, 2, *(5, 6)[:axes]), np.float32), requires_grad=True)
    out = made(x)
    assert out.shape[:2] == (0, 3)
    out.sum().backward()
    assert x.grad.shape == x.shape
    assert not made.weight.grad.any()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", KINDS)
def test_dtypes_are_kept_and_float16_adds_up_in_float32(name, dtype):
    function, _, axes = KINDS[name]
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(8, 4, *(9, 8)[:axes])), rng.normal(size=(4, 4, *(3, 3)[:axes]))
    found = [Tensor(a.astype(dtype), requires_grad=True) for a in (x, w)]
    exact = [Tensor(a.data.astype(float), requires_grad=True) for a in found]
    outs = function(*found), function(*exact)
    g = rng.normal(size=outs[0].shape).astype(dtype)
    outs[0].backward(g)
    outs[1].backward(g.astype(float))
    for one, other in zip(
        [outs[0].data, *(t.grad for t in found)],
        [outs[1].data, *(t.grad for t in exact)],
        strict=True,
    ):
        assert one.dtype == dtype
        # In float16, one rounding at the end, not one for each term.
        rtol, sums = (np.finfo(dtype).eps, np.float32) if dtype == np.float16 else (0, dtype)
        atol = 50 * float(max(np.finfo(sums).eps, np.finfo(float).eps)) * np.abs(other).max()
        np.testing.assert_allclose(one.astype(float), other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", KINDS)
def test_a_layer_casts_its_input_to_its_own_dtype(name):
    _, layer, axes = KINDS[name]
    assert layer(1, 1, 1)(np.ones((1, 1, *(2, 2)[:axes]))).dtype == np.float32
    with pytest.raises(TypeError, match="float"):
        layer(1, 1, 1)(np.ones((1, 1, *(2, 2)[:axes]), int))


def test_layouts_in_memory_do_not_matter():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(3, 2, 5, 6)), rng.normal(size=(4, 2, 3, 3))
    expected = F.conv2d(x, w).data
    for axes in (1, 2, 3, 0), (0, 2, 3, 1), (3, 2, 1, 0):
        back = np.argsort(axes)
        scattered = [np.transpose(np.array(np.transpose(a, axes), order="C"), back) for a in (x, w)]
        np.testing.assert_allclose(F.conv2d(*scattered).data, expected, rtol=1e-12)


def test_what_no_grad_returns_does_not_change_with_the_parameters():
    conv = nn.Conv2d(1, 1, 1, bias=False)
    with no_grad():
        out = conv(np.ones((1, 1, 2, 2)))
        before = out.data.copy()
        conv.weight.data[...] = 7
    assert np.array_equal(out.data, before)


# ------------------------------------------------------------------- compile, and dropout's masks


def net_of(seed, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2, dtype=dtype, rng=rng), nn.ReLU(),
        nn.Dropout2d(0.3, rng=rng), nn.ConvTranspose2d(4, 1, 3, dtype=dtype, rng=rng),
    )  # fmt: skip


def test_compiled_steps_have_the_same_bits():
    def make():
        net = net_of(0)
        optimizer = optim.Adam(net.parameters(), lr=0.01)

        def step(x):
            optimizer.zero_grad()
            loss = np.mean(net(x) ** 2)
            loss.backward()
            optimizer.step()
            return loss, [parameter.grad for parameter in net.parameters()]

        return step

    def batch(number):
        return np.random.default_rng(number).normal(size=(4, 2, 6, 6)).astype(np.float32)

    eager, compiled_net = make(), make()
    step = compile(compiled_net)
    for number in range(4):
        found, expected = step(batch(number)), eager(batch(number))
        assert found[0].data.tobytes() == expected[0].data.tobytes()
        for one, other in zip(found[1], expected[1], strict=True):
            assert one.tobytes() == other.tobytes()
    assert len(step.traces) == 1


def test_compiled_functions_have_the_same_bits():
    w = np.random.default_rng(1).normal(size=(3, 2, 3))
    assert_runs_as_eager(
        lambda x: F.conv1d(x, w, stride=2, padding=1, dilation=2),
        lambda number: np.random.default_rng(number).normal(size=(2, 2, 9)),
    )


def test_gradients_with_dropouts_masks_held():
    net = net_of(0, float)
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 4))
    held = nn.DropoutMasks().hold(net)
    assert gradcheck(lambda x: np.tanh(held(x)), x + 0.1, order=1, mode="fast")


# ------------------------------------------------------------------------------------- misuse


def test_the_size_of_a_transposed_convolution_may_be_given():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    conv = nn.Conv2d(2, 3, (3, 2), (2, 3), (1, 0), (1, 2), dtype=float)
    for size in (7, 15), (8, 16), (2, 2, 7, 17):  # of which the convolution makes (4, 5)
        options = {"stride": (2, 3), "padding": (1, 0), "dilation": (1, 2), "dtype": float}
        back = nn.ConvTranspose2d(3, 2, (3, 2), **options)
        out = back(x, size)
        assert out.shape == (2, 2, *size[-2:])
        assert conv(out).shape == x.shape
        more = np.subtract(size[-2:], (7, 15))
        expected = F.conv_transpose2d(
            x, back.weight, back.bias, (2, 3), (1, 0), tuple(more), 1, (1, 2)
        )
        np.testing.assert_array_equal(out.data, expected.data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 8, 9, 3))), "moveaxis(x, -1, 1)"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((8, 9, 3))), "moveaxis(x, -1, 0)"),
        (lambda: nn.Conv2d(1, 8, 3)(np.ones((32, 8, 8))), "x[:, None]"),
        (lambda: nn.Conv2d(1, 8, 3)(np.ones((8, 8))), "x[None] for one example"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 3, 2, 9))), "kernel that is (3, 3)"),
        (lambda: nn.Conv2d(3, 8, 3, dilation=2)(np.ones((2, 3, 4, 9))), "spans (5, 5)"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 3, 9))), "expected 3"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((2, 4, 9, 9))), "with 4 channels"),
        (lambda: nn.Conv2d(3, 8, 3)(np.ones((1, 2, 3, 9, 9))), "(n, channels, height, width)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3)(np.ones((2, 4, 9, 9))), "with 4 channels"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, padding=3)(np.ones((2, 3, 2, 2))), "less padding"),
        (lambda: nn.ConvTranspose1d(3, 8, 3, 2)(np.ones((2, 3, 4)), 11), "size from (9,) to (10,)"),
        (lambda: nn.ConvTranspose2d(3, 8, 3)(np.ones((3, 4, 4)), (5, 6)), "output_size=(5, 6)"),
        (lambda: nn.Conv2d(3, 8, 3, groups=2), "groups must divide both"),
        (lambda: nn.Conv2d(4, 9, 3, groups=2), "groups must divide both"),
        (lambda: nn.ConvTranspose2d(4, 9, 3, groups=2), "groups must divide both"),
        (lambda: nn.Conv2d(3, 8, 0), "kernel_size must be at least 1"),
        (lambda: nn.Conv2d(3, 8, 3, stride=0), "stride must be at least 1"),
        (lambda: nn.Conv2d(3, 8, 3, dilation=0), "dilation must be at least 1"),
        (lambda: nn.Conv2d(3, 8, 3, padding=-1), "padding must be at least 0"),
        (lambda: nn.Conv2d(3, 8, 3, 2, "same"), "stride"),
        (lambda: nn.Conv2d(3, 8, 3, padding="full"), "'same', 'valid'"),
        (lambda: nn.Conv2d(3, 8, 3, padding_mode="mirror"), "'reflect', 'replicate'"),
        (lambda: nn.ConvTranspose2d(3, 8, 3, 2, output_padding=2), "less than the stride"),
        (lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((3, 2, 2, 2)), groups=2), "divide"),
        (lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((4, 4, 2, 2)), groups=2), "expected 8"),
        (lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((3, 4, 2))), "needs a weight of shape"),
        (lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((3, 4, 0, 1))), "needs a weight of shape"),
        (lambda: F.conv2d(np.ones((1, 4, 5, 5)), np.ones((3, 4, 2, 2)), np.ones(4)), "bias"),
        (lambda: F.conv_transpose1d(np.ones((4, 5)), np.ones((4, 3, 2)), np.ones(4)), "bias"),
        (lambda: F.conv_transpose1d(np.ones((1, 3, 5)), np.ones((3, 2, 2)), groups=2), "divide"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_mend(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.Conv2d(3, 8, 2.5),
        lambda: nn.Conv2d(3, 8, (3, 3, 3)),
        lambda: nn.Conv2d(3.0, 8, 3),
        lambda: nn.Conv2d(3, 8, 3, bias=1),
        lambda: nn.Conv2d(3, 8, 3, groups=1.5),
        lambda: nn.Conv2d(3, 8, 3, padding=0.5),
        lambda: nn.Conv1d(3, 8, True),
    ],
)
def test_options_of_another_type_are_refused(call):
    with pytest.raises(TypeError, match=r"integer|True or False"):
        call()
