"""The passes: each takes a program and leaves one that does the same, to the bit, in less time."""

from __future__ import annotations

from collections.abc import Iterator

from .calls import CHECKS, Call, Program, Storage, Variable
from .state import HostNumbers

# ------------------------------------------------------------------------ what depends on what


def made_by(program: Program) -> dict[Variable, Call]:
    """Return the call that makes each variable; inputs and constants have none."""
    return {
        variable: call
        for call in program.calls
        for variable in call.results()
        if variable not in call.writes
    }


def has_effect(call: Call) -> bool:
    """Tell whether a call does something other than to make a value."""
    return bool(call.writes) or call.function in CHECKS or draws(call) or asks(call)


def asks(call: Call) -> bool:
    """Tell whether a call asks an optimizer for its numbers."""
    return isinstance(call.function, HostNumbers)


def draws(call: Call) -> bool:
    """Tell whether a call draws from a generator."""
    return any(not v.is_array and v.storage.external and v.dtype is None and is_generator(v)
               for v in call.operands())


def is_generator(variable: Variable) -> bool:
    """Tell whether a variable is a generator of random numbers."""
    return variable.kind.__name__ in ("Generator", "RecordingGenerator")


def needed_for(call: Call, program: Program) -> list[Call] | None:
    """Return the calls that a check depends on, in order; None if it must stay in its place.

    So it must if one of them draws, or reads what an earlier call has written.
    """
    makers = made_by(program)
    needed: set[int] = set()
    stack = list(call.operands())
    read: set[Storage] = set()
    while stack:
        variable = stack.pop()
        read.add(variable.storage)
        maker = makers.get(variable)
        if maker is None or id(maker) in needed:
            continue
        if has_effect(maker):
            return None
        needed.add(id(maker))
        stack.extend(maker.operands())
    before = program.calls[: program.calls.index(call)]
    if any(variable.storage in read for other in before for variable in other.writes):
        return None
    return [other for other in before if id(other) in needed]


# ---------------------------------------------------------------------------------- the passes


def dead_code(program: Program) -> None:
    """Remove what nobody uses: calls whose results are not read, and do nothing else."""
    used = program.shown
    read = {variable.storage for variable in used}
    kept = []
    for call in reversed(program.calls):
        writes = any(v.storage.external or v.storage in read for v in call.writes)
        other_effect = call.function in CHECKS or draws(call) or asks(call)
        if writes or other_effect or any(variable in used for variable in call.results()):
            used.update(call.operands())
            read.update(variable.storage for variable in call.operands())
            kept.append(call)
    program.calls = kept[::-1]


def checks_first(program: Program) -> None:
    """Move checks to the front, with what they depend on: there nothing has been changed yet."""
    front: list[Call] = []
    moved: set[int] = set()
    for call in program.calls:
        if call.function in CHECKS:
            needed = needed_for(call, program)
            if needed is not None:
                for other in (*needed, call):
                    if id(other) not in moved:
                        moved.add(id(other))
                        front.append(other)
    program.calls = front + [call for call in program.calls if id(call) not in moved]


def checks_of_numbers(program: Program) -> list[tuple[Call, list[Call]]]:
    """Take out the checks of numbers that optimizers tell; return them with what they need."""
    makers = made_by(program)
    taken = []
    for call in list(program.calls):
        if call.function in CHECKS:
            chain: dict[int, Call] = {}
            stack = list(call.operands())
            while stack:
                maker = makers.get(stack.pop())
                if maker is not None and id(maker) not in chain:
                    chain[id(maker)] = maker
                    stack.extend(maker.operands())
            if any(asks(other) for other in chain.values()):
                taken.append((call, [other for other in program.calls if id(other) in chain]))
                program.calls.remove(call)
    return taken


def first_commitment(program: Program) -> int:
    """Return the number of the first call that changes something outside."""
    for number, call in enumerate(program.calls):
        if asks(call) or any(variable.storage.external for variable in call.writes):
            return number
    return len(program.calls)


def all_variables(program: Program) -> Iterator[Variable]:
    """Yield the variables of a program, each once, in their order."""
    seen = set()
    for call in program.calls:
        for variable in (*call.operands(), *call.results()):
            if variable not in seen:
                seen.add(variable)
                yield variable
