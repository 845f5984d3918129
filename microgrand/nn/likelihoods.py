"""Losses that are minus the logarithm of a likelihood, of the normal and the Poisson distribution.

Those of categories are in losses.py.
"""

from __future__ import annotations

import math

import numpy as np

from ..dispatch import data_of
from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from . import checks, layer_checks, loss_checks
from .activations import xlogy
from .distances import operands
from .inputs import as_tensor
from .losses import Loss, Reduction, product, reduced


@primitive
def square_over(x: Value, y: Value) -> Value:
    """Compute ``x^2 / y``, also where the square would overflow."""
    return x * (x / y)


defvjp(
    square_over,
    lambda g, out, x, y: g * (2 * (x / y)),
    lambda g, out, x, y: -g * np.square(x / y),
)


def gaussian_nll_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``(log(var) + (prediction - target)^2 / var) / 2``.

    Parameters
    ----------
    prediction
        The means of normal distributions: tensor or array of a float dtype.
    target
        Real numbers of the same shape.
    var
        Their variances, from 0: of the same shape, or with axes of length 1, or without the last
        axis; or a number for all.
    full
        Whether the constant ``log(2 pi) / 2`` is added.
    eps
        What smaller variances count as, more than 0. They get the gradient of that value, as in
        PyTorch, so that they can grow.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.

    Raises
    ------
    TypeError
        If an array is not of real numbers.
    ValueError
        If the shapes do not fit, or a variance is negative.

    References
    ----------
    Nix, Weigend, "Estimating the mean and variance of the target probability distribution", ICNN
    1994.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.gaussian_nll_loss([1.0, 2.0], [1.0, 4.0], 4.0, reduction="none")
    Tensor([0.69314718, 1.19314718])
    """
    checks.check_flag("gaussian_nll_loss's full", full)
    eps = layer_checks.positive("gaussian_nll_loss's eps", eps)
    prediction, target = operands("gaussian_nll_loss", prediction, target, reduction)
    var = as_tensor(var, prediction.dtype, kinds="fiub")
    if loss_checks.lacks_last_axis(var._array.shape, prediction._array.shape):
        var = np.expand_dims(var, -1)
    loss_checks.check_variances(var._array)
    var = var + data_of(np.maximum(eps - data_of(var), 0))
    difference = prediction - target
    losses = 0.5 * (np.log(var) + square_over(difference, var))
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


def poisson_nll_loss(
    prediction: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Tensor:
    """Average ``exp(x) - t x``, for counts ``t`` whose means have the logarithms ``x``.

    Parameters
    ----------
    prediction
        Tensor or array of a float dtype.
    target
        The counts, of the same shape.
    log_input
        Whether the prediction is the logarithm of the mean. If not, the loss is
        ``x - t log(x + eps)``.
    full
        Whether an approximation of ``log(t!)`` is added where ``t`` is more than 1: Stirling's,
        ``t log(t) - t + log(2 pi t) / 2``.
    eps
        What is added to a mean before its logarithm is taken.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for a loss each.

    Raises
    ------
    TypeError
        If an array is not of real numbers.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.poisson_nll_loss([0.0, 1.0], [2, 0], reduction="none")
    Tensor([1.        , 2.71828183])
    """
    checks.check_flag("poisson_nll_loss's log_input", log_input)
    checks.check_flag("poisson_nll_loss's full", full)
    eps = layer_checks.not_negative("poisson_nll_loss's eps", eps)
    x, target = operands("poisson_nll_loss", prediction, target, reduction)
    losses = np.exp(x) - product(target, x) if log_input else x - xlogy(target, x + eps)
    if full:
        losses = losses + log_of_factorial(target)
    return reduced(losses, reduction)


def log_of_factorial(t: Value) -> Value:
    """Return Stirling's approximation, and 0 up to 1."""
    is_more = np.greater(t, 1)
    t = np.where(is_more, t, 1)
    return np.where(is_more, t * np.log(t) - t + 0.5 * np.log(2 * math.pi * t), 0)


# ------------------------------------------------------------------------------- modules


class GaussianNLLLoss(Loss):
    """Normal distributions with variances of their own; see `functional.gaussian_nll_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.GaussianNLLLoss()([1.0, 2.0], [1.0, 4.0], [4.0, 4.0])
    Tensor(0.94314718)
    """

    def __init__(
        self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"
    ) -> None:
        super().__init__(reduction)
        checks.check_flag("GaussianNLLLoss's full", full)
        self.full = full
        self.eps = layer_checks.positive("GaussianNLLLoss's eps", eps)

    def forward(self, prediction: ArrayLike, target: ArrayLike, var: ArrayLike) -> Tensor:
        """Compare means and variances with a target."""
        return gaussian_nll_loss(prediction, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(Loss):
    """Counts; see `functional.poisson_nll_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.PoissonNLLLoss()([0.0, 0.0], [2, 0])
    Tensor(1.)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(reduction)
        checks.check_flag("PoissonNLLLoss's log_input", log_input)
        checks.check_flag("PoissonNLLLoss's full", full)
        self.log_input, self.full = log_input, full
        self.eps = layer_checks.not_negative("PoissonNLLLoss's eps", eps)

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare means, or their logarithms, with counts."""
        return poisson_nll_loss(
            prediction, target, self.log_input, self.full, self.eps, self.reduction
        )
