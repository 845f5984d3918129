"""Lion: steps of one length in every element, in the direction of the gradients' mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, scaled


class Lion(Optimizer):
    """Lion: every element changes by the learning rate, up or down.

    Each step computes, for every parameter ``data`` with gradient ``grad``::

        data    = data * (1 - lr * weight_decay)
        data    = data - lr * sign(beta1 * exp_avg + (1 - beta1) * grad)
        exp_avg = beta2 * exp_avg + (1 - beta2) * grad               # starts at 0

    (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2). It remembers
    half as much as Adam. The authors advise a learning rate 3 to 10 times smaller than AdamW's,
    and as many times the weight decay.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0.
    betas
        Weights of the past in the step and in the mean that is kept, each in [0, 1).
    weight_decay
        Part of each element that a step with ``lr=1`` would take away, at least 0.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import Lion
    >>> weight = Tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = Lion([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    array([ 0.75, -1.75])
    """

    betas: Any = Option()
    remembers: ClassVar = ("exp_avg",)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)
        self.remember("exp_avg")

    def update(self, index: int) -> Update:
        """Return Lion's rule."""
        group = self.group_of[index]
        shrinkage = 1 - group["lr"] * group["weight_decay"]
        return (
            step_by_sign,
            (self.memory["exp_avg"][index],),
            (group["lr"], shrinkage, *group["betas"]),
        )


def step_by_sign(
    data: Array,
    grad: Array,
    exp_avg: Array,
    scratch: Scratch,
    lr: float,
    shrinkage: float,
    beta1: float,
    beta2: float,
) -> None:
    """Step by the learning rate in every element."""
    if shrinkage != 1:
        data *= shrinkage
    # beta1 * exp_avg + (1 - beta1) * grad, without room for both products
    step = np.subtract(exp_avg, grad, out=scratch)
    step *= beta1
    step += grad
    np.sign(step, out=step)
    data -= np.multiply(step, lr, out=step)
    exp_avg *= beta2
    exp_avg += scaled(grad, 1 - beta2, exp_avg, scratch)
