"""Schedules: the drop probability as a function of the training step.

    p = schedule(step),    step = 0, 1, 2, ...

Early dropout drops only at first: its noise helps a net to leave a bad start. Late dropout begins
when there is something to overfit. A curriculum begins without dropout, and makes the task
gradually harder. `set_dropout` sets p on every dropout layer of a model. Any of these functions may
give a factor of the learning rate, too, in `optim.lr_scheduler.LambdaLR`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ...schedules import Curve, half_cosine, straight, value_between
from .. import checks
from ..module import Module
from .layers import DropoutBase

Schedule = Callable[[float], float]


def linear_schedule(start: float, stop: float, steps: int, delay: int = 0) -> Schedule:
    """Go from one drop probability to another in a straight line.

    Parameters
    ----------
    start, stop
        Drop probabilities, from 0 to 1.
    steps
        How many steps it takes from `start` to `stop`, where it then stays. With 0 it jumps.
    delay
        How many steps it stays at `start` first.

    Returns
    -------
    function
        From the number of steps taken so far to the drop probability.

    Raises
    ------
    TypeError, ValueError
        If `start` or `stop` is not a probability, or a number of steps is negative, here or in a
        call of the schedule.

    References
    ----------
    Liu, Xu, Jin, Shen, Darrell, "Dropout Reduces Underfitting", ICML 2023: early and late dropout.

    Examples
    --------
    >>> from microgrand import nn
    >>> early = nn.linear_schedule(0.4, 0.0, steps=4)
    >>> [f"{early(step):.1f}" for step in range(6)]
    ['0.4', '0.3', '0.2', '0.1', '0.0', '0.0']
    >>> late = nn.linear_schedule(0.0, 0.4, steps=0, delay=3)
    >>> [late(step) for step in range(6)]
    [0.0, 0.0, 0.0, 0.4, 0.4, 0.4]
    """
    return between(start, stop, steps, delay, straight)


def cosine_schedule(start: float, stop: float, steps: int, delay: int = 0) -> Schedule:
    """Go from one drop probability to another along half a cosine: slowly, fast, slowly.

    The parameters are those of `linear_schedule`.

    Examples
    --------
    >>> from microgrand import nn
    >>> schedule = nn.cosine_schedule(0.0, 0.5, steps=4)
    >>> [f"{schedule(step):.2f}" for step in range(6)]
    ['0.00', '0.07', '0.25', '0.43', '0.50', '0.50']
    """
    return between(start, stop, steps, delay, half_cosine)


def curriculum_schedule(p: float, steps: int) -> Schedule:
    """Begin without dropout, and approach the drop probability `p`: fast at first, then slowly.

        p (1 - exp(-10 step / steps)),

    which is within 1 % of `p` after about half of the steps.

    Parameters
    ----------
    p
        Drop probability, from 0 to 1.
    steps
        The length of the whole training, at least 1.

    References
    ----------
    Morerio, Cavazza, Volpi, Vidal, Murino, "Curriculum Dropout", ICCV 2017.

    Examples
    --------
    >>> from microgrand import nn
    >>> schedule = nn.curriculum_schedule(0.5, steps=100)
    >>> [f"{schedule(step):.3f}" for step in (0, 10, 20, 50, 100)]
    ['0.000', '0.316', '0.432', '0.497', '0.500']
    """
    p = checks.probability(p)
    steps = checks.integer("a schedule's steps", steps, 1)
    return lambda step: p * (1 - math.exp(-10 * checks.check_step(step) / steps))


def between(start: float, stop: float, steps: int, delay: int, curve: Curve) -> Schedule:
    """Go from `start` to `stop` along a curve from 0 to 1."""
    start, stop = checks.probability(start), checks.probability(stop)
    steps = checks.integer("a schedule's steps", steps, 0)
    delay = checks.integer("a schedule's delay", delay, 0)

    def schedule(step: float) -> float:
        since = checks.check_step(step) - delay
        if since < 0 or since >= steps:
            return start if since < 0 else stop
        return value_between(start, stop, since / steps, curve)

    return schedule


def set_dropout(model: Module, p: float) -> None:
    """Set the drop probability of all dropout layers of a model.

    Parameters
    ----------
    model
        A module; to set a part of it only, give that part.
    p
        Drop probability, from 0 to 1.

    Raises
    ------
    ValueError
        If there is no layer to set, or `p` is not a probability. Then nothing was changed.
    TypeError
        If `model` is not a module.

    Examples
    --------
    >>> from microgrand import nn
    >>> net = nn.Sequential(nn.Dropout2d(0.5), nn.Linear(2, 2), nn.DropConnect(2, 2))
    >>> schedule = nn.linear_schedule(0.5, 0.0, steps=100)
    >>> nn.set_dropout(net, schedule(50))
    >>> net[0], net[2].p
    (Dropout2d(p=0.25), 0.25)
    """
    layers = []
    if isinstance(model, Module):
        layers = [module for module in model.modules() if isinstance(module, DropoutBase)]
    checks.check_has_dropout(model, layers, Module)
    before = [layer.p for layer in layers]
    try:
        for layer in layers:
            layer.p = p
    except (TypeError, ValueError):
        for layer, old in zip(layers, before, strict=True):
            layer.p = old
        raise
