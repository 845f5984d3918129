"""A pass for large arrays: elementwise calls run block by block, in the processor's cache.

Activations, dropout and optimizers are chains of elementwise calls, and what most of them compute
nobody else reads. In a loop over blocks, that takes the memory of one block, and stays in the
cache from one call to the next:

    for start in range(0, 1048576, 65536):
        ...
        np.multiply(grad_block, lr, out=scratch_block)
        np.subtract(weight_block, scratch_block, out=weight_block)

Eager code has blocks of the same size. Only calls are taken of which each element depends on those
in its place: of a sum, the parts have other bits.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
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
    one_axis,
)
from .passes import has_effect, is_view

#: Before the update, arrays of up to this many blocks are as fast without a loop.
FEW = 4


@dataclasses.dataclass(eq=False)
class Blocks:
    """Calls on blocks of arrays, in a loop; it stands for the function of one call."""

    size: int
    length: int
    calls: list[Call]
    #: The names of the values that the calls make, if they are in scratch space.
    names: list[str]
    #: The part of each flat array, or of scratch space, that the calls work on.
    parts: dict[Variable, Variable]
    scratch: set[Variable]


def loops_over_blocks(program: Program) -> None:
    """Put loops over blocks in the place of elementwise calls on large arrays."""
    known = Known(program)
    calls: list[Call] = []
    group = Group(known)
    for call in program.calls:
        if not group.takes(call):
            calls += group.in_blocks()
            group = Group(known)
            calls += [] if group.takes(call) else [call]
    program.calls = calls + group.in_blocks()


def is_large_and_elementwise(call: Call) -> bool:
    """Tell whether a call computes a large array from arrays just like it, and from numbers."""
    result = call.result
    if not isinstance(result, Variable) or not result.is_array or result.read_only:
        return False
    if call.function == Method("astype"):
        is_simple = len(call.args) == 2 and not call.kwargs
    elif call.function in IN_PLACE:
        is_simple = not call.kwargs
    else:
        is_simple = is_elementwise(call) and call.kwargs.keys() <= {"dtype"} and not call.writes
    is_update = call.section == "update"
    if not is_simple or (not is_update and any(v.storage.external for v in call.writes)):
        return False
    arrays = [v for v in arrays_of(call) if v.shape]
    large = (1 if is_update else FEW) * blocks.BLOCK_BYTES
    return max([v.nbytes for v in arrays], default=0) > large and all(
        v.shape == result.shape
        and v.dtype.kind in "biuf"
        and (is_contiguous(v) or (is_one_number(v) and v is not result))
        for v in arrays
    )


class Known:
    """What groups of calls must know of the whole program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.shown = {v.storage for v in program.shown}
        #: By memory, the calls that read or write it.
        self.touching: dict[Storage, list[Call]] = {}
        #: Of an array that shows all of another one's memory in the same order, that other one.
        self.whole_of: dict[Variable, Variable] = {}
        #: Scratch space, by dtype, length and a number, and parts of it: these are of all loops.
        self.scratch: dict[Any, Variable] = {}
        self.parts: dict[Variable, Variable] = {}
        for call in program.calls:
            for storage in {v.storage for v in arrays_of(call)}:
                self.touching.setdefault(storage, []).append(call)
            if shows_all(call):
                self.whole_of[call.result] = self.root(call.args[0])

    def root(self, variable: Variable) -> Variable:
        """Return the array of which a variable shows all."""
        return self.whole_of.get(variable, variable)

    def room(self, dtype: Any, length: int, number: int) -> Variable:
        """Return scratch space."""
        key = dtype, length, number
        if key not in self.scratch:
            like = Variable(np.ndarray, (length,), dtype, (dtype.itemsize,), Storage(), "scratch")
            self.keep(key, like, Call(np.empty, (like.shape, dtype), {}, like))
        return self.scratch[key]

    def room_as(self, room: Variable, dtype: Any) -> Variable:
        """Return scratch space, read as another dtype of the same size."""
        key = room, dtype
        if key not in self.scratch:
            view = dataclasses.replace(room, dtype=dtype)
            self.keep(key, view, Call(Method("view"), (room, dtype), {}, view))
        return self.scratch[key]

    def keep(self, key: Any, room: Variable, maker: Call) -> None:
        """Have scratch space made once."""
        self.scratch[key] = room
        self.parts[room] = one_axis(room, room.shape[0], "scratch_block")
        self.program.once.append(maker)


