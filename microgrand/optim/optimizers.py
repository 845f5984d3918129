"""Optimizers: how the gradients change the parameters.

A training step computes a loss, differentiates it, and lets the optimizer change every parameter
a little to make the loss smaller:

    optimizer.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()

The rules, their names and their defaults are those of ``torch.optim``. Each rule is a function of
arrays, which it changes in place, and of numbers, such as the learning rate of the step.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from . import checks
from .blocks import in_blocks
from .checks import Number

Scratch = Array | None  # with None as its `out`, NumPy makes a new array
#: How one parameter changes: a rule, the arrays that it remembers, and the step's numbers.
Update = tuple[Callable[..., None], tuple[Array, ...], tuple[float, ...]]


class Optimizer(ABC):
    """What all optimizers share: the parameters, the learning rate and the loop over them.

    A subclass says in `update` how one parameter changes.

    Parameters
    ----------
    parameters
        The tensors to change, such as ``model.parameters()``: distinct leaves with
        ``requires_grad=True``.
    lr
        Learning rate, at least 0.
    weight_decay
        Strength of the pull towards zero, at least 0.

    Raises
    ------
    TypeError
        If `parameters` is not an iterable of tensors, or another argument is not a number.
    ValueError
        If there are no parameters, one is given twice, is not a leaf, is read-only or does not
        require a gradient, or if a number is out of its range.
    """

    lr: Any = Number()
    weight_decay: Any = Number()

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parameters = checks.checked_parameters(parameters)
        self.lr = lr
        self.weight_decay = weight_decay

    def zero_grad(self) -> None:
        """Set every parameter's ``grad`` to None, so that `backward` starts again."""
        for parameter in self.parameters:
            parameter._grad = None

    def step(self) -> None:
        """Change every parameter in place according to its gradient.

        A parameter whose ``grad`` is None, or that no longer requires one, stays as it is, and so
        does what the optimizer remembers about it.
        """
        for index, parameter in enumerate(self.parameters):
            grad = parameter._grad
            if grad is not None and parameter._requires_grad:
                rule, memory, numbers = self.update(index)
                # Before the change, which may be interrupted: graphs have saved the values.
                parameter.version += 1
                in_blocks(rule, parameter._array, grad, *memory, numbers=numbers)

    @abstractmethod
    def update(self, index: int) -> Update:
        """Return how ``self.parameters[index]`` changes in this step.

        That is a rule, the arrays that it remembers about the parameter, and this step's numbers.
        The rule is called as ``rule(data, grad, *memory, scratch, *numbers)``, once or for each
        block, and changes `data` and `memory` in place.
        """


def decayed(grad: Array, data: Array, weight_decay: float, scratch: Scratch) -> Array:
    """Return the gradient of the loss plus ``weight_decay / 2 * (data**2).sum()``."""
    total: Array = np.multiply(data, weight_decay, out=scratch)
    total += grad
    return total


def zeros_like(parameters: Iterable[Tensor]) -> list[Array]:
    """Make room for what an optimizer remembers about each parameter.

    At least in float32: averages of squares soon exceed the largest float16, 65504.
    """
    return [
        np.zeros_like(p.data, dtype=np.result_type(p.dtype, np.float32), order="C")
        for p in parameters
    ]


class SGD(Optimizer):
    """Stochastic gradient descent: go against the gradient, with momentum if asked to.

    Each step computes, for every parameter ``data`` with gradient ``grad``::

        grad     = grad + weight_decay * data
        velocity = momentum * velocity + grad          # starts at 0
        data     = data - lr * velocity

    and with ``nesterov=True`` ends with ``data - lr * (grad + momentum * velocity)``, the step
    that the velocity would take next (Sutskever et al. 2013, "On the importance of
    initialization and momentum in deep learning", in PyTorch's form).

    Parameters
    ----------
    parameters
        The tensors to change, such as ``model.parameters()``.
    lr
        Learning rate, at least 0.
    momentum
        How much of the velocity a step keeps, in [0, 1).
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0.
    nesterov
        Use Nesterov's momentum; needs ``momentum > 0``.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`, and if `nesterov` is asked for without momentum.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    array([0.5, 1. ])
    """

    momentum: Any = Number(below=1)

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        *,  # the next positions mean other things in PyTorch
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum = momentum
        checks.check_nesterov(nesterov, momentum)
        self.nesterov = nesterov
        self.velocities: list[Array] = []  # made in the first step with momentum

    def update(self, index: int) -> Update:
        """Return the rule with momentum, or without."""
        if self.momentum == 0:
            return descend, (), (self.lr, self.weight_decay)
        if not self.velocities:
            self.velocities = zeros_like(self.parameters)
        rule = accelerate_ahead if self.nesterov else accelerate
        return rule, (self.velocities[index],), (self.lr, self.weight_decay, self.momentum)


