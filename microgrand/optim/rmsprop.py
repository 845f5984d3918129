"""RMSprop: gradients divided by the root of the mean of their squares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, decayed, scaled, squared


class RMSprop(Optimizer):
    """RMSprop: steps that do not depend on how large an element's gradients are.

    Each step computes, for every parameter ``data`` with gradient ``grad``::

        grad       = grad + weight_decay * data
        square_avg = alpha * square_avg + (1 - alpha) * grad**2      # starts at 0
        data       = data - lr * grad / (sqrt(square_avg) + eps)

    (Tieleman and Hinton 2012, lecture 6.5 of "Neural Networks for Machine Learning"). With
    ``centered=True``, the square of the gradients' mean is taken from ``square_avg``, so that their
    variance stands under the root (Graves 2013, "Generating Sequences With Recurrent Neural
    Networks", eq. 38-45). With `momentum`, data goes along a sum of such steps.

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0.
    alpha
        Weight of the past in the means, in [0, 1).
    eps
        Added to the denominator to keep it from 0, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0.
    momentum
        How much of the last step a step keeps, in [0, 1).
    centered
        Divide by the root of the variance.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import RMSprop
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = RMSprop([weight], lr=0.25, alpha=0.75)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.5, 1.5])
    """

    alpha: Any = Option()
    eps: Any = Option()
    momentum: Any = Option()
    centered: Any = Option()
    remembers: ClassVar = ("step", "square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
        )
        self.remember("square_avg")

    def update(self, index: int) -> Update:
        """Return the rule of the group's kind."""
        group = self.group_of[index]
        self.steps[index] += 1  # of no use here, but PyTorch's states have it
        momentum, centered = group["momentum"], group["centered"]
        names = ["square_avg", *["grad_avg"] * centered, *["momentum_buffer"] * (momentum > 0)]
        for name in names:
            if name not in self.memory:
                self.remember(name)
        memory = tuple([self.memory[name][index] for name in names])
        numbers = group["lr"], group["weight_decay"], group["alpha"], group["eps"]
        if momentum > 0:
            rule = accelerate_by_variance if centered else accelerate_by_square
            return rule, memory, (*numbers, momentum)
        return descend_by_variance if centered else descend_by_square, memory, numbers


def descend_by_square(
    data: Array,
    grad: Array,
    square_avg: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    alpha: float,
    eps: float,
) -> None:
    """Step against the gradient over the root of the mean of its squares."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    root = root_of_square(grad, square_avg, alpha, eps, scratch)
    step = np.divide(grad, root, out=root)
    data -= np.multiply(step, lr, out=step)


def accelerate_by_square(
    data: Array,
    grad: Array,
    square_avg: Array,
    momentum_buffer: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None:
    """Step along a sum of such steps."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    root = root_of_square(grad, square_avg, alpha, eps, scratch)
    momentum_buffer *= momentum
    momentum_buffer += np.divide(grad, root, out=root)
    data -= np.multiply(momentum_buffer, lr, out=root)


def descend_by_variance(
    data: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    alpha: float,
    eps: float,
) -> None:
    """Step against the gradient over the root of its variance."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    root = root_of_variance(grad, square_avg, grad_avg, alpha, eps, scratch)
    step = np.divide(grad, root, out=root)
    data -= np.multiply(step, lr, out=step)


def accelerate_by_variance(
    data: Array,
    grad: Array,
    square_avg: Array,
    grad_avg: Array,
    momentum_buffer: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None:
    """Step along a sum of such steps."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    root = root_of_variance(grad, square_avg, grad_avg, alpha, eps, scratch)
    momentum_buffer *= momentum
    momentum_buffer += np.divide(grad, root, out=root)
    data -= np.multiply(momentum_buffer, lr, out=root)


def root_of_square(
    grad: Array, square_avg: Array, alpha: float, eps: float, scratch: Scratch
) -> Array:
    """Take a gradient into the mean of squares, and return its root."""
    square_avg *= alpha
    square_avg += squared(grad, 1 - alpha, square_avg, scratch)
    root: Array = np.sqrt(square_avg, out=None if grad is scratch else scratch)
    root += eps
    return root


def root_of_variance(
    grad: Array, square_avg: Array, grad_avg: Array, alpha: float, eps: float, scratch: Scratch
) -> Array:
    """Take a gradient into both means, and return the root of the variance."""
    square_avg *= alpha
    square_avg += squared(grad, 1 - alpha, square_avg, scratch)
    grad_avg *= alpha
    grad_avg += scaled(grad, 1 - alpha, grad_avg, scratch)
    root: Array = np.square(grad_avg, out=None if grad is scratch else scratch)
    np.subtract(square_avg, root, out=root)
    np.maximum(root, 0, out=root)  # rounding may have left less
    np.sqrt(root, out=root)
    root += eps
    return root