class Group:
    """Elementwise calls on large arrays of one shape, and what stands between them."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.calls: list[Call] = []
        #: What came between: calls that depend on none of these, and views of what they make.
        self.before: list[Call] = []
        self.after: list[Call] = []
        self.all: list[Call] = []
        self.changed: set[Storage] = set()
        #: By memory, the arrays that are read or written there.
        self.touched: dict[Storage, set[Variable]] = {}

    # ---- gathering

    def takes(self, call: Call) -> bool:
        """Take the next call of the program, if it belongs here or need not come later."""
        if self.goes_on_with(call):
            self.calls.append(call)
            self.changed.update(v.storage for v in call.results())
            for variable in arrays_of(call):
                roots = self.touched.setdefault(variable.storage, set())
                roots.add(self.known.root(variable))
        elif not self.calls or call.section != self.calls[0].section:
            return False
        elif is_view(call) and call.result.storage in self.changed:
            self.after.append(call)
        elif self.can_come_before(call):
            self.before.append(call)
        else:
            return False
        self.all.append(call)
        return True

    def goes_on_with(self, call: Call) -> bool:
        """Tell whether a call is one of these."""
        if not is_large_and_elementwise(call) or self.overlaps(call):
            return False
        if not self.calls:
            return True
        first = self.calls[0]
        alike = (call.section, call.errstate, call.result.shape)
        if alike != (first.section, first.errstate, first.result.shape):
            return False
        if call is self.known.program.release:
            return False
        return call.section != "update" or call.origin == first.origin

    def overlaps(self, call: Call) -> bool:
        """Tell whether arrays would be changed block by block that share a part of their memory."""
        changed = self.changed | {v.storage for v in call.results()}
        roots = {v: self.known.root(v) for v in arrays_of(call) if v.storage in changed}
        return any(
            roots[v] is not roots[w] and v.storage is w.storage
            for v, w in itertools.combinations(roots, 2)
        ) or any(self.touched.get(v.storage, {root}) != {root} for v, root in roots.items())

    def can_come_before(self, call: Call) -> bool:
        """Tell whether a call has nothing to do with these: it makes a value, or fills a number."""
        program = self.known.program
        if call is program.release or call is program.commit:
            return False
        if has_effect(call) and not call.writes:
            return False
        if any(v.shape or v.storage.external or v.storage in self.touched for v in call.writes):
            return False
        outside = any(storage.external for storage in self.changed)
        return not any(
            v.storage in self.changed or (outside and v.storage.external) for v in arrays_of(call)
        )

    # ---- the loop

    def in_blocks(self) -> list[Call]:
        """Return these calls as a loop over blocks, or as they were if that is of no use."""
        known, program = self.known, self.known.program
        made = {call.result for call in self.calls if not call.writes}
        own = {id(call) for call in (*self.calls, *self.after)}
        lasting = {
            v
            for v in made
            if v.storage in known.shown or any(id(c) not in own for c in known.touching[v.storage])
        }
        publishes = any(call is program.commit for call in self.calls)
        if not self.meets_again() or (publishes and made & program.shown):
            return self.all
        loop = Loop(self, made, lasting)
        whole = loop.call()
        if publishes:
            program.commit = whole
        if self.calls[0] is program.release:
            program.release = whole
        after = [
            call
            for call in self.after
            if not any(v.storage is call.result.storage for v in made - lasting)
        ]
        makers = [Call(np.empty, (v.shape, v.dtype), {}, v) for v in loop.filled]
        return [*self.before, *makers, *loop.views, whole, *after]

    def meets_again(self) -> bool:
        """Tell whether an array, of which a block is in the cache then, is needed twice."""
        seen: set[Storage] = set()
        for call in self.calls:
            storages = {v.storage for v in arrays_of(call) if v.shape}
            if storages & seen:
                return True
            seen |= storages
        return False


class Loop:
    """A group of calls that becomes a loop."""

    def __init__(self, group: Group, made: set[Variable], lasting: set[Variable]) -> None:
        self.calls, self.changed, self.known = group.calls, group.changed, group.known
        #: What is there after the loop only.
        self.later = {call.result for call in group.after}
        arrays = [v for call in group.calls for v in arrays_of(call) if v.shape]
        #: What is made here and lasts.
        self.filled = [v for v in dict.fromkeys(arrays) if v in lasting]
        self.length = blocks.BLOCK_BYTES // max(v.dtype.itemsize for v in arrays)
        #: Views that must be there before the loop.
        self.views: list[Call] = []
        self.rooms = self.find_rooms(made - lasting)
        self.flat: dict[Variable, Variable] = {}
        self.parts: dict[Variable, Variable] = {}  # of flat arrays
        self.part_of: dict[Variable, Variable] = {}
        for variable in dict.fromkeys(arrays):
            flat = self.flat_of(variable)
            part = self.parts.get(flat) or self.known.parts.get(flat)
            if part is None:
                part = one_axis(flat, self.length, f"{variable.name}_block")
            self.part_of[variable] = self.parts[flat] = part

    def call(self) -> Call:
        """Return the loop as one call."""
        first = self.calls[0]
        calls, names = [], []
        for call in self.calls:
            name = call.result.name
            is_new = call.result in self.rooms and all(v.name != name for v in call.operands())
            names.append(name if is_new else "")
            args, writes = mapped(self.renamed, call.args), mapped(self.renamed, call.writes)
            result = self.part_of[call.result]
            call = dataclasses.replace(call, args=args, result=result, writes=writes)
            if call.function == Method("astype"):
                call.function, call.args, call.writes = (
                    operator.setitem,
                    (result, Ellipsis, args[0]),
                    (result,),
                )
            calls.append(call)
        parts = {part: flat for flat, part in self.parts.items()}
        rooms = {part for flat, part in self.parts.items() if flat in self.known.parts}
        size = int(np.prod(first.result.shape))
        loop: Any = Blocks(size, self.length, calls, names, parts, rooms)
        others = {v: None for call in calls for v in call.operands() if v not in parts}
        return dataclasses.replace(
            first,
            function=loop,
            args=(*others, *self.parts),
            kwargs={},
            result=None,
            writes=tuple(flat for flat in self.parts if flat.storage in self.changed),
        )

    def renamed(self, leaf: Any) -> Any:
        """Put a part in the place of an array."""
        return self.part_of.get(leaf, leaf) if isinstance(leaf, Variable) else leaf

    def flat_of(self, variable: Variable) -> Variable:
        """Return an array with one axis that shows what a variable is in, or its scratch space."""
        if variable not in self.flat:
            root = self.known.root(variable)
            if root in self.rooms:
                room = self.rooms[root]
                alike = room.dtype == variable.dtype
                self.flat[variable] = room if alike else self.known.room_as(room, variable.dtype)
            elif variable in self.later:
                self.view(Method("view"), (self.flat_of(root), variable.dtype), variable)
            else:
                self.view(Method("reshape"), (variable, -1), variable)
        return self.flat[variable]

    def view(self, function: Any, args: Any, variable: Variable) -> None:
        """Have a view of an array made before the loop."""
        size = int(np.prod(variable.shape))
        flat = self.flat[variable] = one_axis(variable, size, f"{variable.name}_flat")
        flat.strides = (0,) if is_one_number(variable) else flat.strides
        self.views.append(Call(function, args, {}, flat, section=self.calls[0].section))

    def find_rooms(self, passing: set[Variable]) -> dict[Variable, Variable]:
        """Find scratch space for what is computed in between; what is dead is overwritten."""
        last = {v.storage: i for i, call in enumerate(self.calls) for v in arrays_of(call)}
        rooms: dict[Variable, Variable] = {}
        living: dict[Storage, Variable] = {}
        for i, call in enumerate(self.calls):
            taken = [room for storage, room in living.items() if last[storage] > i]
            result = call.result
            if result not in passing or result in rooms:
                continue
            numbers = itertools.count()
            while (room := self.known.room(result.dtype, self.length, next(numbers))) in taken:
                pass
            rooms[result] = living[result.storage] = room
        return rooms


def arrays_of(call: Call) -> list[Variable]:
    """Return the arrays that a call reads, makes or writes."""
    return [v for v in (*call.operands(), *call.results(), *call.writes) if v.is_array]


def is_one_number(variable: Variable) -> bool:
    """Tell whether an array is one number in the memory, seen many times."""
    return not any(variable.strides)


def shows_all(call: Call) -> bool:
    """Tell whether a call makes a view of all of an array, in the order of its memory."""
    if call.function not in (Method("view"), Method("reshape"), np.reshape) or not is_view(call):
        return False
    source, result = call.args[0], call.result
    return is_contiguous(source) and is_contiguous(result) and source.nbytes == result.nbytes
