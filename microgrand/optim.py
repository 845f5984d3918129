"""Optimizers: how the gradients change the parameters.

A training step computes a loss, differentiates it, and lets the optimizer change every parameter
a little, such that the loss becomes smaller:

    optimizer.zero_grad()
    loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()

The rules, their names and their defaults are those of ``torch.optim``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from .tensor import Tensor

Array = npt.NDArray[Any]
Scratch = Array | None  # with None as its `out`, NumPy makes a new array
#: Changes the elements of a parameter, or a block of them: ``rule(data, grad, *memory, scratch)``.
Rule = Callable[..., None]

# Large parameters are updated in blocks of up to 2 MiB, whose operands stay in the cache from one
# NumPy call to the next. Measured with a cache of 32 MiB and a float32 weight of 4096x4096: Adam
# takes 24 ms instead of 64 ms, SGD with momentum 10 ms instead of 21 ms. In blocks of 128 KiB they
# take 29 and 14 ms, as there are more calls.
_BLOCK_BYTES = 1 << 21


class Optimizer(ABC):
    """What all optimizers share: the parameters, the learning rate and the loop over them.

    A subclass says in ``_rule`` how one parameter changes.

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

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        self.parameters = _checked_parameters(parameters)
        self.lr = lr
        self.weight_decay = _checked_number("weight_decay", weight_decay)

    @property
    def lr(self) -> float:
        """Learning rate; assign to it between steps for a schedule."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = _checked_number("lr", lr)

    def zero_grad(self) -> None:
        """Set every parameter's ``grad`` to None, for `backward` to start anew."""
        for parameter in self.parameters:
            parameter.gradient = None

    def step(self) -> None:
        """Change every parameter in place according to its gradient.

        A parameter whose ``grad`` is None, or that no longer requires one, stays as it is, and so
        does what the optimizer remembers about it.
        """
        for index, parameter in enumerate(self.parameters):
            data, grad = parameter.value, parameter.gradient
            if grad is None or not parameter.tracked:
                continue
            rule, memory = self._rule(index)
            if data.nbytes <= _BLOCK_BYTES:
                # Without scratch space, as NumPy makes a small array faster than we can.
                rule(data, grad, *memory, None)
            else:
                _apply_in_blocks(rule, data, grad, *memory)
            parameter.version += 1  # tells graphs that have saved the values

    @abstractmethod
    def _rule(self, index: int) -> tuple[Rule, tuple[Array, ...]]:
        """Return how ``self.parameters[index]`` changes in this step, and what is remembered of it.

        Called once in each step in which that parameter has a gradient. The function is then called
        as ``rule(data, grad, *memory, scratch)``, once or for each block, and changes `data` and
        `memory` in place.
        """

    def _decay(self, data: Array, grad: Array, scratch: Scratch) -> Array:
        """Return the gradient of the loss plus ``weight_decay / 2 * (data**2).sum()``.

        Called only if there is weight decay.
        """
        decayed = np.multiply(data, self.weight_decay, out=scratch)
        decayed += grad
        return decayed


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
        self.momentum = _checked_number("momentum", momentum, below=1)
        if nesterov and momentum == 0:
            raise ValueError(
                "nesterov=True needs a momentum above 0, got momentum=0; "
                "pass momentum=0.9, say, or leave nesterov out"
            )
        self.nesterov = nesterov
        self.velocities: list[Array] = []  # made in the first step with momentum

    def _rule(self, index: int) -> tuple[Rule, tuple[Array, ...]]:
        if self.momentum == 0:
            return self._descend, ()
        if not self.velocities:
            self.velocities = _zeros_like(self.parameters)
        return self._accelerate, (self.velocities[index],)

    def _descend(self, data: Array, grad: Array, scratch: Scratch) -> None:
        if self.weight_decay:
            grad = self._decay(data, grad, scratch)
        data -= np.multiply(grad, self.lr, out=scratch)

    def _accelerate(self, data: Array, grad: Array, velocity: Array, scratch: Scratch) -> None:
        if self.weight_decay:
            grad = self._decay(data, grad, scratch)
        velocity *= self.momentum
        velocity += grad
        if self.nesterov:
            data -= np.multiply(grad, self.lr, out=scratch)
            data -= np.multiply(velocity, self.lr * self.momentum, out=scratch)
        else:
            data -= np.multiply(velocity, self.lr, out=scratch)


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

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be a pair such as (0.9, 0.999), got {betas!r}")
        self.betas = (
            _checked_number("betas[0]", betas[0], below=1),
            _checked_number("betas[1]", betas[1], below=1),
        )
        self.eps = _checked_number("eps", eps)
        self.grad_sums = _zeros_like(self.parameters)
        self.square_sums = _zeros_like(self.parameters)
        self.steps = [0] * len(self.parameters)

    def _rule(self, index: int) -> tuple[Rule, tuple[Array, ...]]:
        self.steps[index] += 1
        beta1, beta2 = self.betas
        # A weighted mean is a weighted sum over the sum of its weights, a geometric series.
        # (The paper's "bias correction" is the same division. It keeps averages that start at 0;
        # sums save 3 of 13 passes over the data and a tenth of the time.)
        weights1 = (1 - beta1 ** self.steps[index]) / (1 - beta1)
        weights2 = (1 - beta2 ** self.steps[index]) / (1 - beta2)
        #   lr * (grad_sum / weights1) / (sqrt(square_sum / weights2) + eps)
        # = rate * grad_sum / (sqrt(square_sum) + scaled_eps)   with
        rate = self.lr * math.sqrt(weights2) / weights1
        scaled_eps = self.eps * math.sqrt(weights2)
        memory = self.grad_sums[index], self.square_sums[index]
        return partial(self._adapt, rate, scaled_eps), memory

    def _adapt(
        self,
        rate: float,
        scaled_eps: float,
        data: Array,
        grad: Array,
        grad_sum: Array,
        square_sum: Array,
        scratch: Scratch,
    ) -> None:
        beta1, beta2 = self.betas
        if self.weight_decay:
            grad = self._decay(data, grad, scratch)
        grad_sum *= beta1
        grad_sum += grad
        square_sum *= beta2
        # The square of a float16 may be beyond its range, hence the dtype.
        square_sum += np.multiply(grad, grad, out=scratch, dtype=square_sum.dtype)
        step = np.sqrt(square_sum, out=scratch)
        step += scaled_eps
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

    def _decay(self, data: Array, grad: Array, scratch: Scratch) -> Array:
        """Shrink `data` itself and leave the gradient as it is."""
        data *= 1 - self.lr * self.weight_decay
        return grad


