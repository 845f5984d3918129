"""Schedules of the learning rate, by PyTorch's names: after each step or epoch, another one.

    lr = scheduler.rate(step, initial_lr),    step = 0, 1, 2, ...

Each is a function of the number of calls of its `step`, so that a run goes on at any of them. Only
`ReduceLROnPlateau` looks at how the training goes.

    for epoch in range(epochs):
        train_one_epoch()
        scheduler.step()
"""

from __future__ import annotations

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from ..schedules import half_cosine, straight, value_between
from . import checks
from .optimizer import Group, Optimizer


class LRScheduler(ABC):
    """What the schedulers share: they set the learning rates of an optimizer's groups.

    A subclass says in `rate` which one follows. The first is set when the scheduler is made.

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
    In a step that `microgrand.compile` has recorded, the learning rate is read at each call. Call
    the scheduler outside of that step: it counts.
    """

    #: The attributes that change from call to call.
    state: ClassVar[tuple[str, ...]] = ("last_epoch",)

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
        """Return the learning rate of a group after so many steps, from its initial one."""

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
        """Go on as the scheduler did whose `state_dict` this is; PyTorch's will do.

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


class LambdaLR(LRScheduler):
    """The initial learning rate times any function of the step.

    Parameters
    ----------
    optimizer
        The optimizer.
    lr_lambda
        Function of the number of steps that returns the factor; or a list of them, one for each
        group. The schedules of dropout, such as `nn.linear_schedule`, are such functions.

    Raises
    ------
    TypeError, ValueError
        If it is not a function, or not one for each group, or returns what is no factor.

    Examples
    --------
    >>> from microgrand import Tensor, nn
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> schedule = nn.linear_schedule(1.0, 0.0, steps=4)
    >>> scheduler = lr_scheduler.LambdaLR(optimizer, schedule)
    >>> for _ in range(3):
    ...     scheduler.step()
    >>> optimizer.lr
    0.125
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        checks.check_is_optimizer(self, optimizer, Optimizer)
        self.lr_lambdas = checks.checked_functions(lr_lambda, len(optimizer.param_groups))
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times the function."""
        factor: float = self.lr_lambdas[min(index, len(self.lr_lambdas) - 1)](step)
        return initial * factor


class StepLR(LRScheduler):
    """Multiply the learning rate by a factor after every `step_size` steps.

    Parameters
    ----------
    optimizer
        The optimizer.
    step_size
        How many steps it takes, at least 1.
    gamma
        The factor.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    >>> [round(scheduler.rate(step, 1.0), 3) for step in (0, 29, 30, 60)]
    [1.0, 1.0, 0.1, 0.01]
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = checks.checked_count("step_size", step_size, 1)
        self.gamma = checks.checked_number("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times a power of the factor."""
        return initial * self.gamma ** (step // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by a factor at each of some steps.

    Parameters
    ----------
    optimizer
        The optimizer.
    milestones
        The numbers of these steps, increasing.
    gamma
        The factor.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[30, 80], gamma=0.5)
    >>> [scheduler.rate(step, 1.0) for step in (29, 30, 79, 80)]
    [1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones = checks.checked_milestones(milestones)
        self.gamma = checks.checked_number("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times a power of the factor."""
        return initial * self.gamma ** bisect.bisect_right(self.milestones, step)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by a factor after every step.

    Parameters
    ----------
    optimizer
        The optimizer.
    gamma
        The factor.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> lr_scheduler.ExponentialLR(optimizer, gamma=0.5).rate(3, 1.0)
    0.125
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = checks.checked_number("gamma", gamma)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times a power of the factor."""
        return initial * self.gamma**step


class LinearLR(LRScheduler):
    """Go from one factor of the initial learning rate to another in a straight line: a warm-up.

    Parameters
    ----------
    optimizer
        The optimizer.
    start_factor, end_factor
        The factors; the first is above 0.
    total_iters
        How many steps it takes, at least 1.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> [scheduler.rate(step, 1.0) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = checks.checked_number("start_factor", start_factor)
        self.end_factor = checks.checked_number("end_factor", end_factor)
        self.total_iters = checks.checked_count("total_iters", total_iters, 1)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times the factor of the step."""
        t = step / self.total_iters
        return initial * value_between(self.start_factor, self.end_factor, t, straight)


class CosineAnnealingLR(LRScheduler):
    """Go down from the initial learning rate along half a cosine, and up again if it goes on.

        eta_min + (initial - eta_min) (1 + cos(pi step / T_max)) / 2

    (Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5,
    without restarts).

    Parameters
    ----------
    optimizer
        The optimizer.
    T_max
        How many steps it takes to go down, at least 1.
    eta_min
        The smallest learning rate, at least 0.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import AdamW, lr_scheduler
    >>> optimizer = AdamW([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    >>> [round(scheduler.rate(step, 1.0), 3) for step in (0, 25, 50, 100)]
    [1.0, 0.854, 0.5, 0.0]

    With a warm-up before:

    >>> optimizer = AdamW([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.SequentialLR(
    ...     optimizer,
    ...     [
    ...         lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10),
    ...         lr_scheduler.CosineAnnealingLR(optimizer, T_max=90),
    ...     ],
    ...     milestones=[10],
    ... )
    >>> [round(scheduler.rate(step, 0.5), 3) for step in (0, 5, 10, 55, 100)]
    [0.05, 0.275, 0.5, 0.25, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803
        eta_min: float = 0.0,
    ) -> None:
        self.T_max = checks.checked_count("T_max", T_max, 1)
        self.eta_min = checks.checked_number("eta_min", eta_min)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the value of the cosine."""
        t = abs(step / self.T_max - 2 * round(step / (2 * self.T_max)))  # up again after T_max
        return value_between(initial, self.eta_min, t, half_cosine)


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
    For a step that `microgrand.compile` records, say ``cycle_momentum=False``: a program holds for
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


class SequentialLR(LRScheduler):
    """One scheduler after the other.

    Parameters
    ----------
    optimizer
        The optimizer, which is that of the schedulers, too.
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
        """Return that of the scheduler whose turn it is."""
        turn = bisect.bisect_right(self.milestones, step)
        begin = self.milestones[turn - 1] if turn else 0
        scheduler: LRScheduler = self.schedulers[turn]
        return scheduler.rate(step - begin, initial, index)


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
        How many epochs without progress are waited for.
    threshold, threshold_mode
        What counts as progress: better by this part of the best metric, ``"rel"``, or by this much,
        ``"abs"``.
    cooldown
        How many epochs after a change are not counted.
    min_lr
        The smallest learning rate, or a list with one for each group.
    eps
        A smaller change of the learning rate is not made.

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
        return self.optimizer.param_groups[index]["lr"]  # type: ignore[no-any-return]

    def is_better(self, metric: float) -> bool:
        """Tell whether a metric is better than the best one, by the threshold."""
        margin = self.threshold * (self.best if self.is_relative else 1)
        # Of the worst possible metric, an infinity, no part is taken.
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
