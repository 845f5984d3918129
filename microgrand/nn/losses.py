"""Losses of classification, as functions and as modules: cross entropy and its relatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..dispatch import data_of, library_of
from ..engine import defvjp, primitive, sum_of, wider
from ..kinds import Array, ArrayLike, Mask, Shape, Value
from ..tensor import Tensor
from ..vjps.rules import as_array, filled, wide
from . import checks, loss_checks
from .activations import log_softmax
from .inputs import as_tensor
from .module import Buffer, Module
from .smooth import log1p_exp, logistic

Reduction = Literal["mean", "sum", "none"]


def reduced(losses: Value, reduction: Reduction, weight: Value = None) -> Value:
    """Return losses as they are, their sum, or their mean, which may be weighted."""
    if reduction == "none":
        return losses
    total = np.sum(losses, dtype=wider(losses.dtype, losses.size))
    if reduction == "mean":
        total = total / (losses.size if weight is None else np.sum(wide(weight)))
    return total.astype(losses.dtype)


def product(share: Value, x: Value) -> Value:
    """Multiply; where the share is 0, so is the product, even with infinity."""
    return share * np.where(np.equal(share, 0) & np.isinf(x), 0, x)


# -------------------------------------------------------------------- the cross entropy


@primitive
def mean_cross_entropy(logits: Value, one_hot: Mask, log_probabilities: Array) -> Value:
    """Average ``-log softmax(logits)`` over the rows, at the element where `one_hot` is True.

    The logarithms are given as a constant, as the backward pass needs them, too.
    """
    picked = log_probabilities[one_hot]
    total = sum_of(picked, axis=0, dtype=wider(picked.dtype, len(picked)))
    return (-total / len(one_hot)).astype(picked.dtype)


def mean_cross_entropy_vjp(
    g: Value, out: Value, logits: Value, one_hot: Mask, log_probabilities: Array
) -> Value:
    """Return the well-known ``(softmax - one_hot) / n``."""
    if isinstance(logits, Tensor):  # to be differentiated again, for which constants will not do
        log_probabilities = log_softmax(logits)
    return (np.exp(log_probabilities) - one_hot) * (wide(g) / len(one_hot))


defvjp(mean_cross_entropy, mean_cross_entropy_vjp)


def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Average over a batch of ``-log softmax(logits)[label]``.

    Parameters
    ----------
    logits
        Tensor of shape ``(n, classes)``, ``(n, classes, ...)`` or ``(classes,)``, unnormalised;
        any finite values.
    labels
        Integers from 0 to ``classes - 1``, an array or tensor of the logits' shape without the
        axis of the classes; or floats of the logits' shape, the probability of each class.
    weight
        A factor for each class, of shape ``(classes,)``; the mean is then weighted, unless the
        labels are probabilities.
    ignore_index
        A label that does not count, whether it is a class or not.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.
    label_smoothing
        From 0 to 1: how much of the label's probability is spread evenly over all classes.

    Returns
    -------
    Tensor
        0-d, or of the labels' shape, without the axis of the classes, for ``"none"``.

    Raises
    ------
    TypeError
        If the logits are not floats, or the labels not integers.
    ValueError
        If the shapes do not fit, or a label is not a class.

    References
    ----------
    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
    Vision", CVPR 2016, section 7: label smoothing.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> f"{F.cross_entropy(Tensor([[0.0, 0.0], [1000.0, 0.0]]), [0, 0]):.4f}"
    '0.3466'
    >>> F.cross_entropy([[0.0, 0.0], [1000.0, 0.0]], [0, -100], reduction="none")
    Tensor([0.69314718, 0.        ])
    """
    loss_checks.check_reduction("cross_entropy", reduction)
    label_smoothing = loss_checks.smoothing(label_smoothing)
    target, labels = labels, as_array(data_of(labels))
    if labels.dtype.kind == "f" and labels.ndim and labels.shape == np.shape(logits):
        return of_probabilities(logits, target, weight, reduction, label_smoothing)
    checks.check_label_dtype("cross_entropy", labels)
    logits = as_tensor(logits)
    checks.check_labels("cross_entropy", logits._array, labels)
    rows, flat = in_rows(logits), in_a_row(labels)
    one_hot, some_ignored = matches(flat, rows._array.shape[1], ignore_index)
    is_plain = weight is None and reduction == "mean" and not label_smoothing
    if is_plain and not some_ignored:
        return mean_cross_entropy(rows, one_hot, log_softmax(rows._array))
    counted = one_hot & np.not_equal(flat, ignore_index)[:, None]
    return of_labels(log_softmax(rows), counted, weight, reduction, label_smoothing, labels.shape)


