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
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from .optimizer import Optimizer, Option, Scratch, Update, decayed, scaled, squared


class SGD(Optimizer):
    """Stochastic gradient descent: go against the gradient, with momentum if asked to.

    Each step computes, for every parameter ``data`` with gradient ``grad``::

        grad     = grad + weight_decay * data
        velocity = momentum * velocity + (1 - dampening) * grad
        data     = data - lr * velocity

    The velocity begins as the first gradient, whole. With ``nesterov=True``, a step ends with
    ``data - lr * (grad + momentum * velocity)``, the step that the velocity would take next
    (Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning",
    in PyTorch's form).

    Parameters
    ----------
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0.
    momentum
        How much of the velocity a step keeps, in [0, 1).
    dampening
        How much of a gradient the velocity does not take, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0.
    nesterov
        Use Nesterov's momentum; needs ``momentum > 0``, and no dampening.
    maximize
        Go up the gradients instead of down.

    Raises
    ------
    TypeError, ValueError
        As `Optimizer`, and if `nesterov` is asked for without momentum, or with dampening.

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

    momentum: Any = Option()
    dampening: Any = Option()
    nesterov: Any = Option()
    remembers: ClassVar = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what `Optimizer.state_dict` does, without velocities that have not begun."""
        state = super().state_dict()
        state["state"] = {i: entry for i, entry in state["state"].items() if self.steps[i]}
        return state

    def update(self, index: int) -> Update:
        """Return the rule with momentum, or without."""
        group = self.group_of[index]
        lr, weight_decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
        if momentum == 0:
            return descend, (), (lr, weight_decay)
        if "momentum_buffer" not in self.memory:
            self.remember("momentum_buffer")
        memory, numbers = (self.memory["momentum_buffer"][index],), (lr, weight_decay, momentum)
        has_begun, self.steps[index] = self.steps[index], 1
        if has_begun and group["dampening"]:
            return accelerate_damped, memory, (*numbers, 1 - group["dampening"])
        return accelerate_ahead if group["nesterov"] else accelerate, memory, numbers


def descend(data: Array, grad: Array, scratch: Scratch, lr: float, weight_decay: float) -> None:
    """Go against the gradient."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    data -= np.multiply(grad, lr, out=scratch)


def accelerate(
    data: Array,
    grad: Array,
    momentum_buffer: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Go against a sum of gradients in which older ones count less."""
    momentum_buffer *= momentum
    momentum_buffer += decayed(grad, data, weight_decay, scratch) if weight_decay else grad
    data -= np.multiply(momentum_buffer, lr, out=scratch)


def accelerate_damped(
    data: Array,
    grad: Array,
    momentum_buffer: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    momentum: float,
    share: float,
) -> None:
    """Do what `accelerate` does, with a share of the gradient."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    momentum_buffer *= momentum
    momentum_buffer += scaled(grad, share, momentum_buffer, scratch)
    data -= np.multiply(momentum_buffer, lr, out=scratch)


def accelerate_ahead(
    data: Array,
    grad: Array,
    momentum_buffer: Array,
    scratch: Scratch,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Do what `accelerate` does, and the step that the velocity would take next."""
    if weight_decay:
        grad = decayed(grad, data, weight_decay, scratch)
    momentum_buffer *= momentum
    momentum_buffer += grad
    data -= np.multiply(grad, lr, out=scratch)
    data -= np.multiply(momentum_buffer, lr * momentum, out=scratch)


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
    params
        The tensors to change, such as ``model.parameters()``, or groups of them, as `Optimizer`.
    lr
        Learning rate, at least 0.
    betas
        Weights of the two means, each in [0, 1): the closer to 1, the longer their memory.
    eps
        Added to the denominator to keep it from 0, at least 0.
    weight_decay
        Factor of the L2 penalty ``weight_decay / 2 * (data**2).sum()``, at least 0. Its
        gradient is divided like the rest; `AdamW` decays independently of it.
    amsgrad
        Divide by the root of the largest mean of squares so far, so that steps never grow by a
        mean that falls (Reddi, Kale, Kumar 2018, "On the Convergence of Adam and Beyond").
    maximize
        Go up the gradients instead of down.

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

    betas: Any = Option()
    eps: Any = Option()
    amsgrad: Any = Option()
    remembers: ClassVar = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            maximize=maximize,
        )
        self.remember("exp_avg", "exp_avg_sq")

    def update(self, index: int) -> Update:
        """Return Adam's rule, with the bias corrections in its numbers."""
        group = self.group_of[index]
        self.steps[index] += 1
        beta1, beta2 = group["betas"]
        correction = math.sqrt(1 - beta2 ** self.steps[index])
        # The averages begin at 0; divided by the sum of their weights, they are means:
        #   lr * (exp_avg / weights) / (sqrt(exp_avg_sq) / correction + eps)
        # = rate * exp_avg / (sqrt(exp_avg_sq) + eps * correction)   with
        rate = group["lr"] * correction / (1 - beta1 ** self.steps[index])
        memory = self.memory["exp_avg"][index], self.memory["exp_avg_sq"][index]
        decay = self.decay(group["lr"], group["weight_decay"])
        numbers = beta1, beta2, rate, group["eps"] * correction, *decay
        if not group["amsgrad"]:
            return adapt, memory, numbers
        if "max_exp_avg_sq" not in self.memory:
            self.remember("max_exp_avg_sq")
        return adapt_to_largest, (*memory, self.memory["max_exp_avg_sq"][index]), numbers

    def decay(self, lr: float, weight_decay: float) -> tuple[float, float]:
        """Return the factor of the penalty in the loss, and that of the data itself."""
        return weight_decay, 1.0


