"""A pass for writes: ``x += y`` becomes ``z = x + y`` where nobody sees the difference.

The other passes know what can be done with values. The last of them has `z` computed into the
memory of `x` again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from .buffers import takes_out
from .calls import IN_PLACE, Call, Program, Storage, Variable, is_contiguous, mapped


def values_for_writes(program: Program) -> None:
    """Replace writes into the program's own arrays by new values."""
    shown = {v.storage for v in program.shown}
    first: dict[Storage, Call] = {}  # the call that makes the memory
    made: dict[Variable, int] = {}
    last: dict[Variable, int] = {}
    views: dict[Storage, set[Variable]] = {}
    for number, call in enumerate(program.calls):
        for variable in set(call.results()) - set(call.writes):
            first.setdefault(variable.storage, call)
            made[variable] = number
        for variable in (*call.operands(), *call.results(), *call.writes):
            last[variable] = number
            views.setdefault(variable.storage, set()).add(variable)
    now: dict[Variable, Variable] = {}
    moved: dict[Storage, Storage] = {}

    def renamed(leaf: Any) -> Any:
        return now.get(leaf, leaf) if isinstance(leaf, Variable) else leaf

    for number, call in enumerate(program.calls):
        array: Any = call.args[0] if is_of_one_kind(call) else None
        becomes_value = (
            array is not None
            and array.storage in first
            and array.storage not in shown
            and takes_out(first[array.storage])
            and not any(
                made[other] < number < last[other]
                for other in views[array.storage]
                if other is not array
            )
        )
        for variable in call.results():
            if variable not in call.writes:
                variable.storage = moved.get(variable.storage, variable.storage)
        call.args, call.kwargs = mapped(renamed, call.args), mapped(renamed, call.kwargs)
        if becomes_value:
            value = dataclasses.replace(array, storage=Storage())
            call.function, call.result, call.writes = IN_PLACE[call.function], value, ()
            now[array], moved[array.storage] = value, value.storage
        else:
            call.result, call.writes = mapped(renamed, call.result), mapped(renamed, call.writes)


def is_of_one_kind(call: Call) -> bool:
    """Tell whether a call changes an array, and a new one would be just like it."""
    if call.function not in IN_PLACE or call.kwargs or len(call.args) != 2:
        return False
    array, operand = call.args
    if array.dtype.kind not in "fiu" or not is_contiguous(array) or call.result is not array:
        return False
    if not isinstance(operand, Variable):
        return type(operand) in ((int, float) if array.dtype.kind == "f" else (int,))
    if operand.dtype is None:
        return array.dtype.kind == "f" and operand.kind in (int, float)
    return operand.dtype == array.dtype and (not operand.is_array or is_contiguous(operand))
