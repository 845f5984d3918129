"""Adamax: gradients' means divided by the largest of the recent gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, decayed, scaled


class Adamax(Optimizer):
    """Adamax: Adam with the largest gradient in the place of the root of a mean of squares.

    Each step computes, for every parameter ``data`` with gradient ``grad``, in step ``t`` = 1, 2,
    ...::

        grad    = grad + weight_decay * data
        exp_avg = beta1 * exp_avg + (1 - beta1) * grad          # starts at 0
        exp_inf = max(beta2 * exp_inf, abs(grad) + eps)         # starts at 0
        data    = data - lr / (1 - beta1**t) * exp_avg / exp_inf

    (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 2). A single large
    gradient makes steps smaller for a while, as it is not averaged.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0: no element changes by much more in one step.
    betas
        Weights of the past in the mean and in the largest gradient, each in [0, 1).
    eps
        Added to the absolute values to keep the denominator from 0, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import Adamax
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adamax([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.75, 1.75])
    """

    betas: Any = Option()
    eps: Any = Option()
    remembers: ClassVar = ("step", "exp_avg", "exp_inf")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, **options, maximize=maximize)
        self.remember("exp_avg", "exp_inf")

    def update(self, index: int) -> Update:
        """Return Adamax's rule, with the correction of the mean in its rate."""
        group = self.group_of[index]
        self.steps[index] += 1
        beta1, beta2 = group["betas"]
        rate = group["lr"] / (1 - beta1 ** self.steps[index])
        memory = self.memory["exp_avg"][index], self.memory["exp_inf"][index]
        return step_over_largest, memory, (rate, group["weight_decay"], beta1, beta2, group["eps"])


def step_over_largest(
    data: Array,
    grad: Array,
    exp_avg: Array,
    exp_inf: Array,
    scratch: Scratch,
    rate: float,
    weight_decay: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    """Step along the mean of the gradients over the largest of them."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    exp_avg *= beta1
    exp_avg += scaled(grad, 1 - beta1, exp_avg, scratch)
    exp_inf *= beta2
    size = np.abs(grad, out=scratch, dtype=exp_inf.dtype)
    size += eps
    np.maximum(exp_inf, size, out=exp_inf)
    step = np.divide(exp_avg, exp_inf, out=size)
    data -= np.multiply(step, rate, out=step)
