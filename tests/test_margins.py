"""Losses with margins, and likelihoods: derivatives, extreme values, compiled and misuse.

What PyTorch gives for the same, at the bends, too, is compared in test_recorded_layers.py.
"""

import re

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
reductions = st.sampled_from(["mean", "sum", "none"])
fewer = settings(max_examples=12)


def off_the_bend(rng, shape, margin):
    """Draw numbers that are not within 0.1 of a margin."""
    return margin + rng.choice([-1, 1], shape) * rng.uniform(0.1, 2, shape)


def signs_of(rng, shape):
    """Draw 1 and -1."""
    return rng.choice([-1, 1], shape)


@fewer
@given(seeds, reductions, st.sampled_from([0.0, 0.5]))
def test_derivatives_of_rankings_and_hinges(seed, reduction, margin):
    rng = np.random.default_rng(seed)
    y, x2 = signs_of(rng, (2, 3)), rng.normal(size=(2, 3))
    x1 = x2 + y * off_the_bend(rng, (2, 3), margin)
    ranking = nn.MarginRankingLoss(margin, reduction)
    assert gradcheck(lambda a, b: ranking(a, b, y), x1, x2, order=2, mode="fast")
    hinge = nn.HingeEmbeddingLoss(margin, reduction)
    x = off_the_bend(rng, (2, 3), margin)
    assert gradcheck(lambda x: hinge(x, y), x, order=2, mode="fast")
    assert gradcheck(lambda x: nn.SoftMarginLoss(reduction)(x, y), x2, order=2, mode="fast")


@fewer
@given(seeds, reductions, st.sampled_from([(), (3,)]), st.booleans(), st.sampled_from([1.5, 2.0]))
def test_derivatives_of_angles_and_triplets(seed, reduction, batch, swap, p):
    rng = np.random.default_rng(seed)
    x1, x2, x3 = rng.normal(size=(3, *batch, 4)) + np.arange(4)
    y = signs_of(rng, batch)
    angle = nn.CosineEmbeddingLoss(-2.0, reduction)  # which no cosine reaches
    assert gradcheck(lambda a, b: angle(a, b, y), x1, x2, order=2, mode="fast")
    triplet = nn.TripletMarginLoss(100.0, p, swap=swap, reduction=reduction)
    assert gradcheck(triplet, x1, x2, x3, order=2, mode="fast")


@fewer
@given(seeds, reductions, st.sampled_from([(), (3,)]), st.booleans(), st.sampled_from([1, 2]))
def test_derivatives_of_losses_of_several_classes(seed, reduction, batch, with_weight, p):
    rng = np.random.default_rng(seed)
    x = rng.permutation(np.arange(4 * 3 ** len(batch))).reshape(*batch, 4) + 0.25
    labels, several = rng.integers(0, 4, batch), rng.integers(0, 2, (*batch, 4))
    weight = rng.uniform(0.5, 2, 4) if with_weight else None
    hinges = nn.MultiMarginLoss(p, 1.5, weight, reduction)
    assert gradcheck(lambda x: hinges(x, labels), x, order=2, mode="fast")
    soft = nn.MultiLabelSoftMarginLoss(weight, reduction)
    assert gradcheck(lambda x: soft(x, several), x / 4, order=2, mode="fast")


@fewer
@given(
    seeds, reductions, st.booleans(), st.sampled_from([(2, 3), (2, 1), (1, 3), (1, 1), (2,), ()])
)
def test_derivatives_of_gaussian_nll_loss(seed, reduction, full, shape):
    rng = np.random.default_rng(seed)
    x, target, var = *rng.normal(size=(2, 2, 3)), rng.uniform(0.3, 2, shape)
    loss = nn.GaussianNLLLoss(full=full, reduction=reduction)
    assert gradcheck(loss, x, target, var, order=2, mode="fast")


