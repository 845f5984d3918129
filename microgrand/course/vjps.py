"""What the student's vjps return: where a fault is, they are looked at through their ``node``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .compare import RIGHT, close
from .door import Door, Run, is_plain
from .stage import Fault, Suspect

#: How many calls are looked at: where each way is followed by itself there may be millions.
LOOKED_AT = 40

BACKWARD = re.compile(r"(\w+)\.backward\((g\d*)\)")


@dataclass
class Call:
    """A call of a vjp: what it was given, and what it returned."""

    vjp: Callable[[Any], Any]
    g: Any
    returned: Any

    @property
    def parts(self) -> tuple[Any, ...]:
        """The gradients, also where they are not in a tuple."""
        return (
            tuple(self.returned) if isinstance(self.returned, (tuple, list)) else (self.returned,)
        )


@contextmanager
def looked_on(door: Door, mend: bool) -> Iterator[list[Call]]:
    """Let the student's ``node`` look on; with `mend` it makes what is returned right."""
    calls: list[Call] = []
    own = door.module.node
    third = list(inspect.signature(own).parameters)[2]

    def node(*args: Any, **options: Any) -> Any:
        given = inspect.signature(own).bind(*args, **options)
        vjp = given.arguments[third]

        def looking(g: Any) -> Any:
            call = Call(vjp, g, vjp(g))
            calls.append(call)
            if len(calls) > LOOKED_AT:
                raise RuntimeError("enough has been seen")
            return tuple(as_kind(door, part, g) for part in call.parts) if mend else call.returned

        given.arguments[third] = looking
        return own(*given.args, **given.kwargs)

    vars(door.module)["node"] = node
    try:
        yield calls
    finally:
        vars(door.module)["node"] = own


def as_kind(door: Door, part: Any, g: Any) -> Any:
    """Return a gradient as an array or a Tensor, whichever `g` is."""
    if is_plain(g):
        return door.value(part) if door.is_tensor(part) else part
    return part if door.is_tensor(part) else door.tensor(np.asarray(part))


def again(door: Door, case: Any) -> Run:
    """Run the lines of a case once more."""
    run = door.start(**case.inputs)
    for line in case.lines:
        found = BACKWARD.fullmatch(line)
        if found:
            door.backward(run[found[1]], run[found[2]])
        else:
            run(line)
    return run


def calls_in(door: Door) -> list[Call]:
    """Return the calls of vjps in the case, as far as it comes."""
    case = door.case
    with looked_on(door, mend=False) as calls:
        try:
            again(door, case)
        except Exception:  # it is the fault that is looked at
            pass
        finally:
            door.case = case
    return calls


def is_mended(door: Door) -> bool:
    """Tell whether the case is right where vjps return a tuple of the kind that is asked."""
    case = door.case
    right = again(RIGHT, case)
    try:
        with looked_on(door, mend=True):
            run = again(door, case)
            return all(
                (found := run.gradient(name)) is not None and close(found, expected)
                for name, given in case.inputs.items()
                if isinstance(given, np.ndarray) and (expected := right.gradient(name)) is not None
            )
    finally:
        door.case = case


def vjp_that(returns: Callable[[Door, Call], bool], cause: str, mended: bool = True) -> Suspect:
    """Make a suspect: a vjp that returns something else than a tuple of what is asked."""

    def explains(door: Door, fault: Fault) -> bool:
        if not {"error", "gradient"} & fault.data.keys():
            return False
        if "vjps" not in fault.data:
            fault.data["vjps"] = calls_in(door)
        call = next((call for call in fault.data["vjps"] if returns(door, call)), None)
        if call is None or (mended and not is_mended(door)):
            return False
        within = call.vjp.__qualname__.split(".<locals>")[0].split(".")[-1]
        fault.data["at"] = (call.vjp.__code__.co_firstlineno, within)
        return True

    return Suspect(cause, explains)


#: They are asked before a stage's own.
VJPS = [
    vjp_that(
        lambda door, call: call.returned is None,
        "a vjp returns None: let it return a tuple, one gradient for each parent",
        mended=False,
    ),
    vjp_that(
        lambda door, call: (
            isinstance(call.returned, (np.ndarray, np.generic)) or door.is_tensor(call.returned)
        ),
        "a vjp returns a bare gradient: it has to return a tuple, one for each parent, and "
        "for a single one that is `(g,)`, with a comma",
    ),
    vjp_that(
        lambda door, call: (
            isinstance(call.returned, (tuple, list))
            and is_plain(call.g)
            and any(map(door.is_tensor, call.parts))
        ),
        "a vjp returns Tensors, where gradients are arrays: compute with `.data` there",
    ),
    vjp_that(
        lambda door, call: (
            isinstance(call.returned, (tuple, list))
            and door.is_tensor(call.g)
            and any(isinstance(part, (np.ndarray, np.generic)) for part in call.parts)
        ),
        "a vjp returns arrays, where gradients are Tensors: make Tensors of them",
    ),
]
