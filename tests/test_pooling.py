"""Pooling and resizing: values, derivatives of all orders, ties, shapes and misuse.

What PyTorch gives for the same is compared in test_recorded_images.py.
"""

import re

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS
from hypothesis import given
from hypothesis import strategies as st

from microgrand import Tensor, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

POOLS = {
    "max_pool1d": (F.max_pool1d, nn.MaxPool1d, 1),
    "max_pool2d": (F.max_pool2d, nn.MaxPool2d, 2),
    "avg_pool1d": (F.avg_pool1d, nn.AvgPool1d, 1),
    "avg_pool2d": (F.avg_pool2d, nn.AvgPool2d, 2),
}
ADAPTIVE = {
    "adaptive_avg_pool1d": (F.adaptive_avg_pool1d, nn.AdaptiveAvgPool1d, 1),
    "adaptive_avg_pool2d": (F.adaptive_avg_pool2d, nn.AdaptiveAvgPool2d, 2),
    "adaptive_max_pool1d": (F.adaptive_max_pool1d, nn.AdaptiveMaxPool1d, 1),
    "adaptive_max_pool2d": (F.adaptive_max_pool2d, nn.AdaptiveMaxPool2d, 2),
}


def image(seed, shape):
    """Draw distinct elements: at ties, a maximum has no derivative."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    return (rng.permutation(size) / max(size, 1) - 0.4 + 0.001).reshape(shape)


@st.composite
def pools(draw, name):
    """Draw an input and options that fit."""
    axes = POOLS[name][2]
    one_each = st.tuples(*[st.integers(1, 3)] * axes)
    kernel = draw(st.integers(1, 3) | one_each)
    options = {
        "kernel_size": kernel,
        "stride": draw(st.none() | st.integers(1, 3) | one_each),
        "ceil_mode": draw(st.booleans()),
    }
    spans = np.broadcast_to(kernel, axes)
    if name.startswith("max"):
        options["dilation"] = draw(st.integers(1, 2))
        spans = options["dilation"] * (spans - 1) + 1
    else:
        options["count_include_pad"] = draw(st.booleans())
    options["padding"] = draw(st.integers(0, int(min(spans)) // 2))
    lengths = [int(span) + draw(st.integers(0, 3)) for span in spans]
    batch = draw(st.sampled_from([(), (2,)]))
    x = image(draw(st.integers(0, 2**32 - 1)), (*batch, draw(st.integers(1, 2)), *lengths))
    return x, options


def direct(name, x, options, shape):
    """Pool along one or two axes by the definition, without a dilation."""
    axes = POOLS[name][2]
    kernel = np.broadcast_to(options["kernel_size"], axes)
    stride = kernel if options["stride"] is None else np.broadcast_to(options["stride"], axes)
    padding = options["padding"]
    y = np.zeros(shape)
    for place in np.ndindex(*shape[-axes:]):
        start = stride * place - padding
        end = np.minimum(start + kernel, np.array(x.shape[-axes:]) + padding)
        inside = [
            slice(max(a, 0), max(min(b, n), 0))
            for a, b, n in zip(start, end, x.shape[-axes:], strict=True)
        ]
        part = x[(..., *inside)].reshape(*x.shape[:-axes], -1)
        if name.startswith("max"):
            y[(..., *place)] = part.max(-1)
        else:
            number = np.prod(end - start) if options["count_include_pad"] else part.shape[-1]
            y[(..., *place)] = part.sum(-1) / number
    return y


@pytest.mark.parametrize("name", POOLS)
@given(data=st.data())
def test_values_and_derivatives_of_first_and_second_order(name, data):
    x, options = data.draw(pools(name))
    function = POOLS[name][0]
    out = function(x, **options)
    if options.get("dilation", 1) == 1:
        np.testing.assert_allclose(out.data, direct(name, x, options, out.shape), atol=1e-12)
    assert gradcheck(lambda x: np.square(function(x, **options)), x, order=2, mode="fast")


@pytest.mark.parametrize("name", ADAPTIVE)
@given(data=st.data())
def test_values_and_derivatives_of_adaptive_pools(name, data):
    function, _, axes = ADAPTIVE[name]
    lengths = [data.draw(st.integers(1, 5)) for _ in range(axes)]
    sizes = tuple(data.draw(st.none() | st.integers(1, 6)) for _ in range(axes))
    x = image(data.draw(st.integers(0, 2**32 - 1)), (2, *lengths))
    out = function(x, sizes)
    reduce = np.max if "max" in name else np.mean
    for place in np.ndindex(*out.shape[1:]):
        part = x
        for axis, (p, m) in enumerate(zip(place, out.shape[1:], strict=True), 1):
            n = x.shape[axis]
            chosen = [i for i in range(n) if i >= p * n // m and i * m < (p + 1) * n]
            part = np.take(part, chosen, axis)
        expected = reduce(part.reshape(2, -1), axis=-1)
        np.testing.assert_allclose(out.data[(..., *place)], expected, atol=1e-12)
    assert gradcheck(lambda x: np.square(function(x, sizes)), x, order=2, mode="fast")


# -------------------------------------------------------------------------------- conventions


@pytest.mark.parametrize("pool", [F.max_pool1d, F.adaptive_max_pool1d])
def test_ties_share_the_gradient_evenly(pool):
    x = Tensor([[1.0, 4.0, 4.0, 2.0, 2.0, 2.0]], requires_grad=True)
    pool(x, 2 if pool is F.adaptive_max_pool1d else 3).backward(np.array([[6.0, 3.0]]))
    assert x.grad.tolist() == [[0.0, 3.0, 3.0, 1.0, 1.0, 1.0]]


def test_padding_never_wins_and_shares_nothing():
    x = Tensor(np.full((1, 3), -np.inf), requires_grad=True)
    out = F.max_pool1d(x, 3, padding=1)
    assert out.data.tolist() == [[-np.inf]]
    out.backward(np.array([[1.0]]))
    assert x.grad.tolist() == [[0.5, 0.5, 0.0]]


def test_a_nan_wins_and_has_the_gradient():
    x = Tensor([[1.0, np.nan, 2.0, 3.0]], requires_grad=True)
    out = F.max_pool1d(x, 2)
    np.testing.assert_array_equal(out.data, [[np.nan, 3.0]])
    out.backward(np.array([[1.0, 1.0]]))
    assert x.grad.tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_losers_have_no_part_in_infinite_gradients():
    x = Tensor([[1.0, 2.0, 4.0, 3.0]], requires_grad=True)
    F.max_pool1d(x, 2).backward(np.array([[np.inf, np.nan]]))
    np.testing.assert_array_equal(x.grad, [[0.0, np.inf, np.nan, 0.0]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes_are_kept_and_float16_adds_up_in_float32(dtype):
    x = Tensor(np.full((1, 4096), 1000, dtype), requires_grad=True)
    for pool in (
        lambda x: F.avg_pool1d(x, 4096),
        lambda x: F.adaptive_avg_pool1d(x, 1),
        lambda x: F.max_pool1d(x, 4096),
    ):
        out = pool(x)
        assert out.dtype == dtype
        assert out.data.tolist() == [[1000]]
        x.grad = None
        out.backward(np.full((1, 1), 4096, dtype))
        assert x.grad.dtype == dtype
        assert (x.grad == 1).all()
    out = F.interpolate(x.reshape(1, 1, 4096), scale_factor=2)
    assert out.dtype == dtype
    x.grad = None
    out.backward(np.ones((1, 1, 8192), dtype))
    assert (x.grad == 2).all()


@pytest.mark.parametrize("name", [*POOLS, *ADAPTIVE])
def test_layers_do_what_functions_do(name):
    function, layer, axes = (POOLS | ADAPTIVE)[name]
    x = image(0, (2, 3, *(6, 7)[:axes]))
    assert np.array_equal(layer(3)(x).data, function(x, 3).data)
    assert np.array_equal(layer(3)(x[0]).data, function(x, 3).data[0])
    assert layer(3)(np.zeros((0, 3, *(6, 7)[:axes]))).shape == (0, *function(x, 3).shape[1:])
    assert list(layer(3).state_dict()) == []


def test_reprs_are_pytorchs():
    assert list(
        map(
            repr,
            (
                nn.MaxPool2d(2), nn.MaxPool1d(3, 1, 1, 2, ceil_mode=True), nn.AvgPool2d((2, 3), 1),
                nn.AdaptiveAvgPool2d((1, None)), nn.AdaptiveMaxPool1d(4), nn.Flatten(),
                nn.Upsample(scale_factor=2), nn.Upsample((3, 4)), nn.Unflatten(1, (2, -1)),
            ),
        )
    ) == [
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "MaxPool1d(kernel_size=3, stride=1, padding=1, dilation=2, ceil_mode=True)",
        "AvgPool2d(kernel_size=(2, 3), stride=1, padding=0)",
        "AdaptiveAvgPool2d(output_size=(1, None))",
        "AdaptiveMaxPool1d(output_size=4)",
        "Flatten(start_dim=1, end_dim=-1)",
        "Upsample(scale_factor=2, mode='nearest')",
        "Upsample(size=(3, 4), mode='nearest')",
        "Unflatten(dim=1, unflattened_size=(2, -1))",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------ resizing


@given(
    st.integers(0, 2**32 - 1),
    *[st.integers(1, 4)] * 2,
    st.integers(1, 6) | st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_values_and_derivatives_of_resizing(seed, height, width, size):
    x = image(seed, (2, 1, height, width))
    out = F.interpolate(x, size)
    rows, columns = np.broadcast_to(size, 2)
    for i, j in np.ndindex(rows, columns):
        expected = x[:, :, i * height // rows, j * width // columns]
        np.testing.assert_array_equal(out.data[:, :, i, j], expected)
    assert gradcheck(lambda x: np.square(F.interpolate(x, size)), x, order=2, mode="fast")


@given(st.integers(1, 5), st.sampled_from([1, 2, 3, 2.0, 1.5, 2.5, 0.5, 0.75, 2.4]))
def test_scales_need_not_be_whole(length, scale):
    x = np.arange(float(length)).reshape(1, 1, length)
    if length * scale < 1:
        with pytest.raises(ValueError, match="scale_factor"):
            F.interpolate(x, scale_factor=scale)
        return
    expected = [min(int(i / scale), length - 1) for i in range(int(length * scale))]
    assert nn.Upsample(scale_factor=scale)(x).data[0, 0].tolist() == expected
    gradcheck(lambda x: np.square(F.interpolate(x, scale_factor=scale)), x, order=2)


@given(
    st.integers(0, 2**32 - 1),
    *[st.integers(1, 4)] * 2,
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.booleans(),
)
def test_values_and_derivatives_of_linear_resizing(seed, height, width, size, corners):
    x = image(seed, (2, 1, height, width))
    out = F.interpolate(x, size, mode="bilinear", align_corners=corners)
    at = [
        np.linspace(0, n - 1, m) if corners and m > 1
        else np.zeros(1) if corners else (np.arange(m) + 0.5) * n / m - 0.5
        for n, m in zip((height, width), size, strict=True)
    ]  # fmt: skip
    rows = [[np.interp(at[1], np.arange(width), row) for row in one[0]] for one in x]
    both = [[np.interp(at[0], np.arange(height), column) for column in np.transpose(one)]
            for one in rows]  # fmt: skip
    np.testing.assert_allclose(out.data[:, 0], np.swapaxes(both, 1, 2), rtol=1e-12, atol=1e-14)
    layer = nn.Upsample(size, mode="bilinear", align_corners=corners)
    assert gradcheck(lambda x: np.square(layer(x)), x, order=2, mode="fast")


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["nearest-exact", "trilinear", "bicubic", "area"]),
    st.tuples(*[st.integers(1, 4)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.booleans(),
)
def test_derivatives_of_other_resizing(seed, mode, lengths, size, corners):
    if mode == "bicubic":
        lengths, size = lengths[1:], size[1:]
    options = {"align_corners": corners} if mode in ("trilinear", "bicubic") else {}
    x = image(seed, (1, 1, *lengths))
    layer = nn.Upsample(size, mode=mode, **options)
    assert layer(x).shape == (1, 1, *size)
    assert gradcheck(lambda x: np.square(layer(x)), x, order=2, mode="fast")
    ones = layer(np.ones((1, 1, *lengths)))
    np.testing.assert_allclose(ones.data, 1, rtol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_float16_is_resized_in_float32(mode):
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float16)
    exact = F.interpolate(x.astype(np.float64), (11, 13), mode=mode).data
    out = F.interpolate(x, (11, 13), mode=mode).data
    assert out.dtype == np.float16
    # Rounded once: half a unit, and what float32 has rounded before.
    np.testing.assert_allclose(out, exact, rtol=2**-11 * 1.001, atol=1e-6)


def test_linear_resizing_keeps_the_dtype_and_compiles():
    draw = np.random.default_rng(0).normal(size=(4, 2, 3, 5)).astype(np.float32)
    for options in [
        {"size": 4}, {"scale_factor": 1.5}, {"size": 9, "align_corners": True},
        {"size": 7, "mode": "nearest-exact"}, {"size": 3, "mode": "area"},
    ]:  # fmt: skip

        def resize(x, options=options):
            return F.interpolate(x, **{"mode": "linear", **options})

        assert resize(draw[0]).dtype == np.float32
        assert_runs_as_eager(grad(lambda x: np.sum(np.square(resize(x)))), lambda i: draw[i])


# -------------------------------------------------------------------------- pooling by a power


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0, 3.0, 1.5]), st.booleans())
def test_values_and_derivatives_of_pooling_by_a_power(seed, p, ceil_mode):
    x = np.abs(image(seed, (2, 4, 5))) + 0.1
    layer = nn.LPPool2d(p, (2, 3), 2, ceil_mode)
    expected = F.avg_pool2d(x**p, (2, 3), 2, 0, ceil_mode).data * 6
    np.testing.assert_allclose(layer(x).data, expected ** (1 / p), rtol=1e-12)
    assert gradcheck(layer, x, order=2, mode="fast")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_powers_do_not_overflow_and_have_no_gradient_at_zero(dtype):
    size = np.finfo(dtype).max / 16
    x = Tensor(np.array([[3, 4, 0, 0]], dtype) * dtype(size), requires_grad=True)
    out = F.lp_pool1d(x, 2, 2)
    assert out.dtype == dtype
    np.testing.assert_allclose(out.data / dtype(size), [[5, 0]], rtol=4 * np.finfo(dtype).eps)
    out.backward(np.ones((1, 2)))
    np.testing.assert_allclose(x.grad.astype(float), [[0.6, 0.8, 0, 0]], rtol=1e-3)


def test_a_power_below_one_has_no_gradient_at_zero_either():
    x = Tensor([[0.0, 0.0, 0.0, 4.0]], requires_grad=True)
    F.lp_pool1d(x, 0.5, 2).sum().backward()
    np.testing.assert_array_equal(x.grad, [[0, 0, 0, 1]])


def test_a_divisor_of_ones_own():
    x = image(0, (1, 2, 4, 5))
    sums = F.avg_pool2d(x, 2, 1, 1).data * 4
    out = nn.AvgPool2d(2, 1, 1, divisor_override=3)(x)
    np.testing.assert_allclose(out.data, sums / 3, rtol=1e-12)
    assert gradcheck(lambda x: F.avg_pool2d(x, 2, divisor_override=3), x, order=2, mode="fast")


def test_compiled_pooling_by_a_power_has_the_same_bits():
    draw = np.random.default_rng(0).normal(size=(4, 2, 4, 5)).astype(np.float32)
    assert_runs_as_eager(
        grad(lambda x: np.sum(np.square(F.lp_pool2d(x, 2.0, 2) - 1))), lambda i: draw[i]
    )


def test_flatten():
    x = np.arange(48.0).reshape(2, 3, 4, 2)
    assert np.array_equal(nn.Flatten()(x).data, x.reshape(2, 24))
    assert np.array_equal(nn.Flatten(0)(x).data, x.reshape(48))
    assert np.array_equal(nn.Flatten(1, 2)(x).data, x.reshape(2, 12, 2))
    assert nn.Flatten()(x[:0]).shape == (0, 24)
    assert gradcheck(nn.Flatten(), x, order=2, mode="fast")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.data())
def test_unflatten_undoes_flatten(sizes, data):
    before, after = (data.draw(st.lists(st.integers(1, 2), max_size=2)) for _ in range(2))
    x = np.random.default_rng(0).normal(size=(*before, *sizes, *after))
    flat = nn.Flatten(len(before), len(before) + len(sizes) - 1)(x).data
    dim = len(before) - flat.ndim * data.draw(st.booleans())
    if all(sizes):
        sizes[data.draw(st.integers(0, len(sizes) - 1))] *= data.draw(st.sampled_from([1, -1]))
        sizes = [-1 if size < 0 else size for size in sizes]
    layer = nn.Unflatten(dim, tuple(sizes))
    assert np.array_equal(layer(flat).data, x)
    if x.size:
        assert gradcheck(lambda x: np.square(layer(x)), flat, order=2, mode="fast")


# ------------------------------------------------------------------------------------- compile


@pytest.mark.parametrize("name", [*POOLS, *ADAPTIVE])
def test_compiled_gradients_have_the_same_bits(name):
    function, _, axes = (POOLS | ADAPTIVE)[name]
    options = {"stride": 2, "padding": 1} if name in POOLS else {}

    def gradient(x):
        x = Tensor(x, requires_grad=True)
        np.sum(function(x, 3, **options) ** 2).backward()
        return x.grad

    assert_runs_as_eager(
        gradient,
        lambda number: np.random.default_rng(number).integers(0, 4, (2, 2, *(7, 8)[:axes])) / 4,
    )


# -------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.max_pool2d(np.ones((2, 3)), 2), "(n, channels, height, width)"),
        (lambda: F.max_pool2d(np.ones((2, 3, 1, 5)), 2), "kernel that is (2, 2)"),
        (lambda: F.max_pool2d(np.ones((2, 3, 3, 5)), 2, dilation=3), "spans (4, 4)"),
        (lambda: nn.MaxPool2d(2, padding=2), "at most half"),
        (lambda: F.avg_pool2d(np.ones((2, 3, 3, 5)), 3, padding=2), "at most half"),
        (lambda: nn.AvgPool2d(0), "kernel_size must be at least 1"),
        (lambda: nn.AvgPool1d(2, 0), "stride must be at least 1"),
        (lambda: nn.AdaptiveAvgPool2d(0), "output_size must be at least 1"),
        (lambda: F.adaptive_max_pool1d(np.ones((2, 0)), 1), "no elements"),
        (lambda: F.interpolate(np.ones((2, 3, 4))), "either size or scale_factor"),
        (lambda: nn.Upsample(2, 2), "either size or scale_factor"),
        (lambda: F.interpolate(np.ones((2, 3, 4)), 2, mode="cubic"), "'nearest', 'nearest-exact'"),
        (lambda: F.interpolate(np.ones((2, 3, 4)), 2, mode="bilinear"), "it is 'linear'"),
        (lambda: nn.Upsample(2, mode="linear")(np.ones((2, 3, 4, 4))), "it is 'bilinear'"),
        (lambda: F.interpolate(np.ones((2, 3, 4)), 2, align_corners=True), "leave it out"),
        (lambda: nn.Upsample(2, mode="lanczos"), "Upsample's mode is one of"),
        (lambda: F.interpolate(np.ones((1, 1, 2, 2)), 2, mode="trilinear"), "it is 'bilinear'"),
        (lambda: nn.Upsample(2, mode="area", align_corners=False), "out with 'area'"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), "divisor_override must be at least 1"),
        (lambda: F.avg_pool2d(np.ones((1, 2, 2)), 2, divisor_override=0), "at least 1"),
        (lambda: nn.LPPool1d(0, 2), "norm_type is a positive number"),
        (lambda: F.lp_pool2d(np.ones((2, 2)), 2, 2), "(n, channels, height, width)"),
        (lambda: F.lp_pool1d(np.ones((1, 2)), 2, 3), "lp_pool1d got an input that is (2,)"),
        (lambda: nn.LPPool1d(2, 2, stride=0), "LPPool1d's stride must be at least 1"),
        (lambda: F.interpolate(np.ones((3, 4)), 2), "x[None]"),
        (lambda: nn.Flatten()(np.ones(3)), "Flatten(0)"),
        (lambda: nn.Flatten(2, 1)(np.ones((3, 2, 2))), "no axes from 2 to 1"),
        (lambda: nn.Unflatten(1, (2, 3))(np.ones((3, 5))), "length 5 cannot become axes"),
        (lambda: nn.Unflatten(1, (2, -1))(np.ones((3, 5))), "lengths (2, -1)"),
        (lambda: nn.Unflatten(2, (2, -1))(np.ones((3, 6))), "no axis 2"),
        (lambda: nn.Unflatten(1, (-1, -1)), "one may be -1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_mend(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: nn.MaxPool2d(2.0),
        lambda: nn.MaxPool2d((2, 2, 2)),
        lambda: nn.MaxPool2d(2, 2, 0, 1, False, True),
        lambda: nn.MaxPool2d(2, ceil_mode=1),
        lambda: nn.AvgPool2d(2, count_include_pad=None),
        lambda: nn.AvgPool2d(2, divisor_override=1.5),
        lambda: nn.LPPool2d(2, 1.5),
        lambda: nn.LPPool2d(2, 2, ceil_mode="no"),
        lambda: nn.Upsample(2, mode="linear", align_corners=1),
        lambda: nn.AdaptiveAvgPool2d(1.5),
        lambda: nn.AdaptiveAvgPool2d((1, 2, 3)),
        lambda: F.interpolate(np.ones((1, 1, 2)), scale_factor="2"),
        lambda: nn.Flatten(None),
        lambda: nn.Unflatten(1.0, (2, 3)),
        lambda: nn.Unflatten(1, 6),
        lambda: F.max_pool2d(np.ones((2, 3, 4), int), 2),
    ],
)
def test_options_of_another_type_are_refused(call):
    with pytest.raises(TypeError):
        call()
