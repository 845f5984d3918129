"""The numbers of optimizers, which Python computes: each run asks for them again.

Of the numbers that `update` returns, some are options, on which rules may branch; a program asks
for the others. Before a run, a copy of the optimizer is asked where these will lead.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import operator
from collections.abc import Iterator
from typing import Any

from ..optim.optimizer import Optimizer
from .calls import Deviation, Variable, mapped
from .containers import items_of
from .libraries import in_library
from .recording import is_recorded
from .slots import MISSING, Slot

#: What schedulers change beside the learning rate.
CYCLED = ("momentum", "betas")
#: The classes of Python's numbers.
PYTHON_NUMBERS = (int, float)


class HostNumbers:
    """Asks an optimizer for this step's numbers, which Python computes."""

    def __init__(self, optimizer: Optimizer, index: int) -> None:
        self.optimizer = optimizer
        self.index = index

    def __call__(self) -> tuple[float, ...]:
        """Ask; the optimizer counts its steps."""
        return self.optimizer.update(self.index)[2]


def own_holders(optimizer: Optimizer) -> list[Any]:
    """Return the dict of an optimizer's attributes, and the lists among these."""
    attributes = vars(optimizer)
    return [attributes, *(value for value in attributes.values() if isinstance(value, list))]


def own_numbers(optimizer: Optimizer) -> list[Slot]:
    """Return the slots of an optimizer's own Python numbers, including those in lists."""
    return [
        Slot(holder, key, "")
        for holder in own_holders(optimizer)
        for key, value in items_of(holder)
        if type(value) in PYTHON_NUMBERS
    ]


class OwnNumbers:
    """An optimizer's own numbers as they are now, to tell later which of them have changed.

    Each parameter's update asks this, and a list may hold a number for each parameter: so lists are
    copied and compared as a whole, without a step of Python's for each item.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.before = {id(holder): (holder, holder.copy()) for holder in own_holders(optimizer)}

    def changed(self) -> set[tuple[int, Any]]:
        """Return the places of numbers that are new or have changed."""
        found = set()
        for holder in own_holders(self.optimizer):
            is_dict = isinstance(holder, dict)
            _, before = self.before.get(id(holder), (holder, {} if is_dict else []))
            keys: Any = holder if is_dict else range(len(holder))
            now = holder.values() if is_dict else holder
            then: Any = map(before.get, keys) if is_dict else before
            then = itertools.chain(then, itertools.repeat(MISSING))
            for key in itertools.compress(keys, map(operator.is_not, now, then)):
                slot, old = Slot(holder, key, ""), Slot(before, key, "").get()
                is_same = type(old) in PYTHON_NUMBERS and old == slot.get()
                if type(slot.get()) in PYTHON_NUMBERS and not is_same:
                    found.add(slot.place)
        return found


def options_of(optimizer: Optimizer) -> list[Slot]:
    """Return the slots of an optimizer's attributes and options, in which numbers may be kept."""
    holders = [vars(optimizer), optimizer.defaults, *optimizer.param_groups]
    return [Slot(holder, key, "") for holder in holders for key in holder]


@contextlib.contextmanager
def own_objects(optimizer: Optimizer) -> Iterator[set[int]]:
    """Give each float among an optimizer's options an object of its own.

    Python makes one object of all 0.0 in a file, so a number might be taken for an option.
    """
    options = [(slot, slot.get()) for slot in options_of(optimizer)]
    floats = [(slot, value) for slot, value in options if type(value) is float]
    for slot, value in floats:
        slot.set(value * 1.0)
    try:
        yield {id(slot.get()) for slot, _ in options}
    finally:
        for slot, value in floats:
            if slot.get() == value or value != value:
                slot.set(value)


def known_or_asked(options: set[int], number: Any, asked: Any) -> Any:
    """Return an option as it is, as rules branch on it, and any other number as it was asked for.

    A number may happen to be the same object as an option, such as False: runs compare these.
    """
    asked = asked.allowed()
    is_option = id(number) in options
    is_certain = is_recorded(number) or type(number) is float
    return number if is_option and (is_certain or asked == number) else asked


class Probe:
    """Asks a copy of an optimizer whether its numbers will lead where they led when recorded."""

    def __init__(self, probes: Any) -> None:
        self.probes = probes
        asked = [call.function for _, needed in probes for call in needed]
        optimizers = {x.optimizer: None for x in asked if isinstance(x, HostNumbers)}
        #: Where their numbers stand.
        self.slots = [
            slot
            for optimizer in optimizers
            for slot in options_of(optimizer)
            if type(slot.get()) in (float, tuple)
        ]
        #: Those whose rules may take another way at some step; the library's own do not.
        self.counting = [
            optimizer for optimizer in optimizers if not in_library(type(optimizer).update)
        ]
        self.before: Any = None

    def __call__(self) -> bool:
        """Ask, if an optimizer's numbers have changed since the last time."""
        now = [slot.get() for slot in self.slots]
        for optimizer in self.counting:
            now += [(slot.place, slot.get()) for slot in own_numbers(optimizer)]
        if now == self.before:
            return True
        for check, needed in self.probes:
            values: dict[Variable, Any] = {}
            for call in needed:
                fill = functools.partial(mapped, functools.partial(value_of, values))
                if isinstance(call.function, HostNumbers):
                    asked = call.function
                    result = copy_of(asked.optimizer).update(asked.index)[2]
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
    """Return the value of a variable, or anything else as it is."""
    return values[leaf] if isinstance(leaf, Variable) else leaf


def copy_of(optimizer: Optimizer) -> Any:
    """Return an optimizer that counts its own steps, with the same options and arrays."""
    made = object.__new__(type(optimizer))
    vars(made).update(
        {k: list(v) if isinstance(v, list) else v for k, v in vars(optimizer).items()}
    )
    return made
