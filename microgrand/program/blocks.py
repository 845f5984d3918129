"""A pass for optimizers: a large parameter is updated block by block, in the processor's cache.

Its update is a chain of elementwise calls, and what they compute in between nobody reads. In a
loop over blocks, that takes the memory of one block, and each block is read from memory once:

    for start in range(0, 1048576, 65536):
        ...
        np.multiply(grad_block, lr, out=scratch_block)
        np.subtract(weight_block, scratch_block, out=weight_block)

Eager code has blocks of the same size.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..optim import blocks
from .calls import (
    IN_PLACE,
    Call,
    Method,
    Program,
    Storage,
    Variable,
    is_contiguous,
    is_elementwise,
    mapped,
)
from .passes import has_effect


@dataclasses.dataclass(eq=False)
class Blocks:
    """Calls on blocks of arrays, in a loop; it stands for the function of one call."""

    size: int
    length: int
    calls: list[Call]
    #: The part of each flat array, or of scratch space, that the calls work on.
    parts: dict[Variable, Variable]
    scratch: set[Variable]


def updates_in_blocks(program: Program) -> None:
    """Put loops over blocks in the place of the updates of large parameters."""
    uses: dict[Variable, int] = {}
    for call in program.calls:
        for variable in call.operands():
            uses[variable] = uses.get(variable, 0) + 1
    scratch: dict[Any, Variable] = {}
    calls: list[Call] = []
    group: list[Call] = []
    for call in program.calls:
        if fits(call, group):
            group.append(call)
        elif group and can_come_before(call, group):
            calls.append(call)
        else:
            calls += in_blocks(group, program, uses, scratch)
            group = [call] if fits(call, []) else []
            calls += [] if group else [call]
    program.calls = calls + in_blocks(group, program, uses, scratch)


def fits(call: Call, group: list[Call]) -> bool:
    """Tell whether a call is a part of the update of a large parameter, the one of the group."""
    result = call.result
    if call.section != "update" or not isinstance(result, Variable) or not result.is_array:
        return False
    is_written = call.function in IN_PLACE
    if not (is_elementwise(call) or is_written) or not call.kwargs.keys() <= {"dtype"}:
        return False
    if call.errstate or (call.writes and not is_written):
        return False
    if group and (call.origin, result.shape) != (group[0].origin, group[0].result.shape):
        return False
    arrays = [v for v in (*call.operands(), result) if v.is_array and v.shape != ()]
    return result.nbytes > blocks.BLOCK_BYTES and all(
        v.shape == result.shape and is_contiguous(v) for v in arrays
    )


def can_come_before(call: Call, group: list[Call]) -> bool:
    """Tell whether a call is about numbers only, as one that fills a 0-d array is."""
    made = {v.storage for other in group for v in other.results()}
    own = {*call.operands(), *call.results()}
    has_other_effect = has_effect(call) and not call.writes
    return not has_other_effect and not any(
        v.shape or v.storage.external or v.storage in made for v in own if v.is_array
    )


def in_blocks(
    group: list[Call], program: Program, uses: dict[Variable, int], scratch: dict[Any, Variable]
) -> list[Call]:
    """Return the loop over the blocks of a group, with the views that it needs."""
    inside = [v for call in group for v in call.operands()]
    made = {v for call in group for v in call.results() if v not in call.writes}
    stays = any(uses.get(v, 0) > inside.count(v) or v in program.shown for v in made)
    if len(group) < 2 or stays:
        return group
    first = group[0].result
    length = blocks.BLOCK_BYTES // group[-1].result.dtype.itemsize
    loop: Any = Blocks(int(np.prod(first.shape)), length, [], {}, set())
    part_of = parts_of_temporaries(group, made, loop, program, scratch)
    views = []
    for variable in dict.fromkeys((*inside, *(v for call in group for v in call.writes))):
        if variable.is_array and variable.shape and variable not in made:
            flat = one_axis(variable, loop.size, f"{variable.name}_flat")
            part = one_axis(variable, length, f"{variable.name}_block")
            views.append(Call(Method("reshape"), (variable, -1), {}, flat, section="update"))
            part_of[variable], loop.parts[part] = part, flat
    for call in group:

        def renamed(leaf: Any) -> Any:
            return part_of.get(leaf, leaf) if isinstance(leaf, Variable) else leaf

        args, writes = mapped(renamed, call.args), mapped(renamed, call.writes)
        result = part_of[call.result]
        loop.calls.append(dataclasses.replace(call, args=args, result=result, writes=writes))
    read = {v: None for call in loop.calls for v in call.operands() if v not in loop.parts}
    given = (*read, *loop.parts.values())
    writes = tuple({v: None for call in group for v in call.writes if v not in made})
    whole = dataclasses.replace(
        group[0], function=loop, args=given, kwargs={}, result=None, writes=writes
    )
    if any(call is program.commit for call in group):
        program.commit = whole
    return [*views, whole]


def one_axis(variable: Variable, length: int, name: str) -> Variable:
    """Return the variable of a flat view, or of a part of it."""
    strides = (variable.dtype.itemsize,)
    return dataclasses.replace(variable, shape=(length,), strides=strides, name=name)


def parts_of_temporaries(
    group: list[Call],
    made: set[Variable],
    loop: Blocks,
    program: Program,
    scratch: dict[Any, Variable],
) -> dict[Variable, Variable]:
    """Find scratch space for what is computed in between; what is dead is overwritten."""
    last = {v.storage: i for i, call in enumerate(group) for v in call.operands()}
    part_of: dict[Variable, Variable] = {}
    parts: dict[Any, Variable] = {}
    living: dict[Storage, Any] = {}
    for i, call in enumerate(group):
        taken = {key for storage, key in living.items() if last.get(storage, i) > i}
        result = call.result
        if result not in made or result in part_of:
            continue
        number = 0
        while (key := (result.dtype, loop.length, number)) in taken:
            number += 1
        living[result.storage] = key
        if key not in scratch:
            shape = (loop.length,)
            room = scratch[key] = one_axis(result, loop.length, "scratch")
            room.storage = Storage()
            program.once.append(Call(np.empty, (shape, result.dtype), {}, room))
        if key not in parts:
            parts[key] = one_axis(scratch[key], loop.length, "scratch_block")
            loop.parts[parts[key]] = scratch[key]
            loop.scratch.add(parts[key])
        part_of[result] = parts[key]
    return part_of