# --------------------------------------------------------------------------- blocks of arrays


def _zeros_like(parameters: Iterable[Tensor]) -> list[Array]:
    """Make room for what an optimizer remembers about each parameter.

    At least in float32: sums of squares would soon be beyond the largest float16, 65504.
    """
    return [
        np.zeros_like(p.data, dtype=np.result_type(p.dtype, np.float32), order="C")
        for p in parameters
    ]


def _apply_in_blocks(rule: Rule, data: Array, *others: Array) -> None:
    """Apply a rule to matching blocks of arrays of one shape, with scratch space.

    What is written into the blocks of `data` ends up in `data`. For the others this is only
    certain where they are contiguous.

    All in one thread: with two, Adam alone would take 0.65 of the time, but a training step 8 %
    longer, as the thread that OpenBLAS keeps waiting for the next product has the other core.
    """
    # Views of contiguous arrays, copies of others.
    flat = [array.reshape(-1) for array in (data, *others)]
    length = _BLOCK_BYTES // data.itemsize
    scratch = np.empty_like(flat[0][:length], dtype=np.result_type(*flat))
    for start in range(0, data.size, length):
        blocks = [array[start : start + length] for array in flat]
        rule(*blocks, scratch[: blocks[0].size])
    if not data.flags.c_contiguous:
        data[...] = flat[0].reshape(data.shape)


# -------------------------------------------------------------------------------- constraints


