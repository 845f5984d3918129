"""Masks: exact zeros in both passes, exact probabilities, arrays of any layout."""

import math

import numpy as np
import pytest
from helpers import FLOATS, INF, NAN, SPECIAL, zeros_exactly
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from microgrand import Tensor, nn
from microgrand.engine import backpropagate
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_dropped_unit_is_zero_in_both_passes(dtype, scale):
    mask = np.array([True, False, False, False, True])
    x = Tensor(np.array([1.5, INF, -INF, NAN, -2], dtype), requires_grad=True)
    out = apply_mask(x, mask, scale)
    assert_array_equal(out.detach(), [1.5 * scale, 0, 0, 0, -2 * scale])
    out.backward(np.array([1, INF, NAN, -INF, NAN], dtype))
    assert_array_equal(x.grad, [scale, 0, 0, 0, NAN])
    assert out.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("keep", [0.9, 0.999, 0.001, 1 / 512])
def test_bernoulli_mask_has_the_exact_probability(keep):
    # Rounded to 1/256, these would be off by 7 standard deviations or more. By chance the mean
    # is off by 6 with a probability of 2e-9; with this seed, it is not.
    n = 4_000_000
    mask = bernoulli_mask((n,), keep, np.random.default_rng(0))
    assert abs(np.mean(mask) - keep) < 6 * math.sqrt(keep * (1 - keep) / n)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_bernoulli_mask_of_any_generator(bits):
    # Some have words of 32 bits, which must not leave every second four bytes 0. Each of the eight
    # bytes of a word is off by 6 standard deviations with a probability of 2e-9; with this seed,
    # none is.
    n = 80_000
    for keep in (0.25, 0.7):
        mask = bernoulli_mask((n // 8, 8), keep, np.random.Generator(bits(0)))
        deviation = math.sqrt(keep * (1 - keep) / (n // 8))
        assert np.max(np.abs(np.mean(mask, axis=0) - keep)) < 6 * deviation


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 0, 4)])
def test_bernoulli_mask_of_all_and_of_none(shape):
    for keep in (0.0, 1.0):
        mask = bernoulli_mask(shape, keep, np.random.default_rng(0))
        assert mask.shape == shape
        assert mask.dtype == bool
        assert_array_equal(mask, np.full(shape, bool(keep)))


def test_bernoulli_mask_depends_on_the_generator_only():
    first, again, other = (
        bernoulli_mask((100,), 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert (first != other).any()


# --------------------------------------------------------------- masks on any array whatever


@st.composite
def arrays_with_masks(draw):
    """Draw a float array of any layout, and a mask and a cotangent of its shape."""
    dtype = np.dtype(draw(st.sampled_from([*"efdg", ">f4", ">f8"])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    values = st.sampled_from([*SPECIAL, 0.1, -2.5, float(np.finfo(np.float16).max)])
    x, g = (draw(hnp.arrays(np.float64, shape, elements=values)).astype(dtype) for _ in "xg")
    mask = draw(hnp.arrays(bool, shape))
    if shape:
        step = draw(st.sampled_from([1, -1, 2]))
        x, g, mask = x[::step], g[::step], mask[::step]
    return x.T, g.T, mask.T


def test_a_kept_zero_is_zero_also_where_the_scale_overflows():
    zeros = np.zeros(3, np.float16)
    assert apply_mask(zeros, np.ones(3, bool), 1e6).tolist() == [0, 0, 0]


@given(arrays_with_masks(), st.sampled_from([1.0, 2.0, 1.25]))
def test_a_mask_zeroes_exactly_and_changes_nothing_else(given_arrays, scale):
    x, g, mask = given_arrays
    before = x.tobytes(), g.tobytes(), mask.tobytes()
    leaf = Tensor(x, requires_grad=True)
    with np.errstate(over="ignore"):  # 1.25 times the largest float16
        out = apply_mask(leaf, mask, scale)
        out.backward(g)
        for result, array in (out.data, x), (leaf.grad, g):
            assert result.shape == x.shape
            assert result.dtype.newbyteorder("=") == x.dtype.newbyteorder("=")
            result = np.asarray(result)
            assert zeros_exactly(result[~mask])
            np.testing.assert_array_equal(result[mask], (array * scale)[mask])
            np.testing.assert_array_equal(np.signbit(result[mask]), np.signbit(array[mask]))
    assert (x.tobytes(), g.tobytes(), mask.tobytes()) == before


def test_a_mask_may_broadcast_either_way():
    for x_shape, mask_shape in ((3, 4), (4,)), ((3, 1), (3, 4)), ((4,), (3, 4)):
        x = Tensor(np.ones(x_shape), requires_grad=True)
        mask = np.arange(np.prod(mask_shape)).reshape(mask_shape) % 3 == 0
        out = apply_mask(x, mask, 2.0)
        np.testing.assert_array_equal(out.data, np.where(mask, 2.0, 0) * np.ones((3, 4)))
        out.sum().backward()
        counts = np.broadcast_to(2.0 * mask, (3, 4))
        if x_shape == (3, 1):
            counts = counts.sum(axis=1, keepdims=True)
        elif x_shape == (4,):
            counts = counts.sum(axis=0)
        np.testing.assert_array_equal(x.grad, counts)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32])
def test_a_mask_that_is_not_boolean_is_refused(dtype):
    with pytest.raises(TypeError, match="boolean"):
        apply_mask(np.ones(8), np.ones(8, dtype))


@given(
    st.sampled_from(FLOATS),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_dropout_takes_any_shape_dtype_and_p(dtype, shape, p, seed):
    x = Tensor(np.full(shape, INF, dtype), requires_grad=True)
    modules = nn.Dropout(p, rng=np.random.default_rng(seed))
    with np.errstate(over="ignore"):
        out = modules(x)
        out.backward(np.full(shape, NAN))
        function = F.dropout(x, p, rng=np.random.default_rng(seed))
    assert modules.mask.shape == out.shape == shape
    np.testing.assert_array_equal(out.data, np.where(modules.mask, INF, 0))
    np.testing.assert_array_equal(x.grad, np.where(modules.mask, NAN, 0))
    np.testing.assert_array_equal(function.data, out.data)


def test_the_second_derivative_goes_through_the_same_mask():
    module = nn.Dropout(0.5, rng=np.random.default_rng(0))
    x = Tensor(np.linspace(1, 2, 16), requires_grad=True)
    loss = np.sum(module(x) ** 3)
    (first,) = backpropagate(loss, Tensor(1.0), {x}, create_graph=True).values()
    np.sum(first).backward()
    np.testing.assert_allclose(x.grad, np.where(module.mask, 6 * 8 * x.data, 0))


@pytest.mark.parametrize("dtype", ["i2", "u1", "i8", ">f4", ">c8", "g"])
def test_numbers_of_any_other_dtype_are_chosen_by_the_mask(dtype):
    x, mask = np.array([3, 5, 7], dtype), np.array([True, False, True])
    assert_array_equal(apply_mask(x, mask, 2.5), [7.5, 0, 17.5])
