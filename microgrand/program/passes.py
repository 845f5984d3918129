"""The passes: each takes a program and leaves one that does the same, to the bit, in less time."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .calls import (
    CHECKS,
    Call,
    Method,
    Program,
    Storage,
    Variable,
    alike,
    mapped,
    raw_bytes,
    shares_memory,
)
from .functions import OF_A_SHAPE
from .optimizers import HostNumbers
from .raising import may_raise

# ------------------------------------------------------------------------ what depends on what


def made_by(program: Program) -> dict[Variable, Call]:
    """Return the call that makes each variable; inputs and constants have none."""
    return {
        variable: call
        for call in program.calls
        for variable in call.results()
        if variable not in call.writes
    }


def numbered(program: Program) -> dict[Call, int]:
    """Return the number of each call."""
    return {call: number for number, call in enumerate(program.calls)}


def has_effect(call: Call) -> bool:
    """Tell whether a call does more than make a value."""
    return bool(call.writes) or call.function in CHECKS or draws(call) or asks(call)


def is_view(call: Call) -> bool:
    """Tell whether a call makes a view of an operand, and does nothing else."""
    return shares_memory(call) and not has_effect(call)


def asks(call: Call) -> bool:
    """Tell whether a call asks an optimizer for its numbers."""
    return isinstance(call.function, HostNumbers)


def draws(call: Call) -> bool:
    """Tell whether a call draws from a generator."""
    return any(variable.is_generator for variable in call.operands())


def makers_of(call: Call, makers: dict[Variable, Call]) -> set[Call]:
    """Return the calls that a call depends on, directly or through others."""
    found: set[Call] = set()
    stack = call.operands()
    while stack:
        maker = makers.get(stack.pop())
        if maker is not None and maker not in found:
            found.add(maker)
            stack.extend(maker.operands())
    return found


# ---------------------------------------------------------------------------------- the passes


def dead_code(program: Program) -> None:
    """Remove calls that do nothing but make results that nobody reads."""
    used = program.shown
    read = {variable.storage for variable in used}
    kept = []
    for call in reversed(program.calls):
        writes = any(v.storage.external or v.storage in read for v in call.writes)
        other_effect = call.function in CHECKS or draws(call) or asks(call) or may_raise(call)
        if writes or other_effect or any(variable in used for variable in call.results()):
            used.update(call.operands())
            read.update(variable.storage for variable in call.operands())
            kept.append(call)
    program.calls = kept[::-1]


def checks_first(program: Program) -> list[tuple[Storage, Storage]]:
    """Move checks to the front, with what they depend on: there nothing has been changed yet.

    Return which arrays from outside they read before others are written into, rather than
    afterwards: these must not overlap.
    """
    makers, number = made_by(program), numbered(program)
    front: dict[Call, None] = {}
    apart: dict[tuple[Storage, Storage], None] = {}
    written: dict[Storage, None] = {}
    for call in program.calls:
        written |= {v.storage: None for v in call.writes}
        if call.function not in CHECKS:
            continue
        needed = sorted(makers_of(call, makers), key=number.__getitem__)
        read = {v.storage: None for other in (*needed, call) for v in other.operands()}
        if any(map(has_effect, needed)) or read.keys() & written.keys():
            continue  # it stays in its place, after a draw or a write
        outside = [w for w in written if w.external]
        apart |= {(r, w): None for r in read for w in outside if r.external}
        front |= dict.fromkeys([*needed, call])
    program.calls = [*front, *(call for call in program.calls if call not in front)]
    return [*apart]


def pairs_apart(
    variables: Iterable[Variable], apart: list[tuple[Storage, Storage]]
) -> list[tuple[Variable, Variable]]:
    """List the pairs of arrays that must not overlap, given the pairs of their storages."""
    of_storage: dict[Storage, list[Variable]] = {}
    for variable in variables:
        if variable.is_array:
            of_storage.setdefault(variable.storage, []).append(variable)
    return [
        (x, y)
        for r, w in apart
        for x in of_storage.get(r, ())
        for y in of_storage.get(w, ())
        if x.kind is y.kind
    ]


def checks_of_numbers(program: Program) -> list[tuple[Call, list[Call]]]:
    """Take out the checks of numbers that optimizers tell; return them with what they need."""
    makers, number = made_by(program), numbered(program)
    taken = {}
    for call in program.calls:
        needed = makers_of(call, makers) if call.function in CHECKS else set()
        if any(map(asks, needed)):
            taken[call] = sorted(needed, key=number.__getitem__)
    program.calls = [call for call in program.calls if call not in taken]
    return [*taken.items()]


def conditions(program: Program) -> list[Call]:
    """Take out the checks of Python's numbers, with what they need: they decide which program runs.

    Numbers are computed from numbers only, so all of this can be done before anything else.
    """
    of_numbers = {v for v in program.inputs if v.dtype is None}
    numbers_only = []
    for call in program.calls:
        operands = list(call.operands())
        if operands and all(v in of_numbers for v in operands):
            of_numbers.update(call.results())
            numbers_only.append(call)
    checks = {call: None for call in numbers_only if call.function in CHECKS}
    program.calls = [call for call in program.calls if call not in checks]
    return [*(call for call in numbers_only if call not in checks), *checks] if checks else []


def first_commitment(program: Program) -> Call | None:
    """Return the first call that changes something outside."""
    for call in program.calls:
        if asks(call) or any(variable.storage.external for variable in call.writes):
            return call
    return None


def join_draws(program: Program) -> None:
    """Draw the bytes of several masks at once, if nothing else is drawn in between.

    The generator gives the same words, in the same order.
    """
    open_draws: dict[Variable, tuple[Call, Call]] = {}  # by generator: the draw, and its first part
    calls: list[Call] = []
    names = Names(program)
    for call in program.calls:
        if asks(call) or any(v.storage.external for v in call.writes):
            open_draws.clear()
        if not draws(call):
            calls.append(call)
            continue
        generator = next(v for v in call.operands() if v.is_generator)
        if call.function is not raw_bytes:
            open_draws.pop(generator, None)
            calls.append(call)
            continue
        count = call.args[1]
        if generator not in open_draws:
            open_draws[generator] = (call, call)
            calls.append(call)
            continue
        whole, first = open_draws[generator]
        if whole is first:  # the first part becomes a part, too
            joined = bytes_like(whole.result, whole.args[1])
            part = dataclasses.replace(
                whole, function=operator.getitem, args=(joined, slice(0, 8 * whole.args[1]))
            )
            whole.result = joined
            calls.insert(next(i for i, c in enumerate(calls) if c is whole) + 1, part)
            first = part
            open_draws[generator] = whole, part
        start = whole.args[1]
        whole.args = (generator, start + count)
        whole.result.shape = (8 * (start + count),)
        call.function = operator.getitem
        call.args = (whole.result, slice(8 * start, 8 * (start + count)))
        names.move(call.result.storage, whole.result.storage)
        calls.append(call)
    program.calls = calls


#: Bit generators that can be put back by a number of draws.
REWINDABLE = ("PCG64", "PCG64DXSM")


def draws_first(program: Program) -> None:
    """Draw all bytes before anything else, so that little has to be undone where a run fails."""
    drawing = [call for call in program.calls if draws(call)]
    after = calls_after(program, first_commitment(program))
    can_move = [
        call
        for call in drawing
        if call.function is raw_bytes
        and sum(call.args[0] in other.operands() for other in drawing) == 1
        and call.args[0].value in REWINDABLE
        and call not in after
    ]
    program.calls = can_move + [call for call in program.calls if call not in can_move]


def drawn_first(program: Program) -> dict[Variable, int]:
    """Return how many words each generator draws before anything else can fail."""
    words = {}
    for call in program.calls:
        if call.function is not raw_bytes or call.args[0].value not in REWINDABLE:
            break
        words[call.args[0]] = call.args[1]
    return words


def bytes_like(variable: Variable, count: int) -> Variable:
    """Make the variable of all bytes that are drawn at once: parts of them are in its memory."""
    return dataclasses.replace(variable, shape=(8 * count,), name="random_bytes")


def first_of_backward(program: Program) -> Call | None:
    """Return the first call of the last backward pass, if that is before the first change."""
    found, section = None, ""
    for call in program.calls:
        if call is program.commit:
            break
        if call.section == "backward" != section:
            found = call
        section = call.section
    return found


def calls_after(program: Program, first: Call | None) -> list[Call]:
    """Return a call and all calls after it."""
    return [] if first is None else program.calls[program.calls.index(first) :]


# ------------------------------------------------------------------------------------- sharing


def share(program: Program) -> dict[Variable, Variable]:
    """Compute once what is computed twice; return what now stands for what.

    A value that was computed before an array was written into is not the one computed afterwards.
    Arrays from outside may overlap: a write into one is a write into all. What is written into
    later, or handed out, is not shared.
    """
    written = {variable.storage for call in program.calls for variable in call.writes}
    shown = program.shown
    handed_out = {variable.storage for variable in shown}
    times: dict[Any, int] = {}
    seen: dict[Any, Call] = {}
    stands_for: dict[Variable, Variable] = {}
    moved: dict[Storage, Storage] = {}  # a view of what was computed again is one of the first

    def renamed(value: Any) -> Any:
        return stands_for.get(value, value) if isinstance(value, Variable) else value

    kept = []
    for call in program.calls:
        call.args = mapped(renamed, call.args)
        call.kwargs = mapped(renamed, call.kwargs)
        for variable in call.results():
            variable.storage = moved.get(variable.storage, variable.storage)
        for variable in call.writes:
            place = "outside" if variable.storage.external else variable.storage
            times[place] = times.get(place, 0) + 1
        result = call.result
        if has_effect(call) and call.function not in CHECKS:
            kept.append(call)
            continue
        storages = {v.storage for v in call.operands()}
        of_operand = shares_memory(call)
        read = (
            ()
            if of_operand
            else tuple(
                sorted((id(s), times.get("outside" if s.external else s, 0)) for s in storages)
            )
        )
        key = (call.function, frozen(call.args), frozen(call.kwargs), call.errstate, read)
        first = seen.get(key)
        new_to_others = any(v.storage in handed_out for v in call.results()) and not of_operand
        new_to_others |= any(v in shown for v in call.results())
        may_be_one = of_operand or all(v.storage not in written for v in call.results())
        if first is None or new_to_others or not may_be_one:
            if may_be_one:
                seen[key] = call
            kept.append(call)
        elif result is not None:
            for again, known in zip(call.results(), first.results(), strict=True):
                stands_for[again] = known
                moved[again.storage] = known.storage
    program.calls = kept
    return stands_for


def frozen(value: Any) -> Any:
    """Return a key for an argument: variables and objects are themselves, numbers their bits."""
    if isinstance(value, (list, tuple)):
        return (type(value), *map(frozen, value))
    if isinstance(value, dict):
        return tuple(sorted((key, frozen(item)) for key, item in value.items()))
    if isinstance(value, slice):
        return ("slice", frozen(value.start), frozen(value.stop), frozen(value.step))
    if isinstance(value, (bool, int, float, str, np.generic)):
        return (type(value).__name__, repr(value))
    return id(value)


# ----------------------------------------------------------------------------------- constants


def fold_constants(program: Program) -> None:
    """Compute now what depends on constants only, if it is not written into or handed out.

    What is made on a device was kept while it was traced.
    """
    changing = {v.storage for call in program.calls for v in call.writes}
    changing |= {v.storage for v in program.shown}
    kept = []
    for call in program.calls:
        result = call.result
        operands = list(call.operands())
        is_constant = bool(operands) and all(v.storage.constant for v in operands)
        is_constant |= call.function in OF_A_SHAPE and all(v is call.args[0] for v in operands)
        if (
            isinstance(result, Variable)
            and (is_constant or result.value is not None)
            and result.storage not in changing
            and not has_effect(call)
            and not call.errstate
        ):
            if result.value is None:
                args, kwargs = mapped(example, call.args), mapped(example, call.kwargs)
                result.value = call.function(*args, **kwargs)
            result.storage = Storage(constant=True)
        else:
            kept.append(call)
            for variable in call.results():
                variable.value = None
    program.calls = kept


def example(leaf: Any) -> Any:
    """Return the value of a constant, or an array like a variable."""
    if not isinstance(leaf, Variable):
        return leaf
    return leaf.value if leaf.storage.constant else np.empty(leaf.shape, leaf.dtype)


# -------------------------------------------------------------------------------------- copies


def copied_by(call: Call, made: dict[Variable, Call]) -> tuple[Any, Any, list[Call]]:
    """Return the copy and the value that a call copies, and all calls that this takes."""
    if call.function in COPYING and len(call.args) == 1 and not call.kwargs:
        return call.result, call.args[0], [call]
    if call.function is operator.setitem and call.args[1] is Ellipsis:
        maker = made.get(call.args[0])
        if maker is not None and maker.function is np.empty_like:
            return call.args[0], call.args[2], [maker, call]
    return None, None, []


COPYING = (np.copy, Method("copy"))


def no_copies(program: Program) -> None:
    """Leave out copies into new memory.

    If nobody needs the value itself any more, it is its own copy. If neither it nor the copy is
    written into or handed out, the value is as good as the copy.
    """
    made = made_by(program)
    last: dict[Storage, int] = {}
    writers: dict[Storage, list[Call]] = {}
    writes_outside = False
    for number, call in enumerate(program.calls):
        for variable in call.operands():
            last[variable.storage] = number
        for variable in call.writes:
            writers.setdefault(variable.storage, []).append(call)
            writes_outside |= variable.storage.external
    handed_out = {v.storage for v in program.shown}
    left_out: set[int] = set()
    names = Names(program)
    for number, call in enumerate(program.calls):
        copy, value, calls = copied_by(call, made)
        if not isinstance(value, Variable) or not value.is_array or not alike(copy, value):
            continue
        source = made.get(value)
        changed = [c for c in writers.get(copy.storage, []) if c is not call]
        if value.storage in writers or (source is not None and id(source) in left_out):
            continue
        is_fresh = source is not None and all(
            v.storage is not value.storage for v in source.operands()
        )
        if is_fresh and last[value.storage] == number and value.storage not in handed_out:
            if any(copy in c.operands() for i, c in names.calls_with[copy].items() if i < number):
                continue  # it was read before it was filled
            left_out |= {id(c) for c in calls}
            names.rename(value, copy)
        elif not changed and copy.storage not in handed_out:
            if value.storage.external and writes_outside:
                continue
            left_out |= {id(c) for c in calls}
            names.rename(copy, value)
    program.calls = [call for call in program.calls if id(call) not in left_out]


class Names:
    """The calls in which each variable occurs, so that many can be renamed."""

    def __init__(self, program: Program) -> None:
        #: The calls with each variable, by their numbers.
        self.calls_with: dict[Variable, dict[int, Call]] = {}
        self.in_memory: dict[Storage, dict[Variable, None]] = {}
        for number, call in enumerate(program.calls):
            for variable in (*call.operands(), *call.results()):
                self.calls_with.setdefault(variable, {})[number] = call
                self.in_memory.setdefault(variable.storage, {})[variable] = None

    def rename(self, old: Variable, new: Variable) -> None:
        """Put a variable in the place of another one, and move the views of that one."""
        exchange = functools.partial(exchanged, old, new)
        calls = self.calls_with.pop(old, {})
        for call in calls.values():
            call.args, call.kwargs = mapped(exchange, call.args), mapped(exchange, call.kwargs)
            call.result = mapped(exchange, call.result)
        self.calls_with.setdefault(new, {}).update(calls)
        self.move(old.storage, new.storage)

    def move(self, before: Storage, after: Storage) -> None:
        """Move all variables of one memory to another one."""
        if before is not after:
            moved = self.in_memory.pop(before, {})
            for variable in moved:
                variable.storage = after
            self.in_memory.setdefault(after, {}).update(moved)


def exchanged(old: Variable, new: Variable, leaf: Any) -> Any:
    """Put a variable in the place of another one."""
    return new if leaf is old else leaf
