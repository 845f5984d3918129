"""The last pass: values are computed into memory that is made once, and used again."""

from __future__ import annotations

from typing import Any

import numpy as np

from .calls import (
    UFUNC_OF,
    Call,
    Program,
    Storage,
    Variable,
    alike,
    in_the_memory_of,
    is_contiguous,
    is_dense,
    is_elementwise,
)
from .passes import is_view

#: Functions besides ufuncs that compute into `out`, if it is like the array they would make.
TAKE_OUT = {np.clip, np.dot, np.matmul}
REDUCING_METHODS = ("reduce", "reduceat")
#: Those that make an array for others to fill.
EMPTY = (np.empty, np.empty_like)


def takes_out(call: Call) -> bool:
    """Tell whether the result of a call can be computed into existing memory."""
    result = call.result
    if not isinstance(result, Variable) or not result.is_array or "out" in call.kwargs:
        return False
    if call.function in UFUNC_OF and result not in call.writes:
        return True
    owner = getattr(call.function, "__self__", None)
    is_reduction = isinstance(owner, np.ufunc) and call.function.__name__ in REDUCING_METHODS
    if isinstance(call.function, np.ufunc):
        return call.function.nout == 1 and "where" not in call.kwargs
    if call.function is np.dot:
        return is_contiguous(result)
    return is_reduction or call.function in TAKE_OUT


class Room:
    """Memory for values that are not handed out; it is used again when a value is dead."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.free: dict[
            int, list[list[Variable]]
        ] = {}  # by bytes: pieces of memory, by their arrays
        self.living: dict[Storage, list[Variable]] = {}

    def take(self, result: Variable) -> None:
        """Find room for a value."""
        waiting = self.free.get(result.nbytes)
        arrays = waiting.pop() if waiting else []
        same = next((v for v in arrays if alike(v, result)), None)
        if same is not None:
            self.stand_for(result, same)
        elif arrays:
            self.make(
                np.ndarray, (result.shape, result.dtype, arrays[0], 0, result.strides), result
            )
        else:
            arrays = self.make_new(result)
        self.living[result.storage] = [*arrays, result]

    def make_new(self, result: Variable) -> list[Variable]:
        """Make an array with memory of its own; return what lies in this memory beside it."""
        if is_contiguous(result):
            self.make(np.empty, (result.shape, result.dtype), result)
            return []
        memory = Variable(
            np.ndarray, (result.nbytes,), np.dtype(np.uint8), (1,), Storage(), "memory"
        )
        self.make(np.empty, (memory.shape, memory.dtype), memory)
        self.make(np.ndarray, (result.shape, result.dtype, memory, 0, result.strides), result)
        return [memory]

    def make(self, function: Any, args: Any, result: Variable) -> None:
        """Make an array once for all runs."""
        self.program.once.append(Call(function, args, {}, result))

    def stand_for(self, result: Variable, array: Variable) -> None:
        """Let a value stand in an existing array."""
        self.make(in_the_memory_of, (array,), result)

    def give_back(self, storage: Storage) -> None:
        """Note that a value is dead."""
        arrays = self.living.pop(storage, None)
        if arrays is not None:
            self.free.setdefault(arrays[0].nbytes, []).append(arrays)


def buffers_and_views(program: Program) -> None:
    """Compute values into memory that was made once, and make views of such memory once.

    An elementwise function writes over an operand that dies with the call, if the result is just
    like it: NumPy is faster if that is the very same array.
    """
    shown = program.shown
    handed_out = {v.storage for v in shown}
    on_device = program.on_device  # whose library has a pool of memory
    last: dict[Storage, int] = {}
    for number, call in enumerate(program.calls):
        for variable in (*call.operands(), *call.results(), *call.writes):
            last[variable.storage] = number
    room = Room(program)
    fixed = {*program.bound, *program.buffers}
    kept = []
    for number, call in enumerate(program.calls):
        result = call.result
        operands = list(call.operands())
        if is_view_of_fixed(call, fixed) and result not in shown:
            fixed.add(result)
            program.once.append(call)
            arrays = room.living.get(result.storage)
            if arrays is not None:
                arrays.append(result)
        elif not on_device and call.function in EMPTY and is_own(result, handed_out):
            room.take(result)  # scratch space
            fixed.add(result)
        else:
            kept.append(call)
            own = not on_device and takes_out(call) and is_own(result, handed_out)
            if own and not any(v.storage is result.storage for v in operands):
                over = next(
                    (
                        v
                        for v in operands
                        if is_elementwise(call)
                        and v in fixed
                        and v.storage in room.living
                        and last[v.storage] <= number
                        and alike(v, result)
                    ),
                    None,
                )
                if over is None:
                    room.take(result)
                else:
                    room.stand_for(result, over)
                    room.living[result.storage] = [*room.living.pop(over.storage), result]
                program.buffers.add(result)
                fixed.add(result)
        for storage in [s for s in room.living if last[s] <= number]:
            room.give_back(storage)
    program.commit = first_from(program.commit, program.calls, kept)
    program.release = first_from(program.release, program.calls, kept)
    program.calls = kept


def first_from(call: Call | None, calls: list[Call], kept: list[Call]) -> Call | None:
    """Return a call if it is kept, or else the first one after it that is."""
    if call is None:
        return None
    after = calls[next(i for i, other in enumerate(calls) if other is call) :]
    still = set(map(id, kept))
    return next((other for other in after if id(other) in still), None)


def is_own(result: Variable, handed_out: set[Storage]) -> bool:
    """Tell whether nobody else will see a value, and its memory has no gaps."""
    return result.storage not in handed_out and is_dense(result)


def is_view_of_fixed(call: Call, fixed: Any) -> bool:
    """Tell whether a call makes a view of arrays that stay the same ones."""
    return is_view(call) and call.result.is_array and all(v in fixed for v in call.operands())