def adapt(
    data: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    scratch: Scratch,
    beta1: float,
    beta2: float,
    rate: float,
    eps: float,
    weight_decay: float,
    shrinkage: float,
) -> None:
    """Step by about the learning rate in every element."""
    grad = shrunk_or_decayed(grad, data, weight_decay, shrinkage, scratch)
    average(grad, exp_avg, exp_avg_sq, beta1, beta2, scratch)
    step_over_root(data, exp_avg, exp_avg_sq, rate, eps, scratch)


def adapt_to_largest(
    data: Array,
    grad: Array,
    exp_avg: Array,
    exp_avg_sq: Array,
    max_exp_avg_sq: Array,
    scratch: Scratch,
    beta1: float,
    beta2: float,
    rate: float,
    eps: float,
    weight_decay: float,
    shrinkage: float,
) -> None:
    """Do what `adapt` does, with the largest mean of squares so far."""
    grad = shrunk_or_decayed(grad, data, weight_decay, shrinkage, scratch)
    average(grad, exp_avg, exp_avg_sq, beta1, beta2, scratch)
    np.maximum(max_exp_avg_sq, exp_avg_sq, out=max_exp_avg_sq)
    step_over_root(data, exp_avg, max_exp_avg_sq, rate, eps, scratch)


def shrunk_or_decayed(
    grad: Array, data: Array, weight_decay: float, shrinkage: float, scratch: Scratch
) -> Array:
    """Multiply the data by a factor, and return the gradient with that of the penalty."""
    if shrinkage != 1:
        data *= shrinkage
    return decayed(grad, data, weight_decay, scratch) if weight_decay else grad


def average(
    grad: Array, exp_avg: Array, exp_avg_sq: Array, beta1: float, beta2: float, scratch: Scratch
) -> None:
    """Take a gradient into the mean of all, and its square into that of the squares."""
    exp_avg *= beta1
    exp_avg += scaled(grad, 1 - beta1, exp_avg, scratch)
    exp_avg_sq *= beta2
    exp_avg_sq += squared(grad, 1 - beta2, exp_avg_sq, scratch)


def step_over_root(
    data: Array, exp_avg: Array, exp_avg_sq: Array, rate: float, eps: float, scratch: Scratch
) -> None:
    """Step along the mean, divided by the root of that of the squares."""
    step = np.sqrt(exp_avg_sq, out=scratch)
    step += eps
    step = np.divide(exp_avg, step, out=scratch)
    data -= np.multiply(step, rate, out=scratch)


class AdamW(Adam):
    """Adam with decoupled weight decay: the pull towards zero does not pass through Adam.

    Each step first multiplies ``data`` by ``1 - lr * weight_decay``, then does what `Adam` does
    without weight decay (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization").

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
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

    always: ClassVar = {"decoupled_weight_decay": True}

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def decay(self, lr: float, weight_decay: float) -> tuple[float, float]:
        """Return no penalty in the loss, but a factor of the data itself."""
        return 0.0, 1 - lr * weight_decay
