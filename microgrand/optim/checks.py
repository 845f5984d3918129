"""What optimizers refuse, and what to do instead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

from ..tensor import Tensor


def checked_parameters(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters as a list, if an optimizer can change them all."""
    if isinstance(parameters, Tensor):
        raise TypeError("parameters must be an iterable of tensors, got one Tensor; write [tensor]")
    if callable(getattr(parameters, "parameters", None)):
        raise TypeError(
            "parameters must be an iterable of tensors, got a module of type "
            f"{type(parameters).__name__}; pass module.parameters()"
        )
    if not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be an iterable of tensors, got {type(parameters).__name__}; "
            "pass model.parameters(), with its parentheses, or a list"
        )
    parameters = list(parameters)
    if not parameters:
        raise ValueError(
            "there are no parameters; pass model.parameters() of a model that has some (an "
            "iterator that has been used up is empty, too)"
        )
    first_index: dict[int, int] = {}
    for index, parameter in enumerate(parameters):
        name = f"parameters[{index}]"
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"{name} must be a Tensor, got {type(parameter).__name__}; pass "
                "model.parameters() or a list of tensors with requires_grad=True"
            )
        if not parameter.is_leaf:
            raise ValueError(
                f"{name} must be a leaf, got the result of a computation; compute the initial "
                "values first, then wrap them: Tensor(values, requires_grad=True)"
            )
        if not parameter.requires_grad:
            raise ValueError(
                f"{name} does not require a gradient; create it with requires_grad=True, or "
                "leave it out: [p for p in model.parameters() if p.requires_grad]"
            )
        # Arrays of other libraries need not have this flag.
        if not getattr(parameter.data.flags, "writeable", True):
            raise ValueError(
                f"{name} is read-only and cannot be changed in place; wrap a copy of its array: "
                "Tensor(array.copy(), requires_grad=True)"
            )
        if id(parameter) in first_index:
            raise ValueError(
                f"{name} is the same tensor as parameters[{first_index[id(parameter)]}] and "
                "would be changed twice in each step; pass each tensor once"
            )
        first_index[id(parameter)] = index
    return parameters


def checked_number(name: str, value: float, below: float = math.inf) -> float:
    """Return the number as a Python float, which leaves float32 arrays float32."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}; pass a float")
    if not 0 <= value < below:
        expected = f"in [0, {below})" if below < math.inf else "at least 0 and finite"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return float(value)


class Number:
    """An attribute that is a number of a range, also where it is assigned later.

    It is kept in the instance's own dict, where Python finds it.
    """

    def __init__(self, below: float = math.inf) -> None:
        self.below = below

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: float) -> None:
        vars(instance)[self.name] = checked_number(self.name, value, self.below)


def checked_betas(betas: Any) -> tuple[float, float]:
    """Return Adam's two weights, each in [0, 1)."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"betas must be a pair such as (0.9, 0.999), got {betas!r}")
    return checked_number("betas[0]", betas[0], 1), checked_number("betas[1]", betas[1], 1)


def check_nesterov(nesterov: bool, momentum: float) -> None:
    """Raise if Nesterov's momentum is asked for without momentum."""
    if nesterov and momentum == 0:
        raise ValueError(
            "nesterov=True needs a momentum above 0, got momentum=0; "
            "pass momentum=0.9, say, or leave nesterov out"
        )


def check_rows(index: int, weight: Tensor) -> None:
    """Raise if a tensor has no axis of incoming weights."""
    if weight.ndim < 2:
        raise ValueError(
            f"weights[{index}] has shape {weight.shape}, expected (out, in); leave biases "
            "out: [p for p in model.parameters() if p.ndim > 1]"
        )


def refuse_infinite_norm(index: int) -> None:
    """Raise, as a vector of infinite length has no nearest point."""
    raise ValueError(
        f"weights[{index}] holds an infinity, and has no norm to be shortened; the "
        "training has diverged: take smaller steps, or begin again"
    )
