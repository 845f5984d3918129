"""Learning rates that are functions of the step."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from ...schedules import half_cosine, straight, value_between
from .. import checks
from ..optimizer import Optimizer
from .scheduler import LRScheduler


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
        If it is not a function, or not one for each group, or returns what is not a factor.

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

    multiplies = True

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


class MultiplicativeLR(LambdaLR):
    """Multiply the learning rate in each step by a function of the step.

    Parameters
    ----------
    optimizer
        The optimizer.
    lr_lambda
        Function of the number of steps, from 1 on, that returns the factor; or a list of them, one
        for each group.

    Raises
    ------
    TypeError, ValueError
        As `LambdaLR` does.

    Notes
    -----
    The function is called once for each step, and again for all steps so far when a run resumes
    from a checkpoint: it should depend on the step alone.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=1.0)
    >>> scheduler = lr_scheduler.MultiplicativeLR(optimizer, lambda step: 1 / step)
    >>> for _ in range(4):
    ...     print(round(optimizer.lr, 4))
    ...     scheduler.step()
    1.0
    1.0
    0.5
    0.1667
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        self.products: dict[int, list[float]] = {}
        super().__init__(optimizer, lr_lambda)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times the product of all factors so far."""
        index = min(index, len(self.lr_lambdas) - 1)
        products = self.products.setdefault(index, [1.0])
        while len(products) <= step:
            products.append(products[-1] * self.lr_lambdas[index](len(products)))
        return initial * products[step]


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

    multiplies = True

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

    multiplies = True

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

    multiplies = True

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

    multiplies = True

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


class ConstantLR(LRScheduler):
    """Multiply the learning rate by a factor until some step.

    Parameters
    ----------
    optimizer
        The optimizer.
    factor
        The factor, from 0 to 1.
    total_iters
        How many steps it holds for, at least 0.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.ConstantLR(optimizer, factor=0.25, total_iters=2)
    >>> [scheduler.rate(step, 1.0) for step in range(4)]
    [0.25, 0.25, 1.0, 1.0]
    """

    multiplies = True

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.factor = checks.checked_part("factor", factor)
        self.total_iters = checks.checked_count("total_iters", total_iters, 0)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate, at first times the factor."""
        return initial * self.factor if step < self.total_iters else initial


class PolynomialLR(LRScheduler):
    """Go down to 0 along a power of the steps that are left.

    Parameters
    ----------
    optimizer
        The optimizer.
    total_iters
        How many steps it takes, at least 1.
    power
        The exponent, at least 0; 1 for a straight line.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.PolynomialLR(optimizer, total_iters=4, power=2)
    >>> [scheduler.rate(step, 1.0) for step in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    multiplies = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = checks.checked_count("total_iters", total_iters, 1)
        self.power = checks.checked_number("power", power)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the initial learning rate times the power."""
        left = max(self.total_iters - step, 0) / self.total_iters
        factor: float = left**self.power
        return initial * factor


class CosineAnnealingLR(LRScheduler):
    """Go down from the initial learning rate along half a cosine, and then up again.

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
        self.multiplies = self.eta_min == 0
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the value of the cosine."""
        t = abs(step / self.T_max - 2 * round(step / (2 * self.T_max)))  # up again after T_max
        return value_between(initial, self.eta_min, t, half_cosine)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Go down along half a cosine, begin at the top again, and so on.

    (Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", eq. 5).
    For a learning rate that falls within epochs, too, call `step` after each batch, and count
    batches.

    Parameters
    ----------
    optimizer
        The optimizer.
    T_0
        How many steps the first way down takes, at least 1.
    T_mult
        By what factor each way down is longer than the one before, at least 1.
    eta_min
        The smallest learning rate, at least 0.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.optim import SGD, lr_scheduler
    >>> optimizer = SGD([Tensor(0.0, requires_grad=True)], lr=0.5)
    >>> scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2, T_mult=2)
    >>> [round(scheduler.rate(step, 1.0), 3) for step in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
    ) -> None:
        self.T_0 = checks.checked_count("T_0", T_0, 1)
        self.T_mult = checks.checked_count("T_mult", T_mult, 1)
        self.eta_min = checks.checked_number("eta_min", eta_min)
        super().__init__(optimizer)

    def rate(self, step: int, initial: float, index: int = 0) -> float:
        """Return the value of the cosine."""
        length = self.T_0
        if self.T_mult == 1:
            step %= length
        while step >= length:
            step, length = step - length, length * self.T_mult
        return value_between(initial, self.eta_min, step / length, half_cosine)
