"""The numbers of optimizers, which Python computes: each run asks for them again.

While a function is recorded, it is found which of the numbers that `update` returns are options, on
which rules may branch; a program asks for the others. Before a run, a copy of the optimizer
is asked where they will lead.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from ..optim.optimizer import Optimizer
from .calls import Deviation, Variable, mapped
from .libraries import in_library
from .recording import is_recorded
from .slots import Slot

#: What schedulers change beside the learning rate.
CYCLED = ("momentum", "betas")


class HostNumbers:
    """Asks an optimizer for this step's numbers, which Python computes."""

    def __init__(self, optimizer: Optimizer, index: int) -> None:
        self.optimizer = optimizer
        self.index = index

    def __call__(self) -> tuple[float, ...]:
        """Ask; the optimizer counts its steps."""
        return self.optimizer.update(self.index)[2]


def contents_of(optimizer: Optimizer) -> dict[tuple[int, Any], Any]:
    """Return an optimizer's own Python numbers, also those in lists."""
    return {(id(slot.holder), slot.key): slot.get() for slot in own_numbers(optimizer)}


def own_numbers(optimizer: Optimizer) -> list[Slot]:
    """List the slots of an optimizer's own Python numbers, also those in lists."""
    attributes = vars(optimizer)
    found: list[Slot] = []
    for key, value in attributes.items():
        if isinstance(value, list):
            found += [Slot(value, i, "") for i, x in enumerate(value) if type(x) in (int, float)]
        elif type(value) in (int, float):
            found.append(Slot(attributes, key, ""))
    return found


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the dicts in which an optimizer keeps numbers."""
    return [vars(optimizer), optimizer.defaults, *optimizer.param_groups]


@contextlib.contextmanager
def own_objects(optimizer: Optimizer) -> Iterator[set[int]]:
    """Make each float among an optimizer's options an object that no other number is.

    Python makes one object of all 0.0 in a file, so a number might be taken for an option.
    """
    floats = [
        (holder, key, value)
        for holder in options_of(optimizer)
        for key, value in holder.items()
        if type(value) is float
    ]
    for holder, key, value in floats:
        holder[key] = value * 1.0
    try:
        yield {id(x) for holder in options_of(optimizer) for x in holder.values()}
    finally:
        for holder, key, value in floats:
            if holder[key] == value or value != value:
                holder[key] = value


def known_or_asked(options: set[int], number: Any, asked: Any) -> Any:
    """Return an option as it is, for rules branch on it; any other number as runs are told it.

    A number may by chance be the object that an option is, such as False: runs compare these.
    """
    asked = asked.allowed()
    is_option = id(number) in options
    is_certain = is_recorded(number) or type(number) is float
    return number if is_option and (is_certain or asked == number) else asked


class Probe:
    """Asks a copy of an optimizer whether its numbers will lead where they have led."""

    def __init__(self, probes: Any) -> None:
        self.probes = probes
        asked = [call.function for _, needed in probes for call in needed]
        optimizers = {x.optimizer: None for x in asked if isinstance(x, HostNumbers)}
        #: Where their numbers stand.
        self.places = [
            (holder, key)
            for optimizer in optimizers
            for holder in options_of(optimizer)
            for key, x in holder.items()
            if type(x) in (float, tuple)
        ]
        #: Those whose rules may take another way at some step; the library's own do not.
        self.counting = [
            optimizer for optimizer in optimizers if not in_library(type(optimizer).update)
        ]
        self.before: Any = None

    def __call__(self) -> bool:
        """Ask, if numbers of an optimizer have changed since the last time."""
        now = [holder[key] for holder, key in self.places]
        now += [contents_of(optimizer) for optimizer in self.counting]
        if now == self.before:
            return True
        for check, needed in self.probes:
            values: dict[Variable, Any] = {}
            for call in needed:
                fill = functools.partial(mapped, functools.partial(value_of, values))
                if isinstance(call.function, HostNumbers):
                    result = numbers_of_copy(call.function)
                else:
                    result = call.function(*fill(call.args), **fill(call.kwargs))
                results = call.result if isinstance(call.result, tuple) else (call.result,)
                given = result if isinstance(call.result, tuple) else (result,)
                values |= dict(zip(results, given, strict=True))
            try:
                check.function(*fill(check.args))
            except Deviation:
                return False
        self.before = now
        return True


def value_of(values: dict[Variable, Any], leaf: Any) -> Any:
    """Return the value of a variable, and anything else as it is."""
    return values[leaf] if isinstance(leaf, Variable) else leaf


def numbers_of_copy(asked: HostNumbers) -> Any:
    """Return an optimizer's numbers without counting a step."""
    return update_of_copy(asked)[2]


def update_of_copy(asked: HostNumbers) -> Any:
    """Return what an optimizer's `update` would, without counting a step."""
    probe = object.__new__(type(asked.optimizer))
    vars(probe).update(
        {k: list(v) if isinstance(v, list) else v for k, v in vars(asked.optimizer).items()}
    )
    return probe.update(asked.index)
