"""One cycle: up to a high learning rate and down again, once in the whole training."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from ...schedules import half_cosine, straight, value_between
from .. import checks
from ..optimizer import Group, Optimizer
from .scheduler import LRScheduler


class OneCycleLR(LRScheduler):
    """Go up to a high learning rate, and down to nearly none, once in the whole training.

    (Smith and Topin 2018, "Super-Convergence: Very Fast Training of Neural Networks Using Large
    Learning Rates".) Meanwhile, the momentum goes down and up. Call `step` after each batch.

    Parameters
    ----------
    optimizer
        The optimizer. Its own learning rate is of no importance.
    max_lr
        The highest learning rate, or a list with one for each group.
    total_steps
        The number of steps of the whole training; or give `epochs` and `steps_per_epoch`.
    pct_start
        Which part of the steps goes up, from 0 to 1.
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

    Notes
    -----
    For a step that `microgrand.compile` traces, say ``cycle_momentum=False``: a program holds for
    one momentum.

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
        self.momentum_option = checks.option_of_momentum(optimizer, cycle_momentum)
        turn = checks.checked_part("pct_start", pct_start) * self.total_steps - 1
        last = self.total_steps - 1
        # The steps at which something is reached, and what: a learning rate, a momentum.
        first = (0.0, "first", "max_momentum")
        if three_phase:
            peaks = [(turn, "max", "base_momentum"), (2 * turn, "first", "max_momentum")]
        else:
            peaks = [(turn, "max", "base_momentum")]
        self.points = [first, *peaks, (float(last), "last", "max_momentum")]
        super().__init__(optimizer)

    def begin(self) -> None:
        """Note the learning rates that the groups begin with: those of the cycle."""
        for group, max_lr in zip(self.optimizer.param_groups, self.max_lrs, strict=True):
            group["initial_lr"] = max_lr / self.div_factor

    def assign(self) -> None:
        """Set the learning rates and momenta of this step."""
        checks.check_within(self.last_epoch, self.total_steps)
        super().assign()
        for group in self.optimizer.param_groups:
            if self.momentum_option:
                self.assign_momentum(group)

    def assign_momentum(self, group: Group) -> None:
        """Set the momentum of this step."""
        start, stop, t = self.way(self.last_epoch)
        momentum = value_between(getattr(self, start[2]), getattr(self, stop[2]), t, self.curve)
        if self.momentum_option == "betas":
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum

    def way(self, step: int) -> tuple[Any, Any, float]:
        """Return the point left, the point ahead, and the part of the way that is done."""
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