def matches(labels: Array, classes: int, ignore_index: int) -> tuple[Mask, bool]:
    """Return which class each label is, a row of a mask for each, and whether some are ignored."""
    one_hot = np.equal(labels[:, None], np.arange(classes, like=library_of(labels)))
    return one_hot, loss_checks.any_ignored(labels, one_hot, ignore_index)


def in_rows(x: Value) -> Value:
    """Bring scores ``(n, classes, ...)`` or ``(classes,)`` to shape ``(rows, classes)``."""
    shape = x._array.shape
    if len(shape) == 2:
        return x
    if len(shape) > 2:
        x = np.moveaxis(x, 1, -1)
    return np.reshape(x, (math.prod(shape_of_labels(shape)), x._array.shape[-1]))


def in_a_row(labels: Array) -> Array:
    """Bring labels to one axis."""
    return labels if labels.ndim == 1 else np.reshape(labels, -1)


def shape_of_labels(shape: Shape) -> Shape:
    """Return a shape without the axis of the classes, the second, or the only one."""
    return () if len(shape) == 1 else shape[:1] + shape[2:]


def of_labels(
    log_probabilities: Value,
    one_hot: Mask,
    weight: ArrayLike,
    reduction: Reduction,
    smoothing: float,
    shape: Shape,
) -> Any:
    """Return the loss of rows of log-probabilities at their labels; a row without True has none."""
    weight = weight_of_classes(weight, log_probabilities)
    of_rows = sum_of(np.where(one_hot, weight, 0), axis=1)  # 0 for what is ignored
    losses = of_rows * np.sum(np.where(one_hot, -log_probabilities, 0), axis=1)
    if smoothing:
        kept = np.any(one_hot, axis=1)[:, None]
        spread = np.sum(np.where(kept, weight * log_probabilities, 0), axis=1)
        losses = losses * (1 - smoothing) - spread * (smoothing / log_probabilities.shape[1])
    if reduction == "none":
        losses = np.reshape(losses, shape)
    return reduced(losses, reduction, of_rows)


def weight_of_classes(weight: ArrayLike, scores: Value) -> Value:
    """Return the factors of the classes: ones, unless some are given."""
    classes = scores.shape[-1]
    if weight is None:
        return filled(classes, 1, scores.dtype, scores)
    weight = as_tensor(weight, scores.dtype)._array
    loss_checks.check_class_weight(weight, classes)
    return weight


def of_probabilities(
    logits: ArrayLike, target: ArrayLike, weight: ArrayLike, reduction: Reduction, smoothing: float
) -> Any:
    """Return the loss for a target that gives each class a probability."""
    logits = as_tensor(logits)
    rows = in_rows(logits)
    target = in_rows(as_tensor(target, logits.dtype))
    if smoothing:
        target = target * (1 - smoothing) + smoothing / rows._array.shape[1]
    weights = weight_of_classes(weight, rows)
    losses = -np.sum(weights * product(target, log_softmax(rows)), axis=1)
    if reduction == "none":
        losses = np.reshape(losses, shape_of_labels(logits._array.shape))
    return reduced(losses, reduction)