def project_max_norm(weights: Iterable[Tensor], max_norm: float) -> None:
    """Shorten each unit's incoming weights to a Euclidean norm of at most `max_norm`, in place.

    The max-norm constraint: after a step, a vector of weights that has become too long is taken
    back to the nearest one that is allowed, which has its direction. However large the learning
    rate, the weights cannot grow without bound (Srivastava et al. 2014, "Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting", section 5.1; there, 3 to 4 was best for dropout
    nets on MNIST).

    Parameters
    ----------
    weights
        Tensors of shape ``(out, in)``, with a row for each unit, as `nn.Linear` has, or
        ``(out, ...)``, as for a convolution; leaves with ``requires_grad=True``. A bias is not
        among a unit's incoming weights.
    max_norm
        The largest norm allowed, at least 0. Vectors that are not longer stay as they are, to
        the last bit, and so do those that hold ``nan``.

    Raises
    ------
    TypeError
        If `weights` is not an iterable of tensors, or `max_norm` is not a number.
    ValueError
        If a tensor has no axis of incoming weights or cannot be changed, if a vector without
        ``nan`` holds an infinity, which has no nearest point, or `max_norm` is out of its range.
        Then nothing has been changed.

    Examples
    --------
    >>> from microgrand import nn
    >>> from microgrand.optim import project_max_norm
    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data[:] = [[3.0, 4.0], [0.6, 0.8]]  # of norm 5 and 1
    >>> project_max_norm([layer.weight], max_norm=2)
    >>> layer.weight.data
    array([[1.2, 1.6],
           [0.6, 0.8]], dtype=float32)
    """
    max_norm = _checked_number("max_norm", max_norm)
    weights = _checked_parameters(weights)
    for index, weight in enumerate(weights):
        if weight.ndim < 2:
            raise ValueError(
                f"weights[{index}] has shape {weight.shape}, expected (out, in); leave biases "
                "out: [p for p in model.parameters() if p.ndim > 1]"
            )
    largest = []
    for index, weight in enumerate(weights):
        incoming = tuple(range(1, weight.ndim))
        largest.append(np.max(np.abs(weight.data), axis=incoming, keepdims=True, initial=0))
        if np.isinf(largest[-1]).any():
            raise ValueError(
                f"weights[{index}] holds an infinity, and has no norm to be shortened; the "
                "training has diverged: take smaller steps, or begin anew"
            )
    for weight, most in zip(weights, largest, strict=True):
        data, incoming = weight.data, tuple(range(1, weight.ndim))
        # In float64, with the largest of each row scaled to between 1/2 and 1, as squares are
        # soon beyond the range of their dtype. By a power of 2, so that nothing is rounded.
        wide = np.result_type(data.dtype, np.float64)
        exponents = np.frexp(np.where(np.isnan(most), 0, most))[1]
        exponents = np.maximum(exponents, np.finfo(wide).minexp)  # or the scale would be infinite
        scale = np.ldexp(wide.type(1), -exponents)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaled = np.multiply(data, scale, dtype=wide)
            norms = np.sqrt(np.square(scaled).sum(axis=incoming, keepdims=True))
            too_long = norms > max_norm * scale
            if too_long.any():
                scaled *= np.divide(max_norm, norms, out=np.ones_like(norms), where=too_long)
                data[...] = np.where(too_long, scaled, data)
                weight.version += 1  # tells graphs that have saved the values


# ----------------------------------------------------------------------------------- misuse


def _checked_parameters(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters as a list, if an optimizer can change them all."""
    if isinstance(parameters, Tensor):
        raise TypeError("parameters must be an iterable of tensors, got one Tensor; write [tensor]")
    if callable(getattr(parameters, "parameters", None)):
        raise TypeError(
            "parameters must be an iterable of tensors, got a module of type "
            f"{type(parameters).__name__}; pass module.parameters()"
        )
    if not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be an iterable of tensors, got {type(parameters).__name__}; "
            "pass model.parameters(), with its parentheses, or a list"
        )
    parameters = list(parameters)
    if not parameters:
        raise ValueError(
            "there are no parameters; pass model.parameters() of a model that has some (an "
            "iterator that has been used up is empty, too)"
        )
    first_index: dict[int, int] = {}
    for index, parameter in enumerate(parameters):
        name = f"parameters[{index}]"
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"{name} must be a Tensor, got {type(parameter).__name__}; pass "
                "model.parameters() or a list of tensors with requires_grad=True"
            )
        if not parameter.is_leaf:
            raise ValueError(
                f"{name} must be a leaf, got the result of a computation; compute the initial "
                "values first, then wrap them: Tensor(values, requires_grad=True)"
            )
        if not parameter.requires_grad:
            raise ValueError(
                f"{name} does not require a gradient; create it with requires_grad=True, or "
                "leave it out: [p for p in model.parameters() if p.requires_grad]"
            )
        # Arrays of other libraries need not have this flag.
        if not getattr(parameter.data.flags, "writeable", True):
            raise ValueError(
                f"{name} is read-only and cannot be changed in place; wrap a copy of its array: "
                "Tensor(array.copy(), requires_grad=True)"
            )
        if id(parameter) in first_index:
            raise ValueError(
                f"{name} is the same tensor as parameters[{first_index[id(parameter)]}] and "
                "would be changed twice in each step; pass each tensor once"
            )
        first_index[id(parameter)] = index
    return parameters


def _checked_number(name: str, value: float, below: float = math.inf) -> float:
    """Return the number as a Python float, which leaves float32 arrays float32."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}; pass a float")
    if not 0 <= value < below:
        expected = f"in [0, {below})" if below < math.inf else "at least 0 and finite"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return float(value)
