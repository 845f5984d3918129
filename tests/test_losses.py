"""Losses: derivatives, reductions, options, values where logarithms are infinite, misuse."""

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


@st.composite
def classifications(draw):
    """Draw the shape of scores, and labels of which some may be ignored."""
    classes = draw(st.integers(1, 3))
    shape = draw(st.sampled_from([(classes,), (3, classes), (2, classes, 2), (2, classes, 1, 2)]))
    rng = np.random.default_rng(draw(seeds))
    labels = rng.integers(0, classes, shape[: len(shape) > 1] + shape[2:])
    ignored = rng.random(labels.shape) < draw(st.sampled_from([0, 0.3]))
    ignored.flat[:1] = False  # else there may be no mean
    ignore_index = draw(st.sampled_from([-100, -1]))
    options = {
        "weight": rng.uniform(0.5, 2, classes) if draw(st.booleans()) else None,
        "ignore_index": ignore_index,
        "reduction": draw(reductions),
    }
    return rng.normal(size=shape), np.where(ignored, ignore_index, labels), options


# -------------------------------------------------------------------------- derivatives


@fewer
@given(classifications(), st.sampled_from([0.0, 0.3, 1.0]))
def test_derivatives_of_cross_entropy(case, smoothing):
    x, labels, options = case
    options["label_smoothing"] = smoothing
    assert gradcheck(lambda x: F.cross_entropy(x, labels, **options), x, order=2, mode="fast")
    assert gradcheck(lambda x: nn.CrossEntropyLoss(**options)(x, labels), x, mode="fast")


@fewer
@given(classifications(), st.sampled_from([0.0, 0.3]))
def test_derivatives_of_cross_entropy_with_probabilities(case, smoothing):
    x, _, options = case
    del options["ignore_index"]
    options["label_smoothing"] = smoothing
    target = np.abs(np.random.default_rng(0).normal(size=x.shape)) + 0.1

    def loss(x, target):
        return F.cross_entropy(x, target, **options)

    assert gradcheck(loss, x, target, order=2, mode="fast")


@fewer
@given(classifications())
def test_derivatives_of_nll_loss(case):
    x, labels, options = case
    assert gradcheck(lambda x: F.nll_loss(x, labels, **options), x, order=2, mode="fast")
    assert gradcheck(lambda x: nn.NLLLoss(**options)(x, labels), x, mode="fast")


@fewer
@given(seeds, reductions, st.booleans())
def test_derivatives_of_binary_losses(seed, reduction, with_weights):
    rng = np.random.default_rng(seed)
    x, p, target = rng.normal(size=(3, 2)), *rng.uniform(0.1, 0.9, (2, 3, 2))
    weight = rng.uniform(0.5, 2, (3, 1)) if with_weights else None
    pos_weight = rng.uniform(0.5, 2, 2) if with_weights else None
    for module, first in [
        (nn.BCELoss(weight, reduction), p),
        (nn.BCEWithLogitsLoss(weight, reduction, pos_weight), x),
    ]:
        assert gradcheck(module, first, target, order=2, mode="fast")


@fewer
@given(seeds, reductions)
def test_derivatives_by_targets_of_zero_and_one(seed, reduction):
    rng = np.random.default_rng(seed)
    x, target = rng.normal(size=(3, 4)), rng.integers(0, 2, (3, 4)).astype(float)
    for loss in F.binary_cross_entropy_with_logits, F.cross_entropy:
        assert gradcheck(
            lambda x, t, loss=loss: loss(x, t, reduction=reduction), x, target, mode="fast"
        )


@fewer
@given(seeds, reductions, st.sampled_from([0.5, 1.0]))
def test_derivatives_of_distances(seed, reduction, width):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(3, 2))
    kinks = np.array([0.0, width, -width, 3.0])
    distance = rng.choice(kinks, target.shape) + rng.uniform(0.1, 0.4, target.shape)
    for module in (
        nn.MSELoss(reduction),
        nn.L1Loss(reduction),
        nn.HuberLoss(reduction, width),
        nn.SmoothL1Loss(reduction, width),
    ):
        assert gradcheck(module, target + distance, target, order=2, mode="fast")


@fewer
@given(seeds, st.sampled_from(["mean", "sum", "none", "batchmean"]), st.booleans())
def test_derivatives_of_kl_div(seed, reduction, log_target):
    rng = np.random.default_rng(seed)
    p, target = np.log(rng.dirichlet(np.ones(3), 2)), rng.dirichlet(np.ones(3), 2)
    target = np.log(target) if log_target else target + 0.1
    assert gradcheck(nn.KLDivLoss(reduction, log_target), p, target, order=2, mode="fast")


# ------------------------------------------------------------------------- what they give


