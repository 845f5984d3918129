"""A learning rate that falls where the training makes no progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from .. import checks
from ..optimizer import Optimizer
from .scheduler import LRScheduler


class ReduceLROnPlateau(LRScheduler):
    """Lower the learning rate when a metric has not become better for a while.

    Parameters
    ----------
    optimizer
        The optimizer.
    mode
        ``"min"`` if a smaller metric is better, as of a loss, or ``"max"``.
    factor
        What the learning rate is multiplied by, below 1.
    patience
        How many epochs without progress to wait for.
    threshold, threshold_mode
        What counts as progress: better by this part of the best metric, ``"rel"``, or by this much,
        ``"abs"``.
    cooldown
        How many epochs to ignore after a change.
    min_lr
        The smallest learning rate, or a list with one for each group.
    eps
        Smaller changes of the learning rate are not made.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in [1.0, 0.8, 0.9, 0.9, 0.7]:
    ...     scheduler.step(loss)
    ...     print(optimizer.lr)
    0.5
    0.5
    0.5
    0.25
    0.25
    """

    state: ClassVar = ("last_epoch", "best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        checks.check_is_optimizer(self, optimizer, Optimizer)
        self.sign = checks.one_of("mode", mode, {"min": 1, "max": -1})
        self.factor = checks.checked_number("factor", factor, 1)
        self.patience = checks.checked_count("patience", patience, 0)
        self.threshold = checks.checked_number("threshold", threshold)
        self.is_relative = checks.one_of(
            "threshold_mode", threshold_mode, {"rel": True, "abs": False}
        )
        self.cooldown = checks.checked_count("cooldown", cooldown, 0)
        self.min_lrs = checks.checked_numbers("min_lr", min_lr, len(optimizer.param_groups))
        self.eps = checks.checked_number("eps", eps)
        self.best = self.sign * math.inf
        self.num_bad_epochs = self.cooldown_counter = 0
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the learning rate as it is: the step alone does not tell the next."""
        return self.optimizer.param_groups[index]["lr"]

    def is_better(self, metric: float) -> bool:
        """Tell whether a metric is better than the best one, by the threshold."""
        margin = self.threshold * (self.best if self.is_relative else 1)
        # The worst possible metric is infinite: no fraction of it is added.
        least = self.best if math.isinf(self.best) else self.best - self.sign * margin
        return bool(self.sign * metric < self.sign * least)

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Count an epoch with its metric, and lower the learning rates if it is time.

        Parameters
        ----------
        metrics
            A number.
        """
        metric = checks.checked_metric(metrics)
        self.last_epoch += 1
        if self.is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
            for index, group in enumerate(self.optimizer.param_groups):
                least = self.min_lrs[min(index, len(self.min_lrs) - 1)]
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
