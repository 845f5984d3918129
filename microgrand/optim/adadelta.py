"""Adadelta: steps as long as those before, over gradients as large as those before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, decayed, squared


class Adadelta(Optimizer):
    """Adadelta: the ratio of past changes to past gradients is the learning rate.

    Each step computes, for every parameter ``data`` with gradient ``grad``::

        grad       = grad + weight_decay * data
        square_avg = rho * square_avg + (1 - rho) * grad**2      # starts at 0
        change     = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * grad
        acc_delta  = rho * acc_delta + (1 - rho) * change**2     # starts at 0
        data       = data - lr * change

    (Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", algorithm 1, where `lr` is 1). A
    change has the unit of the data, whatever that of the loss is.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        What the change is multiplied by, at least 0.
    rho
        Weight of the past in both means, in [0, 1).
    eps
        Added to both means, at least 0: it decides how long the first steps are.
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
    >>> from microgrand.optim import Adadelta
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adadelta([weight], rho=0.75, eps=1e-2)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(3)
    array([0.801, 1.8  ])
    """

    rho: Any = Option()
    eps: Any = Option()
    remembers: ClassVar = ("step", "square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, **options, maximize=maximize)
        self.remember("square_avg", "acc_delta")

    def update(self, index: int) -> Update:
        """Return Adadelta's rule."""
        group = self.group_of[index]
        self.steps[index] += 1  # of no use here, but PyTorch's states have it
        memory = self.memory["square_avg"][index], self.memory["acc_delta"][index]
        return (
            step_by_ratio,
            memory,
            tuple([group[n] for n in ("lr", "weight_decay", "rho", "eps")]),
        )


def step_by_ratio(
    data: Array,
    grad: Array,
    square_avg: Array,
    acc_delta: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    rho: float,
    eps: float,
) -> None:
    """Step by the gradient times the ratio of past changes to past gradients."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    square_avg *= rho
    square_avg += squared(grad, 1 - rho, square_avg, scratch)
    change = acc_delta + eps
    change /= np.add(square_avg, eps, out=None if grad is scratch else scratch)
    np.sqrt(change, out=change)
    change *= grad
    acc_delta *= rho
    acc_delta += squared(change, 1 - rho, acc_delta, scratch)
    data -= np.multiply(change, lr, out=change)
