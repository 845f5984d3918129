"""Schedules: the drop probability as a function of the training step.

    p = schedule(step),    step = 0, 1, 2, ...

Early dropout drops at first and then no more, as the noise helps a net to leave a bad start;
late dropout begins only when there is something to overfit; a curriculum begins without and
makes the task harder by and by. `set_dropout` brings p to the layers of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import numpy as np

from .dropout import RandomDropping
from .functional import drop_probability
from .modules import Module

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
        How many steps it stays at `start` before.

    Returns
    -------
    function
        From the number of steps taken so far to the drop probability.

    Raises
    ------
    TypeError, ValueError
        If `start` or `stop` is no probability, or a number of steps is negative, here or in a
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
    return between(start, stop, steps, delay, lambda t: t)


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
    return between(start, stop, steps, delay, lambda t: (1 - math.cos(math.pi * t)) / 2)


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
    p = drop_probability(p)
    check_steps("steps", steps, 1)
    return lambda step: p * (1 - math.exp(-10 * check_step(step) / steps))


def between(
    start: float, stop: float, steps: int, delay: int, curve: Callable[[float], float]
) -> Schedule:
    """Go from `start` to `stop` along a curve from 0 to 1."""
    start, stop = drop_probability(start), drop_probability(stop)
    check_steps("steps", steps, 0)
    check_steps("delay", delay, 0)

    def schedule(step: float) -> float:
        since = check_step(step) - delay
        if since < 0 or since >= steps:
            return start if since < 0 else stop
        t = curve(since / steps)
        # Rounding must not lead beyond the ends, which may be 0 or 1.
        return min(max((1 - t) * start + t * stop, min(start, stop)), max(start, stop))

    return schedule


def check_steps(name: str, steps: int, least: int) -> None:
    """Raise if `steps` is not a number of steps."""
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)):
        raise TypeError(f"a schedule's {name} is an integer, got {steps!r}")
    if steps < least:
        raise ValueError(f"a schedule's {name} is at least {least}, got {steps}")


def check_step(step: float) -> float:
    """Return `step`, or raise if it is not a number, negative or nan."""
    if not isinstance(step, Real):
        raise TypeError(
            f"a schedule is called with the number of steps taken so far, got {step!r}; for "
            "several steps, [schedule(step) for step in steps]"
        )
    if not step >= 0:
        raise ValueError(f"a schedule is called with the number of steps taken so far, got {step}")
    return step


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
        If there is no layer to set, or `p` is no probability. Then nothing was changed.
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
    if not isinstance(model, Module):
        raise TypeError(f"set_dropout takes a module, got {type(model).__name__}")
    layers = [module for module in model.modules() if isinstance(module, RandomDropping)]
    if not layers:
        raise ValueError(f"set_dropout found no dropout layer in {type(model).__name__}")
    before = [layer.p for layer in layers]
    try:
        for layer in layers:
            layer.p = p
    except (TypeError, ValueError):
        for layer, old in zip(layers, before, strict=True):
            layer.p = old
        raise
