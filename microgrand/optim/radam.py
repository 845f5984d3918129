"""RAdam: Adam that does not divide by the gradients' squares before it knows their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update
from .optimizers import average, shrunk_or_decayed


class RAdam(Optimizer):
    """Rectified Adam: a warm-up that follows from how uncertain the mean of squares is.

    Of few gradients, the mean of squares varies much, and so does Adam's step. The first steps go
    along the mean of the gradients alone; later ones are Adam's, times a factor that rises to 1::

        length = 2 / (1 - beta2) - 1             # of the mean's memory; at step t
        seen   = length - 2 * t * beta2**t / (1 - beta2**t)
        factor = sqrt((seen - 4) * (seen - 2) * length / ((length - 4) * (length - 2) * seen))
        data   = data - lr * factor * mean(grad) / sqrt(mean(grad**2))     if seen > 5
        data   = data - lr * mean(grad)                                    otherwise

    (Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond", algorithm 2, with
    PyTorch's limit.) The means are those of `Adam`, and `eps` is added to the root before
    that is corrected for its start at 0.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr, betas, eps
        As for `Adam`.
    weight_decay, decoupled_weight_decay
        As for `Adam`; or, if it is decoupled, for `AdamW`.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Adam`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import RAdam
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = RAdam([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.5, 1. ])
    """

    betas: Any = Option()
    eps: Any = Option()
    decoupled_weight_decay: Any = Option()
    remembers: ClassVar = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
        )
        self.remember("exp_avg", "exp_avg_sq")

    def update(self, index: int) -> Update:
        """Return RAdam's rule, with both kinds of steps in its numbers."""
        group = self.group_of[index]
        self.steps[index] += 1
        step, (beta1, beta2), decay = self.steps[index], group["betas"], group["weight_decay"]
        rate = group["lr"] / (1 - beta1**step)
        length = 2 / (1 - beta2) - 1
        seen = length - 2 * step * beta2**step / (1 - beta2**step)
        # What the root is limited to: a step that is not divided by it is divided by 1.
        least, most = 1.0, 1.0
        if seen > 5:
            least, most = 0.0, math.inf
            variance = (seen - 4) * (seen - 2) * length / ((length - 4) * (length - 2) * seen)
            rate *= math.sqrt(variance * (1 - beta2**step))
        shrinkage = 1.0
        if group["decoupled_weight_decay"]:
            shrinkage, decay = 1 - group["lr"] * decay, 0.0
        memory = self.memory["exp_avg"][index], self.memory["exp_avg_sq"][index]
        numbers = beta1, beta2, rate, group["eps"], least, most, decay, shrinkage
        return adapt_rectified, memory, numbers


def adapt_rectified(
    data: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    scratch: Scratch,
    beta1: float,
    beta2: float,
    rate: float,
    eps: float,
    least: float,
    most: float,
    weight_decay: float,
    shrinkage: float,
) -> None:
    """Step along the mean, divided by the root of that of the squares, or by 1."""
    grad = shrunk_or_decayed(grad, data, weight_decay, shrinkage, scratch)
    average(grad, exp_avg, exp_avg_sq, beta1, beta2, scratch)
    # No branch: a compiled program is one for all steps. Nor factors: squares may be infinite.
    root = np.sqrt(exp_avg_sq, out=scratch)
    root += eps
    root = np.clip(root, least, most, out=root)
    step = np.divide(exp_avg, root, out=root)
    data -= np.multiply(step, rate, out=step)
