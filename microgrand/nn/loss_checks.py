"""What losses refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import is_integer
from ..kinds import Array, Mask, Shape
from ..traced import look
from . import layer_checks

#: How losses may be reduced, and those of `kl_div`.
REDUCTIONS = ("mean", "sum", "none")
REDUCTIONS_OF_KL_DIV = ("mean", "batchmean", "sum", "none")


def check_reduction(who: str, reduction: Any) -> None:
    """Raise if losses are to be reduced in an unknown way."""
    if isinstance(reduction, str) and reduction in REDUCTIONS:
        return
    allowed = REDUCTIONS_OF_KL_DIV if who in ("kl_div", "KLDivLoss") else REDUCTIONS
    layer_checks.one_of(f"{who}'s reduction", reduction, allowed)


def smoothing(given: Any) -> float:
    """Return label smoothing, or raise if it is not a share."""
    if not 0 <= layer_checks.number("label_smoothing", given) <= 1:
        raise ValueError(f"label_smoothing is a number from 0 to 1, got {given!r}")
    return float(given)


def any_ignored(labels: Array, one_hot: Mask, ignore_index: Any) -> bool:
    """Tell whether some labels do not count; raise if one is neither a class nor that."""
    if not is_integer(ignore_index):
        raise TypeError(f"ignore_index is an integer, got {ignore_index!r}")
    is_class = look(np.count_nonzero(one_hot)) == len(labels)
    if is_class and not 0 <= ignore_index < one_hot.shape[1]:
        return False
    refuse_labels(labels, one_hot, ~(one_hot.any(axis=1) | np.equal(labels, ignore_index)))
    return True


def refuse_labels(labels: Array, one_hot: Mask, wrong: Mask) -> None:
    """Raise if some labels are wrong."""
    if look(np.count_nonzero(wrong)):
        raise ValueError(
            f"label {look(labels[wrong])[0]} is not a class: scores of shape "
            f"{(len(labels), one_hot.shape[1])} have the classes 0 to {one_hot.shape[1] - 1}"
        )


def check_classes(labels: Array, one_hot: Mask) -> None:
    """Raise if a label is not a class."""
    refuse_labels(labels, one_hot, ~one_hot.any(axis=1))


def check_class_weight(weight: Array, classes: int) -> None:
    """Raise if there is not one factor for each class."""
    if weight.shape != (classes,):
        raise ValueError(
            f"weight holds a factor for each class, so its shape must be {(classes,)}, got "
            f"{weight.shape}"
        )


def check_is_constant(weight: Any) -> None:
    """Raise if a loss is to keep factors with a graph: its inputs, probably."""
    if getattr(weight, "requires_grad", False):
        raise TypeError(
            "a loss keeps its weight, a constant, and got a tensor that requires a gradient; make "
            "the loss first, and then call it: nn.CrossEntropyLoss()(logits, labels)"
        )


def check_weight(who: str, shape: Shape, losses: Shape) -> None:
    """Raise if factors do not broadcast to the losses."""
    try:
        fits = np.broadcast_shapes(shape, losses) == losses
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{who} must broadcast to the losses' shape {losses}, got shape {shape}")


def check_target_is_constant(who: str, target: Any) -> None:
    """Raise if a target of 1 and -1 is to get a gradient, which it would not."""
    if getattr(target, "requires_grad", False):
        raise TypeError(
            f"{who}'s target is 1 or -1, and no gradient reaches it, but it requires one; give "
            "target.detach()"
        )


def check_signs(who: str, target: Array) -> None:
    """Raise if a target is not made of 1 and -1."""
    if look(np.any(np.not_equal(np.abs(target), 1))):
        raise ValueError(
            f"{who} takes a target of 1 and -1, got other numbers; from 1 and 0, 2 * target - 1"
        )


def check_vectors(who: str, shapes: list[Shape]) -> None:
    """Raise if arrays are not all of one shape, with an axis of features."""
    if not 1 <= len(shapes[0]) <= 2 or any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"{who} needs arrays of one shape, (n, features) or (features,), got "
            f"{' and '.join(map(str, shapes))}"
        )


def check_is_each(who: str, target: Shape, expected: Shape) -> None:
    """Raise if there is not one target for each example."""
    if target != expected:
        raise ValueError(f"{who} needs a target of shape {expected}, one each, got {target}")


def check_rows(who: str, logits: Shape, labels: Shape) -> None:
    """Raise if there is not one label for each row."""
    if not 1 <= len(logits) <= 2 or labels != logits[:-1]:
        raise ValueError(
            f"{who} needs logits of shape (n, classes) and labels of shape (n,), or (classes,) and "
            f"(), got {logits} and {labels}"
        )


def check_power(p: Any) -> None:
    """Raise if hinges are to be raised to an unknown power."""
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss's p is 1 or 2, got {p!r}")


def lacks_last_axis(variances: Shape, prediction: Shape) -> bool:
    """Tell whether variances are without the last axis, or raise if they do not fit."""
    axes = len(prediction)
    pairs = zip(variances, prediction, strict=False)
    if len(variances) in (0, axes) and all(n in (1, m) for n, m in pairs):
        return False
    if variances == prediction[:-1]:
        return True
    raise ValueError(
        f"gaussian_nll_loss needs variances of the prediction's shape {prediction}, perhaps with "
        f"axes of length 1 or without the last axis, or a number, got shape {variances}"
    )


def check_variances(variances: Array) -> None:
    """Raise if a variance is negative."""
    if look(np.any(np.less(variances, 0))):
        raise ValueError(
            "gaussian_nll_loss got a negative variance; give exp(x) or softplus(x) of what may be "
            "any number"
        )


def check_probabilities(p: Array) -> None:
    """Raise if probabilities are not from 0 to 1."""
    if look(np.any(np.less(p, 0) | np.greater(p, 1))):
        raise ValueError(
            "binary_cross_entropy takes probabilities from 0 to 1, got others; "
            "binary_cross_entropy_with_logits takes any numbers"
        )


def check_is_batch(shape: Shape) -> None:
    """Raise if there is no batch to average over."""
    if not shape:
        raise ValueError('reduction="batchmean" needs a first axis, got a 0-d prediction')
