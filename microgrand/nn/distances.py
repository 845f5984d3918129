"""Losses that are distances, of numbers and of distributions, as functions and as modules."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from . import checks, layer_checks, loss_checks
from .activations import xlogy
from .inputs import as_tensor
from .losses import Loss, Reduction, product, reduced


def operands(who: str, prediction: ArrayLike, target: ArrayLike, reduction: Any) -> Any:
    """Return a prediction and its target as tensors of one dtype and shape."""
    loss_checks.check_reduction(who, reduction)
    prediction = as_tensor(prediction)
    target = as_tensor(target, prediction.dtype, kinds="fiub")
    checks.check_same_shape(prediction, target, who)
    return prediction, target


def mse_loss(prediction: ArrayLike, target: ArrayLike, reduction: Reduction = "mean") -> Tensor:
    """Average the squared difference over all elements.

    Parameters
    ----------
    prediction
        Tensor or array of a float dtype, which the result has, too.
    target
        Real numbers of the same shape.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.

    Returns
    -------
    Tensor
        0-d, or of the prediction's shape for ``"none"``.

    Raises
    ------
    TypeError
        If the prediction is not of a float dtype, or the target not of real numbers.
    ValueError
        If the shapes differ. Broadcasting ``(n, 1)`` against ``(n,)`` would compare each
        prediction with every target.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.mse_loss([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """
    prediction, target = operands("mse_loss", prediction, target, reduction)
    squares = np.square(prediction - target)
    return np.mean(squares) if reduction == "mean" else reduced(squares, reduction)


def l1_loss(prediction: ArrayLike, target: ArrayLike, reduction: Reduction = "mean") -> Tensor:
    """Average the absolute difference over all elements; its derivative at 0 is 0.

    The parameters and errors are those of `mse_loss`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.l1_loss([1.0, 2.0], [1.0, 4.0])
    Tensor(1.)
    """
    prediction, target = operands("l1_loss", prediction, target, reduction)
    return reduced(np.abs(prediction - target), reduction)


@primitive
def bowl(difference: Value, width: float, unit: float) -> Value:
    """Compute ``d^2 / 2 / unit`` up to a distance, and a straight line beyond."""
    distance = np.abs(difference)
    inside = np.minimum(distance, width)
    return inside / unit * (distance - 0.5 * inside)


defvjp(
    bowl,
    lambda g, out, difference, width, unit: g * (np.clip(difference, -width, width) / unit),
)


def huber_loss(
    prediction: ArrayLike, target: ArrayLike, reduction: Reduction = "mean", delta: float = 1.0
) -> Tensor:
    """Average ``d^2 / 2`` of differences ``d`` up to `delta`, ``delta (|d| - delta / 2)`` beyond.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`.
    delta
        Where the parabola becomes a line, more than 0.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.huber_loss([1.0, 2.0], [1.0, 4.0], reduction="none")
    Tensor([0. , 1.5])
    """
    delta = layer_checks.positive("huber_loss's delta", delta)
    prediction, target = operands("huber_loss", prediction, target, reduction)
    return reduced(bowl(prediction - target, delta, 1.0), reduction)


def smooth_l1_loss(
    prediction: ArrayLike, target: ArrayLike, reduction: Reduction = "mean", beta: float = 1.0
) -> Tensor:
    """Average ``d^2 / (2 beta)`` of differences ``d`` up to `beta`, ``|d| - beta / 2`` beyond.

    Parameters
    ----------
    prediction, target, reduction
        As in `mse_loss`.
    beta
        Where the parabola becomes a line; with 0, this is `l1_loss`.

    References
    ----------
    Girshick, "Fast R-CNN", ICCV 2015, equation 3.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.smooth_l1_loss([1.0, 2.0], [1.0, 4.0], beta=0.5, reduction="none")
    Tensor([0.  , 1.75])
    """
    if layer_checks.number("smooth_l1_loss's beta", beta) == 0:
        return l1_loss(prediction, target, reduction)
    beta = layer_checks.positive("smooth_l1_loss's beta", beta)
    prediction, target = operands("smooth_l1_loss", prediction, target, reduction)
    return reduced(bowl(prediction - target, beta, beta), reduction)


def kl_div(
    log_probabilities: ArrayLike,
    target: ArrayLike,
    reduction: Literal["mean", "batchmean", "sum", "none"] = "mean",
    log_target: bool = False,
) -> Tensor:
    """Average ``t (log t - log p)`` over all elements: how far ``p`` is from ``t``.

    Parameters
    ----------
    log_probabilities
        The logarithms of ``p``: tensor or array of a float dtype.
    target
        The probabilities ``t``, of the same shape; where one is 0, so is the loss.
    reduction
        As in `mse_loss`, or ``"batchmean"``: the sum divided by the length of the first axis, which
        is the divergence's definition, averaged over a batch of distributions.
    log_target
        Whether the target holds logarithms, too.

    References
    ----------
    Kullback, Leibler, "On Information and Sufficiency", Annals of Mathematical Statistics 22
    (1951).

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.kl_div(np.log([[0.5, 0.5]]), [[1.0, 0.0]], reduction="batchmean")
    Tensor(0.69314718)
    """
    p, target = operands("kl_div", log_probabilities, target, reduction)
    share = np.exp(target) if log_target else target
    own = product(share, target) if log_target else xlogy(share, share)
    losses = own - product(share, p)
    if reduction == "batchmean":
        loss_checks.check_is_batch(p._array.shape)
        return reduced(losses, "sum") / len(p)
    return reduced(losses, reduction)


# ------------------------------------------------------------------------------- modules


class MSELoss(Loss):
    """Average squared difference; see `functional.mse_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MSELoss()([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare a prediction with a target of the same shape."""
        return mse_loss(prediction, target, self.reduction)


class L1Loss(Loss):
    """Average absolute difference; see `functional.l1_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.L1Loss()([1.0, 2.0], [1.0, 4.0])
    Tensor(1.)
    """

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare a prediction with a target of the same shape."""
        return l1_loss(prediction, target, self.reduction)


class HuberLoss(Loss):
    """A parabola near 0, lines beyond; see `functional.huber_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.HuberLoss(reduction="sum", delta=0.5)([1.0, 2.0], [1.0, 4.0])
    Tensor(0.875)
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = layer_checks.positive("HuberLoss's delta", delta)

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare a prediction with a target of the same shape."""
        return huber_loss(prediction, target, self.reduction, self.delta)


class SmoothL1Loss(Loss):
    """`L1Loss` with a parabola near 0; see `functional.smooth_l1_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.SmoothL1Loss()([1.0, 2.0], [1.0, 4.0])
    Tensor(0.75)
    """

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = layer_checks.number("SmoothL1Loss's beta", beta)

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare a prediction with a target of the same shape."""
        return smooth_l1_loss(prediction, target, self.reduction, self.beta)


class KLDivLoss(Loss):
    """How far one distribution is from another; see `functional.kl_div`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.KLDivLoss("batchmean")(np.log([[0.5, 0.5]]), [[1.0, 0.0]])
    Tensor(0.69314718)
    """

    def __init__(
        self,
        reduction: Literal["mean", "batchmean", "sum", "none"] = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, log_probabilities: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare log-probabilities with a target of the same shape."""
        return kl_div(log_probabilities, target, self.reduction, self.log_target)
