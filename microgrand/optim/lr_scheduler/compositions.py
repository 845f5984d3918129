"""Learning rates made of others: one after the other, or all at once."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from .. import checks
from ..optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler


class SequentialLR(LRScheduler):
    """One scheduler after the other.

    Parameters
    ----------
    optimizer
        The schedulers' optimizer.
    schedulers
        A list of schedulers. Do not call their `step`.
    milestones
        The steps at which the second begins, the third, ...; each begins with its own step 0.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not fit each other.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> warm_up = lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> decay = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = lr_scheduler.SequentialLR(optimizer, [warm_up, decay], milestones=[2])
    >>> for _ in range(5):
    ...     print(optimizer.lr)
    ...     scheduler.step()
    0.25
    0.375
    0.5
    0.25
    0.125
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        self.schedulers = checks.checked_schedulers(
            optimizer, schedulers, milestones, LRScheduler, ReduceLROnPlateau
        )
        self.milestones = checks.checked_milestones(milestones)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the learning rate of the scheduler whose turn it is."""
        turn = bisect.bisect_right(self.milestones, step)
        begin = self.milestones[turn - 1] if turn else 0
        scheduler: LRScheduler = self.schedulers[turn]
        return scheduler.rate(step - begin, initial, index)


class ChainedScheduler(LRScheduler):
    """The initial learning rate times the factors of several schedulers.

    Parameters
    ----------
    schedulers
        A list of schedulers of one optimizer that multiply its learning rate: `LambdaLR`,
        `MultiplicativeLR`, `StepLR`, `MultiStepLR`, `ExponentialLR`, `LinearLR`, `ConstantLR`,
        `PolynomialLR`, and `CosineAnnealingLR` with ``eta_min=0``. Do not call their `step`.
    optimizer
        That optimizer; it need not be given.

    Raises
    ------
    TypeError, ValueError
        If a scheduler does something else, or belongs to another optimizer.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=1.0)
    >>> warm_up = lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> decay = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> scheduler = lr_scheduler.ChainedScheduler([warm_up, decay])
    >>> for _ in range(4):
    ...     print(optimizer.lr)
    ...     scheduler.step()
    0.5
    0.25
    0.25
    0.125
    """

    multiplies = True

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        self.schedulers = checks.checked_chain(schedulers, optimizer, LRScheduler)
        super().__init__(self.schedulers[0].optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times all factors."""
        for scheduler in self.schedulers:
            initial = scheduler.rate(step, initial, index)
        return initial

    def values_to_load(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Check a state as `load_state_dict` does; return what it would set."""
        return super().values_to_load(checks.state_of_chain(state))
