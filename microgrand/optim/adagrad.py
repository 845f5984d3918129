"""Adagrad: gradients divided by the root of the sum of all their squares so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, decayed, squared


class Adagrad(Optimizer):
    """Adagrad: an element that has changed much changes less from then on; one seldom seen does.

    Each step computes, for every parameter ``data`` with gradient ``grad``, in step ``t`` = 1, 2,
    ...::

        grad = grad + weight_decay * data
        sum  = sum + grad**2             # starts at initial_accumulator_value
        data = data - lr / (1 + (t - 1) * lr_decay) * grad / (sqrt(sum) + eps)

    (Duchi, Hazan, Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", with diagonal matrices). It suits rare features, such as words.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0.
    lr_decay
        How fast the learning rate falls, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0.
    initial_accumulator_value
        Where the sum of squares begins, at least 0.
    eps
        Added to the denominator to keep it from 0, at least 0.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import Adagrad
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adagrad([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.75, 1.75])
    """

    lr_decay: Any = Option()
    initial_accumulator_value: Any = Option()
    eps: Any = Option()
    remembers: ClassVar = ("step", "sum")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters, with options of their own; the sums begin at their initial value."""
        super().add_param_group(group)
        if "sum" not in self.memory:
            self.remember("sum")
        added = self.param_groups[-1]
        for total in self.memory["sum"][len(self.parameters) - len(added["params"]) :]:
            total += added["initial_accumulator_value"]

    def values_to_load(self, state: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Check a state; the sums of parameters without an entry begin at their initial value."""
        groups, steps, memory = super().values_to_load(state)
        for i, group in enumerate(self.group_of):
            if steps[i] == 0:
                memory["sum"][i][...] = group["initial_accumulator_value"]
        return groups, steps, memory

    def update(self, index: int) -> Update:
        """Return Adagrad's rule, with the learning rate of this step."""
        group = self.group_of[index]
        self.steps[index] += 1
        rate = group["lr"] / (1 + (self.steps[index] - 1) * group["lr_decay"])
        return scale, (self.memory["sum"][index],), (rate, group["weight_decay"], group["eps"])


def scale(
    data: Array,
    grad: Array,
    total: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    eps: float,
) -> None:
    """Step against the gradient over the root of the sum of all squares."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    total += squared(grad, 1.0, total, scratch)
    root = np.sqrt(total, out=None if grad is scratch else scratch)
    root += eps
    step = np.divide(grad, root, out=root)
    data -= np.multiply(step, lr, out=step)
