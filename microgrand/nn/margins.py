"""Losses that ask for a margin: of scores, of distances and of angles.

Most are 0 once the margin is reached, and fall in a straight line before. At the bend,
the derivative is that of the line, and 0 in `multi_margin_loss`, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dispatch import data_of, library_of
from ..engine import sum_of
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from ..vjps.rules import as_array
from . import checks, layer_checks, loss_checks
from .dropout.masks import apply_mask
from .inputs import as_tensor
from .losses import (
    Loss,
    Reduction,
    as_buffer,
    binary_cross_entropy_with_logits,
    in_rows,
    reduced,
    weight_of_classes,
)
from .similarity import cosine_similarity, pairwise_distance
from .smooth import log1p_exp


def missing(x: Value) -> Value:
    """Return how much is missing from a margin, 0 if nothing is; the bend belongs to the line."""
    return np.clip(x, 0, None)


def signs(who: str, target: ArrayLike, like: Tensor) -> Any:
    """Return a target of 1 and -1 as an array of a tensor's dtype, or raise."""
    loss_checks.check_target_is_constant(who, target)
    target = data_of(as_tensor(target, like.dtype, kinds="fiub"))
    loss_checks.check_signs(who, target)
    return target


def margin_ranking_loss(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``max(0, margin - y (x1 - x2))``: `x1` should be larger where the target is 1.

    Parameters
    ----------
    x1, x2
        Tensors or arrays of a float dtype and of one shape.
    target
        1 and -1, of that shape.
    margin
        By how much.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.

    Raises
    ------
    TypeError
        If an array is not of numbers, or the target requires a gradient.
    ValueError
        If the shapes differ, or the target has other values than 1 and -1.

    References
    ----------
    Herbrich, Graepel, Obermayer, "Large Margin Rank Boundaries for Ordinal Regression" (2000).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.margin_ranking_loss([1.0, 1.0], [0.5, 2.0], [1, 1], margin=1.0, reduction="none")
    Tensor([0.5, 2. ])
    """
    loss_checks.check_reduction("margin_ranking_loss", reduction)
    margin = layer_checks.number("margin_ranking_loss's margin", margin)
    x1 = as_tensor(x1)
    x2 = as_tensor(x2, x1.dtype)
    y = signs("margin_ranking_loss", target, x1)
    for other in x2, y:
        checks.check_same_shape(x1, other, "margin_ranking_loss")
    return reduced(missing(margin - y * (x1 - x2)), reduction)


def hinge_embedding_loss(
    x: ArrayLike, target: ArrayLike, margin: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Average distances ``x`` where the target is 1, and ``max(0, margin - x)`` where it is -1.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, the distances of pairs that are alike or not.
    target, margin, reduction
        As in `margin_ranking_loss`.

    Raises
    ------
    TypeError, ValueError
        As `margin_ranking_loss` does.

    References
    ----------
    Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006,
    whose distances are squared.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hinge_embedding_loss([0.3, 0.3, 2.0], [1, -1, -1], reduction="none")
    Tensor([0.3, 0.7, 0. ])
    """
    loss_checks.check_reduction("hinge_embedding_loss", reduction)
    margin = layer_checks.number("hinge_embedding_loss's margin", margin)
    x = as_tensor(x)
    y = signs("hinge_embedding_loss", target, x)
    checks.check_same_shape(x, y, "hinge_embedding_loss")
    return reduced(np.where(np.equal(y, 1), x, missing(margin - x)), reduction)


def soft_margin_loss(x: ArrayLike, target: ArrayLike, reduction: Reduction = "mean") -> Tensor:
    """Average ``log(1 + exp(-y x))`` for targets ``y`` of 1 and -1, without overflow.

    Parameters
    ----------
    x
        Tensor or array of a float dtype.
    target, reduction
        As in `margin_ranking_loss`.

    Raises
    ------
    TypeError, ValueError
        As `margin_ranking_loss` does.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.soft_margin_loss([0.0, 1000.0, -1000.0], [1, 1, 1], reduction="none")
    Tensor([6.93147181e-01, 0.00000000e+00, 1.00000000e+03])
    """
    loss_checks.check_reduction("soft_margin_loss", reduction)
    x = as_tensor(x)
    y = signs("soft_margin_loss", target, x)
    checks.check_same_shape(x, y, "soft_margin_loss")
    return reduced(log1p_exp(-y * x), reduction)


def cosine_embedding_loss(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    margin: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``1 - cos`` where the target is 1, and ``max(0, cos - margin)`` where it is -1.

    Parameters
    ----------
    x1, x2
        Tensors or arrays of a float dtype, of shape ``(n, features)`` or ``(features,)``, of whose
        angles these are the cosines.
    target
        1 and -1, of shape ``(n,)`` or ``()``.
    margin
        The cosine that unlike vectors may have at no cost, from -1 to 1.
    reduction
        As in `margin_ranking_loss`.

    Raises
    ------
    TypeError, ValueError
        As `margin_ranking_loss` does.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> x = [[1.0, 0.0], [1.0, 0.0]]
    >>> F.cosine_embedding_loss(x, [[0.0, 1.0], [2.0, 0.0]], [1, -1], reduction="none")
    Tensor([1., 1.])
    """
    loss_checks.check_reduction("cosine_embedding_loss", reduction)
    margin = layer_checks.number("cosine_embedding_loss's margin", margin)
    x1 = as_tensor(x1)
    x2 = as_tensor(x2, x1.dtype)
    y = signs("cosine_embedding_loss", target, x1)
    loss_checks.check_vectors("cosine_embedding_loss", [x1._array.shape, x2._array.shape])
    loss_checks.check_is_each("cosine_embedding_loss", y.shape, x1._array.shape[:-1])
    cosine = cosine_similarity(x1, x2, -1)
    return reduced(np.where(np.equal(y, 1), 1 - cosine, missing(cosine - margin)), reduction)


def triplet_margin_loss(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``max(0, d(anchor, positive) - d(anchor, negative) + margin)``.

    Parameters
    ----------
    anchor, positive, negative
        Tensors or arrays of a float dtype, of shape ``(n, features)`` or ``(features,)``.
    margin
        By how much the positive should be nearer than the negative, more than 0.
    p, eps
        The order of the distance, and what is added; see `pairwise_distance`.
    swap
        Whether to take the negative's distance to the positive, if that is less than the one to
        the anchor.
    reduction
        As in `margin_ranking_loss`.

    Raises
    ------
    TypeError, ValueError
        If an array is not of a float dtype, the shapes differ, or the margin is not positive.

    References
    ----------
    Balntas, Riba, Ponsa, Mikolajczyk, "Learning local feature descriptors with triplets and shallow
    convolutional neural networks", BMVC 2016.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.triplet_margin_loss([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 4.5]], eps=0.0)
    Tensor(1.5)
    """
    loss_checks.check_reduction("triplet_margin_loss", reduction)
    margin = layer_checks.positive("triplet_margin_loss's margin", margin)
    checks.check_flag("triplet_margin_loss's swap", swap)
    anchor = as_tensor(anchor)
    positive, negative = (as_tensor(x, anchor.dtype) for x in (positive, negative))
    shapes = [x._array.shape for x in (anchor, positive, negative)]
    loss_checks.check_vectors("triplet_margin_loss", shapes)
    near: Value = pairwise_distance(anchor, positive, p, eps)
    far: Value = pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = np.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(missing(near - far + margin), reduction)


def multi_margin_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    p: int = 1,
    margin: float = 1.0,
    weight: ArrayLike = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average over a batch how far the label's score falls short of a margin over all others.

        sum over i != label of  weight[label] max(0, margin - x[label] + x[i])^p / classes

    Parameters
    ----------
    logits
        Tensor or array of a float dtype, of shape ``(n, classes)`` or ``(classes,)``.
    labels
        Integers from 0 to ``classes - 1``, of shape ``(n,)`` or ``()``.
    p
        1 or 2.
    margin
        By how much the label's score should be the largest.
    weight
        A factor for each class, of shape ``(classes,)``.
    reduction
        As in `margin_ranking_loss`.

    Raises
    ------
    TypeError
        If the logits are not floats, or the labels not integers.
    ValueError
        If the shapes do not fit, a label is not a class, or `p` is neither 1 nor 2.

    References
    ----------
    Weston, Watkins, "Support vector machines for multi-class pattern recognition", ESANN 1999.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.multi_margin_loss([[1.0, 0.5, -1.0]], [0])
    Tensor(0.16666667)
    """
    loss_checks.check_reduction("multi_margin_loss", reduction)
    loss_checks.check_power(p)
    margin = layer_checks.number("multi_margin_loss's margin", margin)
    logits = as_tensor(logits)
    labels = as_array(data_of(labels))
    checks.check_label_dtype("multi_margin_loss", labels)
    loss_checks.check_rows("multi_margin_loss", logits._array.shape, labels.shape)
    rows, flat = in_rows(logits), np.reshape(labels, -1)
    one_hot = np.equal(flat[:, None], np.arange(rows._array.shape[1], like=library_of(flat)))
    loss_checks.check_classes(flat, one_hot)
    of_rows = sum_of(np.where(one_hot, weight_of_classes(weight, rows), 0), axis=1)
    own = np.sum(np.where(one_hot, rows, 0), axis=1, keepdims=True)
    lacking = margin - own + rows
    counts = ~(np.less_equal(lacking._array, 0) | one_hot)
    hinges = apply_mask(lacking, counts)
    hinges = np.square(hinges) if p == 2 else hinges
    losses = np.reshape(of_rows * np.mean(hinges, axis=1), labels.shape)
    return reduced(losses, reduction)


def multilabel_soft_margin_loss(
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average over a batch of the mean over classes of `binary_cross_entropy_with_logits`.

    Parameters
    ----------
    logits
        Tensor or array of a float dtype, of shape ``(n, classes)`` or ``(classes,)``.
    target
        Of the same shape: 1 for each class that an example belongs to, and 0 elsewhere.
    weight
        A factor for each class, of shape ``(classes,)``.
    reduction
        As in `margin_ranking_loss`; ``"none"`` gives a loss for each example.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits` does.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.multilabel_soft_margin_loss([[0.0, 1000.0, -1000.0]], [[1, 1, 0]])
    Tensor(0.23104906)
    """
    loss_checks.check_reduction("multilabel_soft_margin_loss", reduction)
    logits = as_tensor(logits)
    shapes = [logits._array.shape, np.shape(target)]
    loss_checks.check_vectors("multilabel_soft_margin_loss", shapes)
    losses = binary_cross_entropy_with_logits(logits, target, weight, "none")
    return reduced(np.mean(losses, axis=-1), reduction)


# ------------------------------------------------------------------------------- modules


class MarginRankingLoss(Loss):
    """A margin between two scores; see `functional.margin_ranking_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MarginRankingLoss(margin=1.0)([1.0], [0.5], [1])
    Tensor(0.5)
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.margin = layer_checks.number("MarginRankingLoss's margin", margin)

    def forward(self, x1: ArrayLike, x2: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare two scores, of which the first should be larger where the target is 1."""
        return margin_ranking_loss(x1, x2, target, self.margin, self.reduction)


class HingeEmbeddingLoss(Loss):
    """Distances of pairs that are alike or not; see `functional.hinge_embedding_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.HingeEmbeddingLoss()([0.25, 0.25], [1, -1])
    Tensor(0.5)
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.margin = layer_checks.number("HingeEmbeddingLoss's margin", margin)

    def forward(self, x: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare distances with a target of 1 and -1."""
        return hinge_embedding_loss(x, target, self.margin, self.reduction)


class SoftMarginLoss(Loss):
    """``log(1 + exp(-y x))``; see `functional.soft_margin_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.SoftMarginLoss()([0.0], [-1])
    Tensor(0.69314718)
    """

    def forward(self, x: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare scores with a target of 1 and -1."""
        return soft_margin_loss(x, target, self.reduction)


class CosineEmbeddingLoss(Loss):
    """Angles of pairs that are alike or not; see `functional.cosine_embedding_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.CosineEmbeddingLoss()([[1.0, 0.0]], [[0.0, 1.0]], [1])
    Tensor(1.)
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.margin = layer_checks.number("CosineEmbeddingLoss's margin", margin)

    def forward(self, x1: ArrayLike, x2: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare vectors ``(n, features)`` with a target ``(n,)`` of 1 and -1."""
        return cosine_embedding_loss(x1, x2, target, self.margin, self.reduction)


class TripletMarginLoss(Loss):
    """A margin between two distances; see `functional.triplet_margin_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.TripletMarginLoss(eps=0.0)([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 4.5]])
    Tensor(1.5)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin = layer_checks.positive("TripletMarginLoss's margin", margin)
        self.p = layer_checks.positive("TripletMarginLoss's p", p)
        self.eps = layer_checks.number("TripletMarginLoss's eps", eps)
        checks.check_flag("TripletMarginLoss's swap", swap)
        self.swap = swap

    def forward(self, anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> Tensor:
        """Compare vectors ``(n, features)`` with those that should be near, and far."""
        return triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class MultiMarginLoss(Loss):
    """A margin over the scores of all other classes; see `functional.multi_margin_loss`.

    Parameters
    ----------
    p, margin, weight, reduction
        As in the function. The weight is saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MultiMarginLoss()([[1.0, 0.5]], [0])
    Tensor(0.25)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: ArrayLike = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        loss_checks.check_power(p)
        self.p = p
        self.margin = layer_checks.number("MultiMarginLoss's margin", margin)
        self.weight = as_buffer(weight)

    def forward(self, logits: ArrayLike, labels: ArrayLike) -> Tensor:
        """Compare scores ``(n, classes)`` with integer labels ``(n,)``."""
        return multi_margin_loss(logits, labels, self.p, self.margin, self.weight, self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """Classes of which an example may have several; see `functional.multilabel_soft_margin_loss`.

    Parameters
    ----------
    weight, reduction
        As in the function. The weight is saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MultiLabelSoftMarginLoss()([[0.0, 0.0]], [[1, 1]])
    Tensor(0.69314718)
    """

    def __init__(self, weight: ArrayLike = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.weight = as_buffer(weight)

    def forward(self, logits: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare scores ``(n, classes)`` with a target of the same shape."""
        return multilabel_soft_margin_loss(logits, target, self.weight, self.reduction)
