"""``check=True``: run the program and eager code from the same state, and compare every bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import checks
from .calls import leaves, mapped
from .sameness import same_value
from .slots import MISSING
from .state import State


class Snapshot:
    """What a function closes over, as it is at one time."""

    def __init__(self, function: Callable[..., Any], args: Any) -> None:
        self.state = State()
        self.state.walk(function, "")
        for leaf in leaves(args):
            self.state.walk(leaf, "argument")
        self.arrays = {
            id(x): (x, x.copy(order="K"))
            for x in (*self.state.before, *leaves(args))
            if isinstance(x, np.ndarray)
        }
        self.undo_state = self.state.undoing()

    def put_back(self) -> None:
        """Put everything back to what it was."""
        for array, copy in self.arrays.values():
            if array.flags.writeable:
                array[...] = copy
        self.undo_state()

    def now(self) -> dict[str, Any]:
        """Return copies of all that stands in the slots now."""
        return (
            {f"{i} {slot.name}": copied(slot.get()) for i, slot in enumerate(self.state.slots)}
            | {
                f"{i} what {name} requires": tensor._requires_grad
                for i, (tensor, name) in enumerate(self.state.tensors.values())
            }
            | {
                f"generator {i}": str(g.bit_generator.state)
                for i, (g, _) in enumerate(self.state.generators)
            }
        )


def copied(value: Any) -> Any:
    """Copy an array; a tensor's is in a slot of its own."""
    return value.copy(order="K") if isinstance(value, np.ndarray) else value


def values_of(result: Any) -> Any:
    """Return copies of the arrays and numbers in a result."""
    return mapped(lambda x: copied(x.data if isinstance(x, Tensor) else x), result)


def run_both(
    function: Callable[..., Any], program: Callable[[], Any], args: Any, kwargs: Any
) -> Any:
    """Run the program, then eager code from the same state; raise if anything differs."""
    before = Snapshot(function, (args, kwargs))
    of_program = values_of(program())
    seen = before.now()
    before.put_back()
    result = function(*args, **kwargs)
    if not same_nest(of_program, result):
        checks.refuse_difference(function, "what it returned", of_program, result)
    pairs = [
        ("what it returned", a, b)
        for a, b in zip(leaves(of_program), leaves(values_of(result)), strict=True)
    ]
    now = before.now()
    pairs += [(name.split(" ", 1)[-1], seen.get(name, MISSING), now[name]) for name in now]
    for name, a, b in pairs:
        if not same_value(a, b):
            checks.refuse_difference(function, name, a, b)
    return result


def same_nest(a: Any, b: Any) -> bool:
    """Tell whether two results are nests of the same structure."""
    return bool(mapped(lambda leaf: None, a) == mapped(lambda leaf: None, b))
