"""Averages of weights over the steps of a training run, under PyTorch's names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from ..nn.module import Buffer, Module
from . import checks

Average = Callable[[Any, Any, Any], Any]


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return the function of an exponential moving average: ``decay`` times the past and the rest.

    Parameters
    ----------
    decay
        Weight of the past, in [0, 1). About the last ``1 / (1 - decay)`` steps count.
    """
    decay = checks.checked_number("decay", decay, 1)
    return lambda averaged, current, number: decay * averaged + (1 - decay) * current


def running_mean(averaged: Any, current: Any, number: Any) -> Any:
    """Return the mean of all that has been averaged so far and the current value."""
    return averaged + (current - averaged) / (number + 1)


class AveragedModel(Module):
    """A copy of a model whose weights are averages over the training, which often predicts better.

    (Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; Izmailov et
    al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization".)

    Parameters
    ----------
    model
        The model; its copy begins with its weights.
    avg_fn
        Function of the averaged value, the current one and the number of updates before, written
        with NumPy; by default the mean of all. `get_ema_avg_fn` makes one that forgets.
    use_buffers
        Whether buffers of floats are averaged, too; by default they stay as they were copied.

    Raises
    ------
    TypeError
        If `model` is not a module, or `avg_fn` no function.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn, optim
    >>> net = nn.Linear(2, 1)
    >>> optimizer = optim.SGD(net.parameters(), lr=0.1)
    >>> ema = optim.swa_utils.AveragedModel(net, optim.swa_utils.get_ema_avg_fn(0.9))
    >>> for x in np.ones((3, 4, 2)):
    ...     optimizer.zero_grad()
    ...     (net(x) ** 2).mean().backward()
    ...     optimizer.step()
    ...     ema.update_parameters(net)
    >>> ema.eval()(np.ones((1, 2))).shape
    (1, 1)
    """

    def __init__(
        self, model: Module, avg_fn: Average | None = None, use_buffers: bool = False
    ) -> None:
        checks.check_can_be_averaged(model, Module, avg_fn)
        self.module = copy.deepcopy(model)
        for parameter in list(self.module.parameters()):
            parameter.grad = None
        self.n_averaged = Buffer(0)
        self.avg_fn = avg_fn or running_mean
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take a model's weights into the averages; the first time, they are its weights.

        Raises
        ------
        ValueError
            If it does not have the same parts.
        """
        ours, theirs = list(self.module.named_parameters()), list(model.named_parameters())
        checks.check_same_parts(ours, theirs)
        pairs: list[Any] = list(zip(ours, theirs, strict=True))
        if self.use_buffers:
            buffers = zip(self.module.named_buffers(), model.named_buffers(), strict=True)
            pairs += [pair for pair in buffers if pair[0][1].dtype.kind == "f"]
        number = self.n_averaged.data
        is_first: Any = np.equal(number, 0)
        for (_, averaged), (_, current) in pairs:
            new = self.avg_fn(averaged.data, current.data, number)
            averaged.data = np.where(is_first, current.data, new).astype(averaged.dtype)
        self.n_averaged.data = number + 1
