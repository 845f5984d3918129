"""Masks: exact zeros in both passes, exact probabilities."""

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from microgrand import Tensor
from microgrand.nn.dropout import masks

nan, inf = np.nan, np.inf


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_dropped_unit_is_zero_in_both_passes(dtype, scale):
    mask = np.array([True, False, False, False, True])
    x = Tensor(np.array([1.5, inf, -inf, nan, -2], dtype), requires_grad=True)
    out = masks.apply_mask(x, mask, scale)
    assert_array_equal(out.detach(), [1.5 * scale, 0, 0, 0, -2 * scale])
    out.backward(np.array([1, inf, nan, -inf, nan], dtype))
    assert_array_equal(x.grad, [scale, 0, 0, 0, nan])
    assert out.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("keep", [0.9, 0.999, 0.001, 1 / 512])
def test_bernoulli_mask_has_the_exact_probability(keep):
    # Rounded to 1/256, these would be off by 7 standard deviations or more. By chance the mean
    # is off by 6 with a probability of 2e-9; with this seed, it is not.
    n = 4_000_000
    mask = masks.bernoulli_mask((n,), keep, np.random.default_rng(0))
    assert abs(np.mean(mask) - keep) < 6 * math.sqrt(keep * (1 - keep) / n)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_bernoulli_mask_of_any_generator(bits):
    # Some have words of 32 bits, which must not leave every second four bytes 0. Each of the eight
    # bytes of a word is off by 6 standard deviations with a probability of 2e-9; with this seed,
    # none is.
    n = 80_000
    for keep in (0.25, 0.7):
        mask = masks.bernoulli_mask((n // 8, 8), keep, np.random.Generator(bits(0)))
        deviation = math.sqrt(keep * (1 - keep) / (n // 8))
        assert np.max(np.abs(np.mean(mask, axis=0) - keep)) < 6 * deviation


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 0, 4)])
def test_bernoulli_mask_of_all_and_of_none(shape):
    for keep in (0.0, 1.0):
        mask = masks.bernoulli_mask(shape, keep, np.random.default_rng(0))
        assert mask.shape == shape
        assert mask.dtype == bool
        assert_array_equal(mask, np.full(shape, bool(keep)))


def test_bernoulli_mask_depends_on_the_generator_only():
    first, again, other = (
        masks.bernoulli_mask((100,), 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert (first != other).any()