def nll_loss(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    weight: ArrayLike = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average over a batch of ``-log_probabilities[label]``: `cross_entropy` after `log_softmax`.

    Parameters
    ----------
    log_probabilities
        Tensor of shape ``(n, classes)``, ``(n, classes, ...)`` or ``(classes,)``.
    labels, weight, ignore_index, reduction
        As in `cross_entropy`; the labels are integers.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy` does.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> f"{F.nll_loss(np.log([[0.5, 0.5], [0.9, 0.1]]), [0, 0]):.4f}"
    '0.3993'
    """
    loss_checks.check_reduction("nll_loss", reduction)
    scores = as_tensor(log_probabilities)
    labels = as_array(data_of(labels))
    checks.check_label_dtype("nll_loss", labels)
    checks.check_labels("nll_loss", scores._array, labels)
    rows, flat = in_rows(scores), in_a_row(labels)
    one_hot, _ = matches(flat, rows._array.shape[1], ignore_index)
    counted = one_hot & np.not_equal(flat, ignore_index)[:, None]
    return of_labels(rows, counted, weight, reduction, 0.0, labels.shape)


# ------------------------------------------------------------------- two classes, yes or no


@primitive
def bernoulli_surprise(p: Value, target: Value) -> Value:
    """Compute ``-(t log p + (1 - t) log(1 - p))``, the logarithms not below -100."""
    return -(target * clamped(np.log, p) + (1 - target) * clamped(np.log1p, -p))


def clamped(log: Callable[..., Any], p: Value) -> Value:
    """Return a logarithm, but not less than -100."""
    with np.errstate(divide="ignore"):
        return np.maximum(log(p), -100)


defvjp(
    bernoulli_surprise,
    lambda g, out, p, target: g * ((p - target) / variance(p)),
    lambda g, out, p, target: g * (clamped(np.log1p, -p) - clamped(np.log, p)),
)


def variance(p: Value) -> Value:
    """Return ``p (1 - p)``, or a small number where that is 0."""
    return np.maximum(p * (1 - p), max(1e-12, float(np.finfo(p.dtype).tiny)))


def binary_cross_entropy(
    probability: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``-(t log p + (1 - t) log(1 - p))``; logarithms below -100 count as -100.

    `binary_cross_entropy_with_logits` is exact where this one is not.

    Parameters
    ----------
    probability
        Tensor or array of a float dtype, with elements from 0 to 1.
    target
        Real numbers of the same shape, from 0 to 1.
    weight
        A factor for each loss, of a shape that broadcasts to theirs.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.

    Raises
    ------
    TypeError
        If the probabilities are not of a float dtype.
    ValueError
        If the shapes differ, or a probability is not from 0 to 1.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.binary_cross_entropy([0.5, 0.0], [1, 1], reduction="none")
    Tensor([  0.69314718, 100.        ])
    """
    loss_checks.check_reduction("binary_cross_entropy", reduction)
    probability = as_tensor(probability)
    target = as_tensor(target, probability.dtype, kinds="fiub")
    checks.check_same_shape(probability, target, "binary_cross_entropy")
    loss_checks.check_probabilities(probability._array)
    return weighted(bernoulli_surprise(probability, target), weight, reduction)


def weighted(losses: Tensor, weight: ArrayLike, reduction: Reduction) -> Any:
    """Reduce losses, each with its factor."""
    if weight is not None:
        weight = as_tensor(weight, losses.dtype, kinds="fiub")
        loss_checks.check_weight("weight", weight._array.shape, losses._array.shape)
        losses = losses * weight
    return reduced(losses, reduction)


@primitive
def logistic_surprise(x: Value, target: Value, factor: Value) -> Value:
    """Compute ``-(w t log sigmoid(x) + (1 - t) log(1 - sigmoid(x)))``; the factor is ``w``."""
    return product(target * factor, log1p_exp(-x)) + product(1 - target, log1p_exp(x))


# By the target: log1p_exp(-x) - log1p_exp(x) is -x, where the difference of the two would cancel.
defvjp(
    logistic_surprise,
    lambda g, out, x, t, factor: g * ((1 - t) * logistic(x) - t * factor * logistic(-x)),
    lambda g, out, x, t, factor: g * (product(factor - 1, log1p_exp(-x)) - x),
    lambda g, out, x, t, factor: g * product(t, log1p_exp(-x)),
)


def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike = None,
    reduction: Reduction = "mean",
    pos_weight: ArrayLike = None,
) -> Tensor:
    """Average ``-(t log sigmoid(x) + (1 - t) log(1 - sigmoid(x)))``, exact at any finite ``x``.

    Parameters
    ----------
    logits
        Tensor or array of a float dtype.
    target
        Real numbers of the same shape, from 0 to 1.
    weight
        A factor for each loss, of a shape that broadcasts to theirs.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.
    pos_weight
        A factor for the first term, as if there were more positive examples, of a shape that
        broadcasts to the losses'.

    Raises
    ------
    TypeError
        If the logits are not of a float dtype.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.binary_cross_entropy_with_logits([0.0, 1000.0, -1000.0], [1, 1, 1], reduction="none")
    Tensor([6.93147181e-01, 0.00000000e+00, 1.00000000e+03])
    """
    loss_checks.check_reduction("binary_cross_entropy_with_logits", reduction)
    logits = as_tensor(logits)
    target = as_tensor(target, logits.dtype, kinds="fiub")
    checks.check_same_shape(logits, target, "binary_cross_entropy_with_logits")
    factor: Any = 1.0
    if pos_weight is not None:
        factor = as_tensor(pos_weight, logits.dtype, kinds="fiub")
        loss_checks.check_weight("pos_weight", factor._array.shape, logits._array.shape)
    return weighted(logistic_surprise(logits, target, factor), weight, reduction)


# ------------------------------------------------------------------------------- modules


class Loss(Module):
    """What the modules of losses share: how they reduce, and the factors that they keep.

    Parameters
    ----------
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.
    """

    def __init__(self, reduction: Any = "mean") -> None:
        loss_checks.check_reduction(type(self).__name__, reduction)
        self.reduction = reduction


def as_buffer(weight: ArrayLike) -> Buffer | None:
    """Keep factors with the module's state."""
    loss_checks.check_is_constant(weight)
    return None if weight is None else Buffer(as_tensor(weight))


class CrossEntropyLoss(Loss):
    """Average of ``-log softmax(logits)[label]``; see `functional.cross_entropy`.

    Parameters
    ----------
    weight, ignore_index, reduction, label_smoothing
        As in the function. The weight is saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> loss = nn.CrossEntropyLoss()
    >>> f"{loss([[0.0, 0.0], [1000.0, 0.0]], [0, 0]):.4f}"
    '0.3466'
    """

    def __init__(
        self,
        weight: ArrayLike = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight = as_buffer(weight)
        self.ignore_index = ignore_index
        self.label_smoothing = loss_checks.smoothing(label_smoothing)

    def forward(self, logits: ArrayLike, labels: ArrayLike) -> Tensor:
        """Compare logits ``(n, classes)`` with integer labels ``(n,)``."""
        return cross_entropy(
            logits, labels, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(Loss):
    """Average of ``-log_probabilities[label]``; see `functional.nll_loss`.

    Parameters
    ----------
    weight, ignore_index, reduction
        As in the function. The weight is saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.NLLLoss()([[-0.5, -1.0], [-1.0, -0.5]], [0, 1])
    Tensor(0.5)
    """

    def __init__(
        self, weight: ArrayLike = None, ignore_index: int = -100, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight = as_buffer(weight)
        self.ignore_index = ignore_index

    def forward(self, log_probabilities: ArrayLike, labels: ArrayLike) -> Tensor:
        """Compare log-probabilities ``(n, classes)`` with integer labels ``(n,)``."""
        return nll_loss(log_probabilities, labels, self.weight, self.ignore_index, self.reduction)


class BCELoss(Loss):
    """Average ``-(t log p + (1 - t) log(1 - p))``; see `functional.binary_cross_entropy`.

    Parameters
    ----------
    weight, reduction
        As in the function. The weight is saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.BCELoss()([0.5, 0.5], [1, 0])
    Tensor(0.69314718)
    """

    def __init__(self, weight: ArrayLike = None, reduction: Reduction = "mean") -> None:
        super().__init__(reduction)
        self.weight = as_buffer(weight)

    def forward(self, probability: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare probabilities with a target of the same shape."""
        return binary_cross_entropy(probability, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """`BCELoss` of ``sigmoid(logits)``; see `functional.binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight, reduction, pos_weight
        As in the function. The factors are saved with the module.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.BCEWithLogitsLoss()([0.0, 0.0], [1, 0])
    Tensor(0.69314718)
    """

    def __init__(
        self, weight: ArrayLike = None, reduction: Reduction = "mean", pos_weight: ArrayLike = None
    ) -> None:
        super().__init__(reduction)
        self.weight = as_buffer(weight)
        self.pos_weight = as_buffer(pos_weight)

    def forward(self, logits: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare logits with a target of the same shape."""
        return binary_cross_entropy_with_logits(
            logits, target, self.weight, self.reduction, self.pos_weight
        )
