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
    """Raise if losses are to be reduced in a way that is not known."""
    if reduction in REDUCTIONS:
        return
    allowed = REDUCTIONS_OF_KL_DIV if who in ("kl_div", "KLDivLoss") else REDUCTIONS
    layer_checks.one_of(f"{who}'s reduction", reduction, allowed)


def check_smoothing(smoothing: Any) -> None:
    """Raise if more than everything is to be spread over all classes."""
    if not 0 <= layer_checks.number("label_smoothing", smoothing) <= 1:
        raise ValueError(f"label_smoothing is a number from 0 to 1, got {smoothing!r}")


def any_ignored(labels: Array, one_hot: Mask, ignore_index: Any) -> bool:
    """Tell whether some labels do not count; raise if one is neither a class nor that."""
    if not is_integer(ignore_index):
        raise TypeError(f"ignore_index is an integer, got {ignore_index!r}")
    is_class = look(np.count_nonzero(one_hot)) == len(labels)
    if is_class and not 0 <= ignore_index < one_hot.shape[1]:
        return False
    wrong = ~(one_hot.any(axis=1) | np.equal(labels, ignore_index))
    if look(np.count_nonzero(wrong)):
        raise ValueError(
            f"label {look(labels[wrong])[0]} is not a class: logits of shape "
            f"{(len(labels), one_hot.shape[1])} have the classes 0 to {one_hot.shape[1] - 1}"
        )
    return True


def check_class_weight(weight: Array, classes: int) -> None:
    """Raise if there is not one factor for each class."""
    if weight.shape != (classes,):
        raise ValueError(
            f"weight holds a factor for each class, so its shape must be {(classes,)}, got "
            f"{weight.shape}"
        )


def check_weight(who: str, shape: Shape, losses: Shape) -> None:
    """Raise if factors do not broadcast to the losses."""
    try:
        fits = np.broadcast_shapes(shape, losses) == losses
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{who} must broadcast to the losses' shape {losses}, got shape {shape}")


def check_probabilities(p: Array) -> None:
    """Raise if probabilities are none."""
    if look(np.any(np.less(p, 0) | np.greater(p, 1))):
        raise ValueError(
            "binary_cross_entropy takes probabilities from 0 to 1, got others; "
            "binary_cross_entropy_with_logits takes any numbers"
        )


def check_is_batch(shape: Shape) -> None:
    """Raise if there is no batch to average over."""
    if not shape:
        raise ValueError('reduction="batchmean" needs a first axis, got a 0-d prediction')
