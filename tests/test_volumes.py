"""Three axes: values beside those of two, derivatives, compiled and misuse.

What PyTorch gives for the same is compared in test_recorded_layers.py.
"""

import re

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import Tensor, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

seeds = st.integers(0, 2**32 - 1)
one_each = st.tuples(*[st.integers(1, 2)] * 3)
fewer = settings(max_examples=10)


@fewer
@given(seeds, one_each, one_each, st.integers(1, 2), st.booleans())
def test_derivatives_of_convolutions(seed, kernel, stride, groups, with_bias):
    rng = np.random.default_rng(seed)
    x, bias = rng.normal(size=(1, groups, 2, 3, 2)), rng.normal(size=2 * groups)
    for function, shape in [
        (F.conv3d, (2 * groups, 1, *kernel)),
        (F.conv_transpose3d, (groups, 2, *kernel)),
    ]:
        arrays = (x, rng.normal(size=shape), bias)[: 2 + with_bias]

        def f(*arrays, function=function):
            return function(*arrays, stride=stride, groups=groups)

        assert gradcheck(f, *arrays, order=2, mode="fast")


@fewer
@given(seeds, one_each, st.booleans())
def test_derivatives_of_pools(seed, kernel, ceil_mode):
    x = np.random.default_rng(seed).permutation(24).reshape(2, 2, 2, 3) / 4
    for pool in (
        nn.MaxPool3d(kernel, 1, ceil_mode=ceil_mode),
        nn.AvgPool3d(kernel, 2, ceil_mode=ceil_mode),
        nn.AvgPool3d(kernel, divisor_override=3),
        nn.AdaptiveAvgPool3d((1, None, 2)),
        nn.AdaptiveMaxPool3d((1, None, 2)),
    ):
        assert gradcheck(lambda x, pool=pool: np.square(pool(x)), x, order=2, mode="fast")


def test_a_flat_volume_is_an_image():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 2, 2))
    for volume, image, arrays in [
        (F.conv3d, F.conv2d, (x, w)),
        (F.conv_transpose3d, F.conv_transpose2d, (x[:, :2], w)),
    ]:
        deep = [array[:, :, None] for array in arrays]
        np.testing.assert_allclose(volume(*deep).data[:, :, 0], image(*arrays).data, rtol=1e-12)
    for volume, image in (F.max_pool3d, F.max_pool2d), (F.avg_pool3d, F.avg_pool2d):
        found = volume(x[:, :, None], (1, 2, 3)).data[:, :, 0]
        np.testing.assert_array_equal(found, image(x, (2, 3)).data)


def test_layers_do_what_functions_do():
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4, 5))
    conv = nn.Conv3d(2, 4, 2, 2, 1, 1, 2, dtype=np.float64)
    back = nn.ConvTranspose3d(2, 4, 2, 2, 1, 1, 2, True, 2, dtype=np.float64)
    for layer, function, arguments in [
        (conv, F.conv3d, (conv.weight, conv.bias, 2, 1, 1, 2)),
        (back, F.conv_transpose3d, (back.weight, back.bias, 2, 1, 1, 2, 2)),
        (nn.MaxPool3d(2, 1, 1, 2), F.max_pool3d, (2, 1, 1, 2)),
        (nn.AvgPool3d(2, 3, 1, True, False), F.avg_pool3d, (2, 3, 1, True, False)),
        (nn.AvgPool3d(2, divisor_override=3), F.avg_pool3d, (2, None, 0, False, True, 3)),
        (nn.AdaptiveAvgPool3d((2, 1, 3)), F.adaptive_avg_pool3d, ((2, 1, 3),)),
        (nn.AdaptiveMaxPool3d((2, 1, 3)), F.adaptive_max_pool3d, ((2, 1, 3),)),
    ]:
        np.testing.assert_array_equal(layer(x).data, function(x, *arguments).data)


def test_batches_are_normalised_over_space():
    norm = nn.BatchNorm3d(2, dtype=np.float64)
    x = np.random.default_rng(0).normal(3, 2, (4, 2, 2, 3, 2))
    z = norm(x).data
    np.testing.assert_allclose(z.mean(axis=(0, 2, 3, 4)), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=(0, 2, 3, 4)), 1, rtol=1e-5)
    assert norm.num_batches_tracked.data == 1


def test_compiled_they_have_the_same_bits():
    draw = np.random.default_rng(0).normal(size=(4, 2, 2, 3, 4, 4)).astype(np.float32)
    w = np.random.default_rng(1).normal(size=(3, 2, 2, 2, 2)).astype(np.float32)

    def loss(x):
        hidden = F.max_pool3d(F.conv3d(x, w, padding=1), 2)
        return np.sum(np.square(F.conv_transpose3d(hidden, w)))

    assert_runs_as_eager(grad(loss), lambda i: draw[i])


def test_float16_adds_up_in_float32():
    x = Tensor(np.full((1, 16, 16, 16), 1000, np.float16))
    assert F.avg_pool3d(x, 16).data.tolist() == [[[[1000]]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Conv3d(2, 3, 2)(np.ones((2, 3, 3))), "(n, channels, depth, height, width)"),
        (lambda: nn.Conv3d(2, 3, 2)(np.ones((3, 2, 2, 2))), "with 3 channels"),
        (lambda: nn.Conv3d(2, 3, 3)(np.ones((2, 2, 3, 3))), "kernel that is (3, 3, 3)"),
        (lambda: F.max_pool3d(np.ones((2, 3)), 2), "(channels, depth, height, width)"),
        (lambda: nn.AvgPool3d(2, divisor_override=0), "AvgPool3d's divisor_override"),
        (lambda: nn.BatchNorm3d(2)(np.ones((2, 2, 3, 3))), "5"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_options_have_three_numbers():
    with pytest.raises(TypeError, match=r"3 in a tuple, \(depth, height, width\), got \(2, 2\)"):
        nn.Conv3d(1, 1, (2, 2))