@fewer
@given(seeds, reductions, st.booleans(), st.booleans())
def test_derivatives_of_poisson_nll_loss(seed, reduction, full, log_input):
    rng = np.random.default_rng(seed)
    x, target = rng.uniform(0.3, 2, (2, 3)), rng.choice([0.2, 0.9, 1.4, 5], (2, 3))
    loss = nn.PoissonNLLLoss(log_input, full, reduction=reduction)
    assert gradcheck(loss, x, target, order=2, mode="fast")


# ----------------------------------------------------------------------- extreme values


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_over_the_whole_range(dtype):
    x = Tensor(np.array([1e4, -1e4, 1e4, -1e4], dtype), requires_grad=True)
    y = np.array([1, -1, -1, 1])
    loss = F.soft_margin_loss(x, y, "none")
    assert loss.dtype == dtype
    np.testing.assert_allclose(loss.data.astype(float), [0, 0, 1e4, 1e4], rtol=1e-3)
    np.sum(loss).backward()
    np.testing.assert_allclose(x.grad.astype(float), [0, 0, 1, -1])
    large = np.array([np.finfo(dtype).max / 4, 0], dtype)
    loss = F.gaussian_nll_loss(large, np.zeros(2), large, reduction="none", eps=1.0)
    assert loss.dtype == dtype
    assert np.isfinite(loss.data).all()


def test_a_variance_of_zero_can_grow():
    var = Tensor([0.0, 0.0], requires_grad=True)
    loss = F.gaussian_nll_loss([1.0, 2.0], [1.0, 4.0], var, eps=0.5, reduction="none")
    np.testing.assert_allclose(loss.data, [np.log(0.5) / 2, np.log(0.5) / 2 + 4])
    loss.backward(np.ones(2))
    np.testing.assert_allclose(var.grad, [1, 1 - 4 / 0.5])


def test_scores_of_minus_infinity_cost_nothing():
    x = Tensor([[0.0, -INF, 0.5]], requires_grad=True)
    for p in 1, 2:
        x.grad = None
        F.multi_margin_loss(x, [0], p=p).backward()
        assert np.isfinite(x.grad).all()
        assert x.grad[0, 1] == 0


def test_long_means_of_float16():
    x = np.zeros((3000, 40), np.float16)
    assert F.multi_margin_loss(x, np.zeros(3000, int)).item() == np.float16(39 / 40)
    assert abs(F.multilabel_soft_margin_loss(x, x).item() - np.log(2)) < 1e-3


def test_compiled_they_have_the_same_bits():
    rng = np.random.default_rng(0)
    draw = rng.normal(size=(5, 4, 3)).astype(np.float32)
    other, third = rng.normal(size=(2, 4, 3)).astype(np.float32)
    y, labels = np.array([1, -1, 1, -1]), np.array([0, 2, 1, 0])
    for loss in (
        lambda x: F.margin_ranking_loss(x[:, 0], x[:, 1], y, 0.5),
        lambda x: F.hinge_embedding_loss(x[:, 0], y),
        lambda x: F.soft_margin_loss(x[:, 0], y, "sum"),
        lambda x: F.cosine_embedding_loss(x, other, y),
        lambda x: F.triplet_margin_loss(x, other, third, swap=True),
        lambda x: F.multi_margin_loss(x, labels, weight=[1.0, 2.0, 3.0]),
        lambda x: F.multilabel_soft_margin_loss(x, (other > 0).astype(int)),
        lambda x: F.gaussian_nll_loss(x, other, np.square(x), full=True),
        lambda x: F.poisson_nll_loss(x, np.abs(other), full=True),
    ):
        assert_runs_as_eager(grad(loss), lambda i: draw[i])


def test_weights_are_those_of_the_classes():
    x, weight = np.array([[0.1, -0.9, 1.1], [1.0, 2.0, 3.0]]), [1.0, 2.0, 3.0]
    plain, weighted = (
        F.multi_margin_loss(x, [1, 2], margin=2.0, weight=given, reduction="none").data
        for given in (None, weight)
    )
    np.testing.assert_allclose(weighted, plain * [2, 3])
    target = [[0, 1, 1], [1, 0, 0]]
    found = F.multilabel_soft_margin_loss(x, target, weight, "none")
    # What PyTorch gives.
    np.testing.assert_allclose(found.data, [1.3629034616280131, 4.570959921441798])


