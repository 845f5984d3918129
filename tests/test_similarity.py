"""Lengths, angles and distances: derivatives, any numbers, dtypes, compiled and misuse.

What PyTorch gives for the same is compared in test_recorded_layers.py.
"""

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS, INF, leaf
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import Tensor, grad, nn
from microgrand.nn import functional as F
from microgrand.testing import gradcheck

seeds = st.integers(0, 2**32 - 1)
orders = st.sampled_from([1.0, 2.0, 3.0, 1.5, INF])
fewer = settings(max_examples=12)
#: Shapes that broadcast, and an axis.
SHAPES = [((3,), (3,), 0), ((2, 3), (2, 3), 1), ((2, 3), (1, 3), -1), ((2, 3), (2, 1), 0),
          ((2, 1, 3), (4, 3), -1)]  # fmt: skip


def vectors(seed, *shapes):
    """Draw elements of different size: at ties, a largest has no derivative."""
    rng = np.random.default_rng(seed)
    return [
        rng.permutation(np.arange(1, np.prod(shape) + 1)).reshape(shape) / 4
        * rng.choice([-1, 1], shape) + rng.uniform(-0.05, 0.05, shape)
        for shape in shapes
    ]  # fmt: skip


@fewer
@given(seeds, orders, st.sampled_from([0, 1, -1]), st.sampled_from([1e-12, 1.3]))
def test_derivatives_of_normalize(seed, p, dim, eps):
    (x,) = vectors(seed, (2, 3))
    assert gradcheck(lambda x: F.normalize(x, p, dim, eps), x, order=2, mode="fast")


@fewer
@given(seeds, st.sampled_from(SHAPES))
def test_derivatives_of_cosine_similarity(seed, case):
    *shapes, dim = case
    x, y = vectors(seed, *shapes)
    assert gradcheck(nn.CosineSimilarity(dim), x, y, order=2, mode="fast")
    assert gradcheck(lambda x, y: F.cosine_similarity(x, y, dim, 2.0), x, y, mode="fast")


@fewer
@given(seeds, st.sampled_from(SHAPES), orders, st.booleans())
def test_derivatives_of_pairwise_distance(seed, case, p, keepdim):
    x, y = vectors(seed, *case[:2])
    distance = nn.PairwiseDistance(p, 0.01, keepdim)
    assert distance(x, y).ndim == max(x.ndim, y.ndim) - (not keepdim)
    assert gradcheck(distance, x, y, order=2, mode="fast")


# --------------------------------------------------------------------------- any numbers


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_overflows_or_vanishes_on_the_way(dtype):
    limits = np.finfo(dtype)
    for size in limits.max / 8, 4 * limits.tiny:
        x = np.array([[3, 4], [-4, 3]], dtype) * (size / 4)
        rows = F.normalize(x, eps=0.0)
        assert rows.dtype == dtype
        expected = np.array([[3, 4], [-4, 3]], dtype) / 5
        np.testing.assert_allclose(rows.data, expected, rtol=4 * limits.eps)
        cosine = F.cosine_similarity(x, x[:1], eps=0.0)
        np.testing.assert_allclose(cosine.data, [1, 0], rtol=4 * limits.eps, atol=4 * limits.eps)
        distance = F.pairwise_distance(x, np.zeros((1, 2), dtype), eps=0.0)
        assert distance.dtype == dtype
        np.testing.assert_allclose(distance.data, [size * 1.25] * 2, rtol=4 * limits.eps)


@pytest.mark.filterwarnings("error")
def test_gradients_at_no_distance():
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    F.pairwise_distance(x, y, eps=0.0).backward()
    assert x.grad.tolist() == y.grad.tolist() == [0, 0]
    x.grad = None
    F.pairwise_distance(x, y).backward()
    np.testing.assert_allclose(x.grad, np.sqrt([0.5, 0.5]))


@pytest.mark.filterwarnings("error")
def test_short_vectors_are_divided_by_eps():
    x = leaf([0.0, 0.0], [3e-200, 4e-200])
    out = F.normalize(x)
    np.testing.assert_array_equal(out.data, [[0, 0], [3e-188, 4e-188]])
    out.backward(np.ones((2, 2)))
    np.testing.assert_array_equal(x.grad, np.full((2, 2), 1e12))
    x = leaf(0.0, 0.0)
    cosine = F.cosine_similarity(x, [3.0, 4.0], dim=0)
    cosine.backward()
    assert cosine.item() == 0
    np.testing.assert_allclose(x.grad, [6e7, 8e7])


def test_long_vectors_of_float16():
    x = np.full((1, 30000), 100, np.float16)
    np.testing.assert_allclose(F.normalize(x).data.astype(float), 30000**-0.5, rtol=1e-3)
    assert abs(F.cosine_similarity(x, x).item() - 1) < 1e-3


def test_no_vectors_at_all():
    assert F.normalize(np.ones((0, 3))).shape == (0, 3)
    assert F.normalize(np.ones((3, 0))).shape == (3, 0)
    assert F.cosine_similarity(np.ones((3, 0)), np.ones((3, 0))).data.tolist() == [0, 0, 0]
    assert F.pairwise_distance(np.ones((0, 3)), np.ones(3)).shape == (0,)


def test_compiled_they_have_the_same_bits():
    draw = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    y = draw[0, ::-1]

    def loss(x):
        a = np.sum(np.square(F.normalize(x, 3.0) - y))
        return a + np.sum(F.cosine_similarity(x, y)) + np.sum(F.pairwise_distance(x, y))

    assert_runs_as_eager(grad(loss), lambda i: draw[i])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.normalize([1.0, 2.0]), ValueError, "no axis 1; for one vector, dim=0"),
        (lambda: F.normalize([[1.0]], dim=0.5), TypeError, "normalize's dim is the number"),
        (lambda: F.normalize([[1.0]], p=0), ValueError, "normalize's p is a positive number"),
        (lambda: F.normalize([[1.0]], eps=-1), ValueError, "normalize's eps is a number from 0"),
        (lambda: F.normalize([[1]]), TypeError, "floating-point"),
        (lambda: F.cosine_similarity([1.0], [1.0]), ValueError, "no axis 1"),
        (
            lambda: F.cosine_similarity(np.ones((2, 3)), np.ones((2, 4))),
            ValueError,
            r"\(2, 3\) and \(2, 4\), which do not broadcast",
        ),
        (lambda: F.pairwise_distance([1.0], [1.0, 2.0], p="2"), TypeError, "a number"),
        (lambda: F.pairwise_distance(1.0, 2.0), ValueError, "no axis -1"),
        (lambda: F.pairwise_distance([1.0], [2.0], keepdim=1), TypeError, "keepdim is True or F"),
        (lambda: nn.PairwiseDistance(keepdim="no"), TypeError, "keepdim is True or False"),
        (lambda: nn.PairwiseDistance(p=-1), ValueError, "PairwiseDistance's p"),
        (lambda: nn.CosineSimilarity(eps="0"), TypeError, "CosineSimilarity's eps"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_the_dtype_is_that_of_the_first():
    x, y = np.ones((2, 3), np.float32), Tensor(np.ones((2, 3)), requires_grad=True)
    for function in F.cosine_similarity, F.pairwise_distance:
        assert function(x, y).dtype == np.float32
        np.sum(function(x, y)).backward()
        assert y.grad.dtype == np.float64
