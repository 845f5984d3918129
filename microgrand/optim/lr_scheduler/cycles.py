"""Learning rates that go up and down again, while the momentum goes the other way."""

from __future__ import annotations

import bisect
import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ...schedules import half_cosine, straight, value_between
from .. import checks
from ..optimizer import Optimizer
from .scheduler import LRScheduler


class Cycle(LRScheduler):
    """What the cycles share: they set the momentum, or the first of `betas`, too."""

    momentum_option: str  # empty if it stays

    def assign(self) -> None:
        """Set the learning rates and momenta of this step."""
        super().assign()
        for group in self.optimizer.param_groups:
            if self.momentum_option == "betas":
                group["betas"] = (self.momentum(self.last_epoch), group["betas"][1])
            elif self.momentum_option:
                group["momentum"] = self.momentum(self.last_epoch)

    @abstractmethod
    def momentum(self, step: int) -> float:
        """Return the momentum after a number of steps."""


class OneCycleLR(Cycle):
    """Go up to a high learning rate, and down to nearly none, once in the whole training.

    (Smith and Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates".) Meanwhile, the momentum goes down and up. Call `step` after each batch.

    Parameters
    ----------
    optimizer
        The optimizer. Its own learning rate is not used.
    max_lr
        The highest learning rate, or a list with one for each group.
    total_steps
        The number of steps of the whole training; or give `epochs` and `steps_per_epoch`.
    pct_start
        The fraction of the steps spent going up, from 0 to 1.
    anneal_strategy
        ``"cos"`` or ``"linear"``: the way from one value to the next.
    cycle_momentum
        Whether the momentum, or the first of `betas`, is changed, too.
    base_momentum, max_momentum
        The least and the most of it, in [0, 1).
    div_factor, final_div_factor
        The first learning rate is `max_lr` divided by `div_factor`, and the last one that divided
        by `final_div_factor`; above 0.
    three_phase
        First go up and down to the first learning rate in as many steps, and then down to the last.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, or the optimizer has no momentum to change; in `step`,
        after `total_steps` of them.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=11)
    >>> for step in range(11):
    ...     if step % 5 == 0:
    ...         print(f"{optimizer.lr:.4f} {optimizer.momentum:.4f}")
    ...     scheduler.step()
    0.0400 0.9500
    0.7261 0.8774
    0.0000 0.9500
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        checks.check_is_optimizer(self, optimizer, Optimizer)
        self.max_lrs = checks.checked_numbers("max_lr", max_lr, len(optimizer.param_groups))
        self.total_steps = checks.checked_total(total_steps, epochs, steps_per_epoch)
        self.curve = checks.one_of(
            "anneal_strategy", anneal_strategy, {"cos": half_cosine, "linear": straight}
        )
        self.base_momentum = checks.checked_number("base_momentum", base_momentum, 1)
        self.max_momentum = checks.checked_number("max_momentum", max_momentum, 1)
        self.div_factor = checks.checked_factor("div_factor", div_factor)
        self.final_div_factor = checks.checked_factor("final_div_factor", final_div_factor)
        self.momentum_option = checks.option_of_momentum(self, optimizer, cycle_momentum)
        turn = checks.checked_part("pct_start", pct_start) * self.total_steps - 1
        last = self.total_steps - 1
        # The steps at which a learning rate and a momentum are reached, and these.
        first = (0.0, "first", "max_momentum")
        if three_phase:
            peaks = [(turn, "max", "base_momentum"), (2 * turn, "first", "max_momentum")]
        else:
            peaks = [(turn, "max", "base_momentum")]
        self.points = [first, *peaks, (float(last), "last", "max_momentum")]
        super().__init__(optimizer)

    def begin(self) -> None:
        """Note the groups' initial learning rates: those of the cycle."""
        for group, max_lr in zip(self.optimizer.param_groups, self.max_lrs, strict=True):
            group["initial_lr"] = max_lr / self.div_factor

    def assign(self) -> None:
        """Set the learning rates and momenta of this step."""
        checks.check_within(self.last_epoch, self.total_steps)
        super().assign()

    def momentum(self, step: int) -> float:
        """Return the momentum on the way from one point to the next."""
        start, stop, t = self.way(step)
        return value_between(getattr(self, start[2]), getattr(self, stop[2]), t, self.curve)

    def way(self, step: int) -> tuple[Any, Any, float]:
        """Return the last point, the next one, and how far it is in between."""
        reached = [point[0] for point in self.points[1:-1]]
        at = bisect.bisect_left(reached, step)
        start, stop = self.points[at : at + 2]
        return start, stop, (step - start[0]) / (stop[0] - start[0] or 1)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the learning rate on the way from one point to the next."""
        start, stop, t = self.way(step)
        rates = {
            "first": initial,
            "max": self.max_lrs[min(index, len(self.max_lrs) - 1)],
            "last": initial / self.final_div_factor,
        }
        return value_between(rates[start[1]], rates[stop[1]], t, self.curve)


class CyclicLR(Cycle):
    """Go up and down between two learning rates, again and again, in straight lines.

    (Smith 2017, "Cyclical Learning Rates for Training Neural Networks".) Meanwhile, the momentum
    goes down and up. Call `step` after each batch.

    Parameters
    ----------
    optimizer
        The optimizer. Its own learning rate is not used.
    base_lr, max_lr
        The lowest learning rate, and the highest of the first cycle; or lists with one for each
        group.
    step_size_up, step_size_down
        How many steps it takes to go up, and down, at least 1; by default as many down as up.
    mode
        ``"triangular"``: all cycles are equally high. ``"triangular2"``: each is half as high as
        the one before. ``"exp_range"``: the height is multiplied by `gamma` in each step.
    gamma
        That factor.
    scale_fn
        Function that returns the height's factor, in the place of `mode`.
    scale_mode
        What it is given: ``"cycle"``, the number of the cycle, from 1 on, or ``"iterations"``, that
        of the step.
    cycle_momentum
        Whether the momentum, or the first of `betas`, is changed, too.
    base_momentum, max_momentum
        The least and the most of it, in [0, 1).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range, or the optimizer has no momentum to change.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> scheduler = lr_scheduler.CyclicLR(
    ...     optimizer, base_lr=0.25, max_lr=1.25, step_size_up=2, mode="triangular2"
    ... )
    >>> for _ in range(7):
    ...     print(optimizer.lr, round(optimizer.momentum, 3))
    ...     scheduler.step()
    0.25 0.9
    0.75 0.85
    1.25 0.8
    0.75 0.85
    0.25 0.9
    0.5 0.875
    0.75 0.85
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[int], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
    ) -> None:
        checks.check_is_optimizer(self, optimizer, Optimizer)
        groups = len(optimizer.param_groups)
        self.base_lrs = checks.checked_numbers("base_lr", base_lr, groups)
        self.max_lrs = checks.checked_numbers("max_lr", max_lr, groups)
        self.up = checks.checked_count("step_size_up", step_size_up, 1)
        down = step_size_up if step_size_down is None else step_size_down
        self.down = checks.checked_count("step_size_down", down, 1)
        gamma = checks.checked_number("gamma", gamma)
        scales: dict[str, tuple[Callable[[int], float], str]] = {
            "triangular": (whole, "cycle"),
            "triangular2": (halved, "cycle"),
            "exp_range": (functools.partial(pow, gamma), "iterations"),
        }
        if scale_fn is None:
            scale_fn, scale_mode = checks.one_of("mode", mode, scales)
        self.scale = checks.checked_function("scale_fn", scale_fn)
        self.counts_cycles = checks.one_of(
            "scale_mode", scale_mode, {"cycle": True, "iterations": False}
        )
        self.momentum_option = checks.option_of_momentum(self, optimizer, cycle_momentum)
        self.base_momentum = checks.checked_number("base_momentum", base_momentum, 1)
        self.max_momentum = checks.checked_number("max_momentum", max_momentum, 1)
        super().__init__(optimizer)

    def height(self, step: int) -> float:
        """Return where on the way up a step is: 0 is the bottom, 1 the first cycle's top."""
        cycles, place = divmod(step, self.up + self.down)
        part = place / self.up if place <= self.up else 1 - (place - self.up) / self.down
        height: float = part * self.scale(cycles + 1 if self.counts_cycles else step)
        return height

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the learning rate on the way up or down."""
        index = min(index, len(self.base_lrs) - 1)
        lowest, highest = self.base_lrs[index], self.max_lrs[index]
        return lowest + (highest - lowest) * self.height(step)

    def momentum(self, step: int) -> float:
        """Return the momentum on the way down or up."""
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self.height(step)


def whole(cycle: int) -> float:
    """Return the height of a cycle that is as high as the first."""
    return 1.0


def halved(cycle: int) -> float:
    """Return the height of a cycle that is half as high as the one before."""
    return 0.5 ** (cycle - 1)