def test_weights_are_saved_with_their_module():
    assert list(nn.MultiMarginLoss(weight=[1.0, 2.0]).state_dict()) == ["weight"]
    assert list(nn.MultiLabelSoftMarginLoss([1.0, 2.0]).state_dict()) == ["weight"]


# --------------------------------------------------------------------------------- misuse

X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.margin_ranking_loss([1.0], [1.0], [0]), ValueError, r"2 \* target - 1"),
        (lambda: F.hinge_embedding_loss([1.0], [2]), ValueError, "a target of 1 and -1"),
        (lambda: F.soft_margin_loss([1.0], [0]), ValueError, "soft_margin_loss takes a target"),
        (lambda: F.soft_margin_loss([1.0], leaf([1.0])), TypeError, r"give target\.detach\(\)"),
        (lambda: F.margin_ranking_loss([1.0], [1.0], [1, 1]), ValueError, "equal shapes"),
        (lambda: F.margin_ranking_loss([1.0], [[1.0]], [1]), ValueError, "equal shapes"),
        (lambda: F.soft_margin_loss(X, X[0]), ValueError, "equal shapes"),
        (lambda: F.hinge_embedding_loss([1.0], [1], "1"), TypeError, "a number"),
        (lambda: F.soft_margin_loss([1.0], [1], "avg"), ValueError, "reduction is one of"),
        (lambda: F.cosine_embedding_loss(X, X, [1]), ValueError, r"target of shape \(2,\), one"),
        (lambda: F.cosine_embedding_loss(X, X[0], [1]), ValueError, "arrays of one shape"),
        (lambda: F.cosine_embedding_loss(X[None], X[None], [1]), ValueError, "features"),
        (lambda: F.triplet_margin_loss(X, X, X[:1]), ValueError, re.escape("(2, 3) and (1, 3)")),
        (lambda: F.triplet_margin_loss(X, X, X, margin=0), ValueError, "positive"),
        (lambda: nn.TripletMarginLoss(swap=1), TypeError, "swap is True or False"),
        (lambda: F.multi_margin_loss(X, [0, 3]), ValueError, "label 3 is not a class"),
        (lambda: F.multi_margin_loss(X, [0, -100]), ValueError, "label -100 is not a class"),
        (lambda: F.multi_margin_loss(X, [0.0, 1.0]), TypeError, r"multi_margin_loss\(logits, lab"),
        (lambda: F.multi_margin_loss(X, [0]), ValueError, re.escape("got (2, 3) and (1,)")),
        (lambda: F.multi_margin_loss(X, [0, 1], p=3), ValueError, "p is 1 or 2, got 3"),
        (lambda: F.multi_margin_loss(X, [0, 1], weight=[1.0]), ValueError, "for each class"),
        (lambda: F.multilabel_soft_margin_loss(X, X[0]), ValueError, "arrays of one shape"),
        (lambda: F.multilabel_soft_margin_loss(X, X, [1.0, 2.0]), ValueError, "broadcast"),
        (lambda: F.gaussian_nll_loss(X, X, -X), ValueError, r"negative variance; give exp\(x\)"),
        (lambda: F.gaussian_nll_loss(X, X, X[0]), ValueError, "without the last axis, or a number"),
        (lambda: F.gaussian_nll_loss(X, X[0], 1.0), ValueError, "equal shapes"),
        (lambda: F.gaussian_nll_loss(X, X, 1.0, eps=0), ValueError, "positive"),
        (lambda: F.gaussian_nll_loss(X, X, 1.0, full="yes"), TypeError, "full is True or False"),
        (lambda: F.poisson_nll_loss(X, X, eps=-1), ValueError, "from 0"),
        (lambda: F.poisson_nll_loss(X, X[0]), ValueError, "equal shapes"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
