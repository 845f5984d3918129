"""From a program to native parts: runs of calls become functions that Numba can compile.

`Lowering` walks over the program and gathers calls for which there is native code. What NumPy must
do stands between the parts: draws, checks, all other functions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .calls import CHECKS, Call, Program, Storage, Variable, is_contiguous, made_in
from .memory import Memory
from .native import is_element, is_filling_of_itself, is_native, is_native_view, may_overlap
from .parts import PartWriter
from .passes import asks, has_effect
from .places import Places, is_placed_view
from .rolling import Rolled, arranged

#: Below this many calls, going from Python to native code and back costs more than it saves.
FEWEST = 3
#: Numba's time for compiling a function grows faster than the function.
MOST_CALLS = 2000


class Lowering:
    """Puts native parts in the place of calls."""

    def __init__(self, program: Program, build: Callable[[str, str, list[Variable]], Any]) -> None:
        self.program = program
        self.build = build  # from a name, a source and what it is given to the function
        self.calls: list[Call] = []
        self.group: list[Call] = []
        self.hoisted: list[Call] = []
        self.made: set[Variable] = set()
        self.texts: dict[str, str] = {}  # for readers, by name
        self.functions: dict[str, Any] = {}  # by text
        self.left: dict[str, None] = {}  # the functions that NumPy does
        self.published: int | None = None  # after so many calls, if that is after a part
        self.uses = readers(program.calls)
        self.live_views = live_views(program.calls)
        self.places = Places(program.calls)
        self.memory = Memory()
        self.handed_out = {v.storage for v in program.shown}
        self.bound = {*program.bound}

    def run(self) -> None:
        """Walk over the program."""
        program = self.program
        for call in program.calls:
            if call is program.commit and not self.is_native(call):
                self.flush()
            if call is program.release and any(other.function in CHECKS for other in self.group):
                self.flush()  # nothing is let go before the checks
            if self.changes_nothing(call):
                continue
            if self.is_native(call):
                self.group.append(call)
                self.made.update(call.results())
                continue
            if call.function not in CHECKS and any(v.dtype is not None for v in call.results()):
                self.left[name_of(call.function)] = None
            if self.can_come_before(call):
                self.hoisted.append(call)
            else:
                self.flush()
                self.add(call)
        self.flush()
        program.calls = self.calls
        if self.published is not None:
            program.commit = next(iter(self.calls[self.published :]), None)
        self.memory.arrange(program, {v for call in self.calls for v in call.operands()})

    @property
    def text(self) -> str:
        """The parts, and what is not among them."""
        left = ", ".join(self.left) or "nothing"
        lines = [f"# Native parts, compiled by Numba; done by NumPy between them: {left}", ""]
        return "\n".join([*lines, *self.texts.values(), ""])

    def is_native(self, call: Call) -> bool:
        """Tell whether there is native code for a call: also for where its arrays lie."""
        if not is_native(call):
            return False
        arrays = [v for v in (*call.operands(), *call.results()) if v.is_array]
        roots = [self.places[v].root for v in arrays]
        if any(step < 0 for root in roots for step in root.strides):
            return False
        made = [v for v in call.results() if v.is_array and v not in call.writes]
        return is_placed_view(call) or all(
            is_contiguous(v) for v in made if v.storage in self.handed_out
        )

    def changes_nothing(self, call: Call) -> bool:
        """Tell whether a call puts a part of an array where it is, as ``x[0] += 1`` does."""
        if call in (self.program.commit, self.program.release) or not is_filling_of_itself(call):
            return False
        target, where, value = call.args
        return self.places[value] == self.places[self.places.part(target, where)]

    def can_come_before(self, call: Call) -> bool:
        """Tell whether a call may be made before the calls that are being gathered."""
        if not self.group or (has_effect(call) and not asks(call)):
            return False
        if asks(call):  # others see what was computed before: no part that does both is open
            return not any(other is self.program.commit for other in self.group)
        written = [v for other in self.group for v in other.writes]
        return not any(
            v in self.made or any(may_overlap(v, w) for w in written) for v in call.operands()
        )

    def add(self, call: Call) -> None:
        """Add a call that NumPy does."""
        self.memory.use(None)
        for variable in (*call.operands(), *call.results()):
            self.memory.use(variable)
        self.calls.append(call)

    def flush(self) -> None:
        """Make a part of the calls that are gathered.

        Nothing can fail in it once it has begun to write into arrays from outside. So what it has
        computed is shown afterwards.
        """
        group, hoisted = self.group, self.hoisted
        self.group, self.hoisted, self.made = [], [], set()
        before, run, rest = arranged(group)
        first = len(self.calls)
        for call in hoisted:
            self.add(call)
        self.native(before)
        self.rolled(run)
        self.native(rest)
        if any(call is self.program.release for call in group):
            self.program.release = self.calls[first]
        if any(call is self.program.commit for call in group):
            self.published = len(self.calls)

    def native(self, group: list[Call]) -> None:
        """Make parts of calls, if that is worth it."""
        for start in range(0, len(group), MOST_CALLS):
            some = group[start : start + MOST_CALLS]
            worth = [call for call in some if not is_free(call)]
            if len(worth) < FEWEST:
                for call in some:
                    self.add(call)
            else:
                self.part(some)

    def rolled(self, run: list[Call]) -> None:
        """Make a part of a long run of operations on numbers."""
        if not run:
            return
        outputs, _ = self.results_of(run)
        part = Rolled(run, outputs)
        self.memory.use(None)
        self.call_of(part.text, part.text_to_read, part.parameters, outputs, run)

    def part(self, group: list[Call]) -> None:
        """Make the call of a part, and the views that are needed after it."""
        outputs, after = self.results_of(group)
        part = PartWriter(group, outputs, self.live_views, self.places, self.memory, self.is_fixed)
        for array in part.stored:
            if array.is_array and array in part.made and array.storage not in self.handed_out:
                self.memory.add(array)
        self.memory.use(None)
        text, to_read = part.texts()
        given = [*part.parameters]
        fresh = [v for v in given if v.is_array and v in part.made]
        for array in fresh:  # who is shown it may keep it
            self.program.fresh.append(Call(np.empty, (array.shape, array.dtype), {}, array))
            self.calls.append(self.program.fresh[-1])
        if part.fixed:
            size = len(part.fixed)
            table = Variable(np.ndarray, (size,), np.dtype(np.int64), (8,), Storage(), "table")
            self.memory.tables.append((table, part.fixed))
            given = [table, *given]
        made = [v for v in outputs if v.is_array]
        numbers = [v for v in outputs if not v.is_array]
        self.call_of(text, to_read, given, numbers, group, made)
        for call in after:
            self.add(call)

    def is_fixed(self, array: Variable) -> bool:
        """Tell whether an array is at the same address in each run."""
        return self.memory.holds(array) or array.storage.constant or array in self.bound

    def results_of(self, group: list[Call]) -> tuple[list[Variable], list[Call]]:
        """Return what is read outside of a group, and the views that are made after it."""
        inside = readers(group)
        shown = self.program.shown
        outputs: list[Variable] = []
        after: list[Call] = []
        needed: set[Variable] = set()
        made = made_in(group)
        for call in reversed(group):
            result = call.result
            if not isinstance(result, Variable) or result in call.writes:
                continue
            outside = self.uses[result] > inside[result] or result in shown
            if not outside and result not in needed:
                continue
            if is_placed_view(call):
                after.insert(0, call)
                needed.update(v for v in call.operands() if v in made)
            else:
                outputs.insert(0, result)
        return outputs, after

    def call_of(
        self,
        text: str,
        to_read: str,
        given: list[Variable],
        outputs: list[Variable],
        group: list[Call],
        arrays: Sequence[Variable] = (),
    ) -> None:
        """Add the call of a part, and the conversions of the numbers that it returns."""
        if text not in self.functions:
            number = len(self.functions)
            name = f"part_{number}"
            to_read = re.sub(r"\b(loop|total|piece)_(\d+)\(", rf"\1_{number}_\2(", to_read)
            self.texts[name] = re.sub(r"\bpart\(", f"{name}(", to_read)
            self.functions[text] = self.build(name, re.sub(r"\bpart\(", f"{name}(", text), given)
        results, conversions = [], []
        for variable in outputs:
            raw = Variable(float, (), None, (), Storage(), f"{variable.name}_number")
            conversions.append(Call(variable.kind, (raw,), {}, variable))
            results.append(raw)  # Numba returns Python's numbers
        made = made_in(group)
        fresh = {v.storage for call in group if not is_placed_view(call) for v in call.results()}
        fresh -= {v.storage for call in group for v in call.writes if v not in made}
        writes = {v: None for call in group for v in call.writes if v.storage not in fresh}
        writes |= dict.fromkeys(arrays)
        call = Call(
            self.functions[text],
            tuple(given),
            {},
            tuple(results) or None,
            tuple(writes),
            group[0].line,
            section=group[0].section,
        )
        self.calls += [call, *conversions]


def readers(calls: list[Call]) -> Counter[Variable]:
    """Count the calls that are given each variable."""
    return Counter(v for call in calls for v in {*call.operands()})


def live_views(calls: list[Call]) -> set[Call]:
    """Return the calls that make a view of an array that is written into afterwards."""
    last_write = {v.storage: place for place, call in enumerate(calls) for v in call.writes}
    return {
        call
        for place, call in enumerate(calls)
        if is_placed_view(call) and last_write.get(call.result.storage, -1) > place
    }


def is_free(call: Call) -> bool:
    """Tell whether a call takes so little time that it is no reason for a part."""
    return is_native_view(call) or is_element(call) or call.function in CHECKS


def name_of(function: Any) -> str:
    """Return the name of a function for readers."""
    owner = getattr(function, "__self__", None)
    given = getattr(function, "name", None) or getattr(function, "__name__", None)
    name = str(given or type(function).__name__)
    return f"{owner.__name__}.{name}" if isinstance(owner, np.ufunc) else name
