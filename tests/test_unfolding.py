"""Unfolding, folding and shuffling: values, derivatives, dtypes, compiled and misuse.

What PyTorch gives for the same is compared in test_recorded_layers.py.
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

seeds = st.integers(0, 2**32 - 1)


@st.composite
def images(draw):
    """Draw images, and options of a window that fits."""
    one_each = st.tuples(st.integers(1, 2), st.integers(1, 2))
    options = {
        name: draw(st.integers(1, 2) | one_each) for name in ("kernel_size", "dilation", "stride")
    }
    options["padding"] = draw(st.integers(0, 1) | st.tuples(st.integers(0, 1), st.integers(0, 1)))
    batch = draw(st.sampled_from([(), (2,)]))
    lengths = draw(st.tuples(st.integers(3, 4), st.integers(3, 4)))
    rng = np.random.default_rng(draw(seeds))
    return rng.normal(size=(*batch, draw(st.integers(1, 2)), *lengths)), options


@given(images())
def test_values_and_derivatives_of_unfolding(case):
    x, options = case
    columns = F.unfold(x, **options)
    kernel = np.broadcast_to(options["kernel_size"], 2)
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, x.shape[-3], *kernel))
    given_ = {name: options[name] for name in ("dilation", "stride", "padding")}
    convolved = F.conv2d(x, weight, **given_).data
    product = weight.reshape(3, -1) @ columns.data
    np.testing.assert_allclose(product.reshape(convolved.shape), convolved, atol=1e-12)
    assert gradcheck(lambda x: np.square(nn.Unfold(**options)(x)), x, order=2, mode="fast")


@given(images())
def test_folding_is_the_transpose(case):
    x, options = case
    columns = F.unfold(x, **options).data
    y = np.random.default_rng(0).normal(size=columns.shape)
    fold = nn.Fold(x.shape[-2:], **options)
    folded = fold(y)
    assert folded.shape == x.shape
    np.testing.assert_allclose(np.sum(folded.data * x), np.sum(y * columns))
    assert gradcheck(lambda y: np.square(fold(y)), y, order=2, mode="fast")


@given(seeds, st.integers(1, 3), st.sampled_from([(), (2,), (2, 1)]))
def test_shuffling_pixels_and_back(seed, r, batch):
    x = np.random.default_rng(seed).normal(size=(*batch, 2 * r * r, 2, 3))
    shuffled = F.pixel_shuffle(x, r)
    for c, i, j in np.ndindex(2, 2 * r, 3 * r):
        channel = c * r * r + i % r * r + j % r
        np.testing.assert_array_equal(shuffled.data[..., c, i, j], x[..., channel, i // r, j // r])
    np.testing.assert_array_equal(nn.PixelUnshuffle(r)(shuffled).data, x)
    assert gradcheck(lambda x: np.square(nn.PixelShuffle(r)(x)), x, order=2, mode="fast")
    assert gradcheck(
        lambda x: np.square(F.pixel_unshuffle(x, r)), shuffled.data, order=2, mode="fast"
    )


@given(seeds, st.integers(1, 3), st.integers(1, 3))
def test_shuffling_channels(seed, groups, members):
    x = np.random.default_rng(seed).normal(size=(2, groups * members, 3))
    out = F.channel_shuffle(x, groups)
    for m, g in np.ndindex(members, groups):
        np.testing.assert_array_equal(out.data[:, m * groups + g], x[:, g * members + m])
    np.testing.assert_array_equal(nn.ChannelShuffle(members)(out).data, x)
    assert gradcheck(lambda x: np.square(F.channel_shuffle(x, groups)), x, order=2, mode="fast")


@pytest.mark.parametrize("dtype", FLOATS)
def test_dtypes_stay_and_infinities_too(dtype):
    x = Tensor(np.array([[[np.inf, 1], [2, np.nan]]], dtype))
    columns = F.unfold(x, 1)
    assert columns.dtype == dtype
    np.testing.assert_array_equal(columns.data, [[np.inf, 1, 2, np.nan]])
    out = F.fold(columns, 2, 1)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.data, x.data)


def test_compiled_they_have_the_same_bits():
    draw = np.random.default_rng(0).normal(size=(4, 2, 8, 4, 4)).astype(np.float32)

    def loss(x):
        columns = F.unfold(F.pixel_shuffle(x, 2), 3, padding=1, stride=2)
        return np.sum(np.square(F.fold(np.square(columns), 8, 3, padding=1, stride=2)))

    assert_runs_as_eager(grad(loss), lambda i: draw[i])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.unfold(np.ones((3, 3)), 2), "an axis for its channels"),
        (lambda: F.unfold(np.ones((1, 3, 3)), 4), "kernel that is (4, 4)"),
        (lambda: nn.Unfold(0), "Unfold's kernel_size must be at least 1"),
        (lambda: nn.Fold(4, 2, padding=-1), "Fold's padding must be at least 0"),
        (lambda: nn.Fold(0, 2), "Fold's output_size must be at least 1"),
        (lambda: F.fold(np.ones((1, 8, 3)), 4, 2), "columns (n, channels * 4, 9), or without n"),
        (lambda: F.fold(np.ones((1, 7, 9)), 4, 2), "got shape (1, 7, 9)"),
        (lambda: F.fold(np.ones(9), 3, 1), "got shape (9,)"),
        (lambda: F.pixel_shuffle(np.ones((3, 2, 2)), 2), "channels a multiple of 4, got"),
        (lambda: F.pixel_unshuffle(np.ones((1, 4, 3)), 2), "height a multiple of 2, width"),
        (lambda: F.pixel_unshuffle(np.ones((4, 4)), 2), "(..., channels, height, width)"),
        (lambda: F.channel_shuffle(np.ones((1, 3, 2)), 2), "a multiple of groups=2"),
        (lambda: F.channel_shuffle(np.ones((4, 2)), 2), "(n, channels, length, ...)"),
        (lambda: nn.PixelShuffle(0), "PixelShuffle's upscale_factor must be at least 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_no_words_for_padding():
    with pytest.raises(TypeError, match="unfold's padding is an integer"):
        F.unfold(np.ones((1, 3, 3)), 2, padding="same")
