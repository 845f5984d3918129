"""What all schedulers of the learning rate share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from .. import checks
from ..optimizer import Optimizer


class LRScheduler(ABC):
    """What the schedulers share: they set the learning rates of an optimizer's groups.

    A subclass computes it in `rate`. The first is set when the scheduler is made.

    Parameters
    ----------
    optimizer
        The optimizer. Its groups keep the learning rate that they began with as ``"initial_lr"``.

    Raises
    ------
    TypeError
        If it is not an optimizer.

    Notes
    -----
    In a step that `microgrand.compile` has traced, the learning rate is read at each call. Call
    the scheduler outside of that step: it counts.
    """

    #: The attributes that change from call to call.
    state: ClassVar[tuple[str, ...]] = ("last_epoch",)
    #: Whether `rate` is the initial learning rate times a factor that does not depend on it.
    multiplies: bool = False

    def __init__(self, optimizer: Optimizer) -> None:
        checks.check_is_optimizer(self, optimizer, Optimizer)
        self.optimizer = optimizer
        self.last_epoch = 0
        self.begin()
        self.assign()

    def begin(self) -> None:
        """Note the learning rates that the groups begin with, unless another scheduler has."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def assign(self) -> None:
        """Set the learning rates of this step."""
        for index, group in enumerate(self.optimizer.param_groups):
            initial = group.setdefault("initial_lr", group["lr"])  # of one that was added later
            group["lr"] = self.rate(self.last_epoch, initial, index)

    @abstractmethod
    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the learning rate of a group after a number of steps, from its initial one."""

    def step(self) -> None:
        """Count a step, and set the learning rates of the next."""
        self.last_epoch += 1
        self.assign()

    def get_last_lr(self) -> list[float]:
        """Return the learning rates of the groups."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return what changes from call to call; the learning rates are in the optimizer's state.

        Examples
        --------
        >>> from microgrand import Tensor
        >>> from microgrand.optim import SGD, lr_scheduler
        >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
        >>> scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> scheduler.step()
        >>> scheduler.state_dict(), scheduler.get_last_lr()
        ({'last_epoch': 1}, [0.25])
        """
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue as the scheduler whose `state_dict` this is; PyTorch's will do.

        Raises
        ------
        TypeError, ValueError
            If it is not one. Then nothing was changed.
        """
        self.write_values(self.values_to_load(state))

    def values_to_load(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Check a state as `load_state_dict` does; return what it would set."""
        return checks.checked_scheduler_state(self, state)

    def write_values(self, values: Mapping[str, Any]) -> None:
        """Set what `values_to_load` has returned, which cannot fail."""
        vars(self).update(values)