def descend(data: Array, grad: Array, scratch: Scratch, lr: float, weight_decay: float) -> None:
    """Go against the gradient."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    data -= np.multiply(grad, lr, out=scratch)


def accelerate(
    data: Array,
    grad: Array,
    velocity: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Go against a sum of gradients in which older ones count less."""
    velocity *= momentum
    velocity += decayed(grad, data, weight_decay, scratch) if weight_decay else grad
    data -= np.multiply(velocity, lr, out=scratch)


def accelerate_ahead(
    data: Array,
    grad: Array,
    velocity: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Do what `accelerate` does, and the step that the velocity would take next."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    velocity *= momentum
    velocity += grad
    data -= np.multiply(grad, lr, out=scratch)
    data -= np.multiply(velocity, lr * momentum, out=scratch)


class Adam(Optimizer):
    """Adam: steps of about the learning rate for every element, however large its gradient is.

    Each step divides the mean of an element's past gradients by the root of the mean of their
    squares (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1)::

        grad = grad + weight_decay * data
        data = data - lr * mean(grad) / (sqrt(mean(grad**2)) + eps)

    The means are weighted: a gradient that is ``k`` steps old has the weight ``beta1**k`` in
    the first and ``beta2**k`` in the second.

    Parameters
    ----------
    parameters
        The tensors to change, such as ``model.parameters()``.
    lr
        Learning rate, at least 0.
    betas
        Weights of the two means, each in [0, 1): the closer to 1, the longer their memory.
    eps
        Added to the denominator to keep it from 0, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0. Its
        gradient is divided like the rest; `AdamW` decays independently of it.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`, and if `betas` or `eps` are out of their ranges.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import Adam
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adam([weight], lr=0.25)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(6)
    array([0.75, 1.75])
    """

    eps: Any = Number()

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas = checks.checked_betas(betas)
        self.eps = eps
        self.grad_sums = zeros_like(self.parameters)
        self.square_averages = zeros_like(self.parameters)
        self.steps = [0] * len(self.parameters)

    def update(self, index: int) -> Update:
        """Return Adam's rule, with the bias corrections in its numbers."""
        self.steps[index] += 1
        beta1, beta2 = self.betas
        correction = math.sqrt(1 - beta2 ** self.steps[index])
        # A weighted mean is a weighted sum over the sum of its weights, a geometric series:
        #   lr * (grad_sum / weights) / (sqrt(square_average) / correction + eps)
        # = rate * grad_sum / (sqrt(square_average) + eps * correction)   with
        rate = self.lr * correction * (1 - beta1) / (1 - beta1 ** self.steps[index])
        memory = self.grad_sums[index], self.square_averages[index]
        numbers = beta1, beta2, rate, self.eps * correction, *self.decay()
        return adapt, memory, numbers

    def decay(self) -> tuple[float, float]:
        """Return the factor of the penalty in the loss, and that of the data itself."""
        return self.weight_decay, 1.0


def adapt(
    data: Array,
    grad: Array,
    grad_sum: Array,
    square_average: Array,
    scratch: Scratch,
    beta1: float,
    beta2: float,
    rate: float,
    eps: float,
    weight_decay: float,
    shrinkage: float,
) -> None:
    """Step by about the learning rate in every element."""
    if shrinkage != 1:
        data *= shrinkage
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    grad_sum *= beta1
    grad_sum += grad
    square_average *= beta2
    # In the average's dtype, one factor after the other: the square itself may overflow.
    wide = square_average.dtype
    square = np.multiply(grad, 1 - beta2, out=None if grad is scratch else scratch, dtype=wide)
    square_average += np.multiply(square, grad, out=scratch, dtype=wide)
    step = np.sqrt(square_average, out=scratch)
    step += eps
    step = np.divide(grad_sum, step, out=scratch)
    data -= np.multiply(step, rate, out=scratch)


class AdamW(Adam):
    """Adam with decoupled weight decay: the pull towards zero does not pass through Adam.

    Each step first multiplies ``data`` by ``1 - lr * weight_decay``, then does what `Adam` does
    without weight decay (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization").

    Parameters
    ----------
    parameters, lr, betas, eps
        As for `Adam`.
    weight_decay
        Part of each element that a step with ``lr=1`` would take away, at least 0.

    Raises
    ------
    TypeError, ValueError
        As `Adam`.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import AdamW
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = AdamW([weight], lr=0.5, weight_decay=0.5)
    >>> (0 * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    array([0.75, 1.5 ])
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def decay(self) -> tuple[float, float]:
        """Return no penalty in the loss, but a factor of the data itself."""
        return 0.0, 1 - self.lr * self.weight_decay