def test_a_class_may_be_ignored():
    x = leaf([1.0, 2.0], [3.0, 5.0])
    loss = F.cross_entropy(x, [0, 1], ignore_index=1)
    loss.backward()
    assert abs(loss.item() - np.log(1 + np.e)) < 1e-15
    assert not x.grad[1].any()
    assert x.grad[0].any()


def test_masked_logits_count_nothing_unless_they_are_the_label():
    x = Tensor([[0.0, -INF, 1.0], [0.0, 0.0, -INF]], requires_grad=True)
    for options in {}, {"reduction": "sum"}, {"weight": [1.0, 2.0, 3.0]}:
        x.grad = None
        loss = F.cross_entropy(x, [0, 1], **options)
        assert np.isfinite(loss.item())
        loss.backward()
        assert np.isfinite(x.grad).all()
        assert x.grad[0, 1] == x.grad[1, 2] == 0
    target = np.array([[0.5, 0, 0.5], [1, 0, 0]])
    assert np.isfinite(F.cross_entropy(x, target).item())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_losses_over_the_whole_range(dtype):
    x = Tensor(np.array([1e4, -1e4, 1e4, -1e4, -30], dtype), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, [1, 0, 0, 1, 0], reduction="none")
    assert loss.dtype == dtype
    small = np.log1p(np.exp(np.longdouble(-30)))
    np.testing.assert_allclose(
        loss.data.astype(float), np.array([0, 0, 1e4, 1e4, small], float), rtol=1e-3, atol=1e-7
    )
    np.sum(loss).backward()
    np.testing.assert_allclose(x.grad.astype(float), [0, 0, 1, -1, 0], atol=1e-7)
    p = Tensor(np.array([0, 1, 0, 1], dtype), requires_grad=True)
    loss = F.binary_cross_entropy(p, [0, 1, 1, 0], reduction="none")
    np.testing.assert_array_equal(loss.data, [0, 0, 100, 100])
    loss.backward(np.array([1.0, 1.0, 1e-3, 1e-3]))
    assert np.isfinite(p.grad).all()
    assert p.grad[0] == p.grad[1] == 0
    assert p.grad[2] < 0 < p.grad[3]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_distances_do_not_overflow_on_the_way(dtype):
    largest = np.finfo(dtype).max
    x = Tensor(np.array([largest, -largest / 2, 0], dtype), requires_grad=True)
    for loss in F.l1_loss, F.huber_loss, F.smooth_l1_loss:
        x.grad = None
        out = loss(x, np.zeros(3), reduction="none")
        assert out.dtype == dtype
        assert np.isfinite(out.data).all()
        out.backward(np.ones(3))
        np.testing.assert_array_equal(x.grad, [1, -1, 0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_wide_parabola_does_not_overflow_on_the_way(dtype):
    largest = np.finfo(dtype).max
    loss = F.smooth_l1_loss(np.array([largest]), np.zeros(1), reduction="none", beta=30.0)
    np.testing.assert_allclose(loss.data / largest, 1, rtol=1e-3)


@pytest.mark.parametrize("pos_weight", [None, [1.0]])
@pytest.mark.parametrize("dtype", FLOATS)
def test_targets_of_logits_near_zero_have_exact_derivatives(dtype, pos_weight):
    x = np.array([-1e-3, 1e-4, 1e-7, 0], dtype)
    target = Tensor(np.full(4, 0.5, dtype), requires_grad=True)
    F.binary_cross_entropy_with_logits(x, target, None, "sum", pos_weight).backward()
    np.testing.assert_array_equal(target.grad, -x)


def test_long_sums_of_float16_do_not_stick():
    x, target = np.ones(5000, np.float16), np.zeros(5000)
    assert F.l1_loss(x, target).item() == 1
    assert F.l1_loss(x, target, reduction="sum").item() == 5000
    ones = np.zeros((5000, 2), np.float16)
    loss = F.cross_entropy(ones, np.zeros(5000, int), weight=[1.0, 1.0])
    assert abs(loss.item() - np.log(2)) < 1e-3


def test_a_nan_counts_even_where_the_target_is_zero():
    assert np.isnan(F.kl_div([[np.nan, -0.5]], [[0.0, 1.0]]).item())
    assert np.isnan(F.poisson_nll_loss([np.nan], [0.0]).item())


def test_kl_div_of_equal_distributions_is_zero_and_zeros_count_nothing():
    p = np.array([[0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        log_p = np.log(p)
    for target, log_target in (p, False), (log_p, True):
        assert F.kl_div(log_p, target, "batchmean", log_target).item() == 0


def test_numbers_of_numpy_change_no_dtype():
    x, labels = np.ones((2, 3), np.float32), [0, 1]
    assert F.cross_entropy(x, labels, label_smoothing=np.float64(0.1)).dtype == np.float32
    assert nn.CrossEntropyLoss(label_smoothing=np.float64(0.1))(x, labels).dtype == np.float32


def test_compiled_they_have_the_same_bits():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(4, 5, 3)).astype(np.float32), rng.random((5, 3), np.float32)
    labels = np.array([0, 2, -100, 1, -100])
    weight = np.array([1.0, 2.0, 3.0], np.float32)
    for loss in (
        lambda x: F.cross_entropy(x, labels, weight=weight, label_smoothing=0.1),
        lambda x: F.cross_entropy(x, labels),
        lambda x: F.cross_entropy(x, target),
        lambda x: F.binary_cross_entropy_with_logits(x, target),
        lambda x: F.binary_cross_entropy(F.sigmoid(x), target),
        lambda x: F.huber_loss(x, target),
        lambda x: F.kl_div(F.log_softmax(x), target, "batchmean"),
    ):
        assert_runs_as_eager(grad(loss), lambda i: x[i])


# -------------------------------------------------------------------------------- modules


def test_weights_are_saved_with_their_module_as_pytorch_does():
    assert list(nn.CrossEntropyLoss(weight=[1.0, 2.0]).state_dict()) == ["weight"]
    assert list(nn.BCEWithLogitsLoss(pos_weight=[1.0]).state_dict()) == ["pos_weight"]
    assert not nn.NLLLoss().state_dict()
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"


# --------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: F.mse_loss([1.0], [1.0], "avg"), ValueError, "mse_loss's reduction is one of"),
        (lambda: nn.L1Loss("batchmean"), ValueError, "'mean', 'sum', 'none', got 'batchmean'"),
        (lambda: F.cross_entropy([[1.0]], [0], label_smoothing=2), ValueError, "from 0 to 1"),
        (lambda: F.cross_entropy([[1.0]], [0], weight=[1.0, 2.0]), ValueError, r"must be \(1,\)"),
        (lambda: F.cross_entropy([[1.0]], [0], ignore_index=0.5), TypeError, "an integer"),
        (lambda: F.cross_entropy([[1.0]], [-1]), ValueError, "label -1 is not a class"),
        (lambda: F.cross_entropy([[1.0]], [-100], ignore_index=-1), ValueError, "label -100"),
        (lambda: F.nll_loss([[1.0]], [[0.0]]), TypeError, "integer labels"),
        (lambda: F.nll_loss([[1.0]], [0, 0]), ValueError, re.escape("got (1, 1) and (2,)")),
        (lambda: F.binary_cross_entropy([1.5], [1]), ValueError, "with_logits"),
        (lambda: F.binary_cross_entropy([0.5], [1, 0]), ValueError, "equal shapes"),
        (
            lambda: F.binary_cross_entropy_with_logits([0.5], [1], pos_weight=[1.0, 2.0]),
            ValueError,
            "pos_weight must broadcast",
        ),
        (lambda: F.cross_entropy([0], [[1.0]]), TypeError, r"shape \(1, 1\); if these are the log"),
        (lambda: F.cross_entropy([[1.0, 2.0]], [[0, 1]]), ValueError, r"labels\.argmax\(axis=1\)"),
        # Made of what it compares, instead of being called with it.
        (lambda: nn.CrossEntropyLoss(leaf([[1.0]]), [0]), TypeError, "make the loss first"),
        (lambda: nn.BCELoss(leaf([0.5]), np.ones(1)), ValueError, r"'none', got array\(\[1"),
        (lambda: nn.MSELoss(leaf([0.5, 1.0])), ValueError, "'none', got Tensor"),
        (lambda: F.huber_loss([1.0], [1.0], delta=0), ValueError, "positive"),
        (lambda: F.smooth_l1_loss([1.0], [1.0], beta=-1), ValueError, "positive"),
        (lambda: F.kl_div(0.5, 0.5, "batchmean"), ValueError, "first axis"),
        (lambda: F.l1_loss([[1.0]], [1.0]), ValueError, "l1_loss needs equal shapes"),
    ],
)
def test_what_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    "labels", [[0, 1], [[0], [1], [1]], [[1, 0], [0, 1], [0, 1]], [0.0, 1.0, 1.0]]
)
def test_wrong_labels_of_nll_loss_are_told_in_its_own_words(labels):
    with pytest.raises((TypeError, ValueError), match=r"nll_loss.*log_probabilities") as caught:
        F.nll_loss(np.zeros((3, 2)), np.array(labels))
    assert "cross_entropy" not in str(caught.value)
    assert "logits" not in str(caught.value)
