"""The passes: each takes a program and leaves one that does the same, to the bit, in less time."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from typing import Any

import numpy as np

from .calls import (
    CHECKS,
    UFUNC_OF,
    Call,
    Method,
    Program,
    Storage,
    Variable,
    in_the_memory_of,
    mapped,
    raw_bytes,
)
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
    return any(variable.is_generator for variable in call.operands())


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


def checks_first(program: Program) -> set[tuple[Storage, Storage]]:
    """Move checks to the front, with what they depend on: there nothing has been changed yet.

    Return which arrays from outside they read before others are written into, rather than
    afterwards: these must not overlap.
    """
    front: list[Call] = []
    apart: set[tuple[Storage, Storage]] = set()
    written: dict[Storage, None] = {}
    moved: set[int] = set()
    for call in program.calls:
        written |= {v.storage: None for v in call.writes if v.storage.external}
        if call.function in CHECKS:
            needed = needed_for(call, program)
            if needed is not None:
                read = {v.storage for other in (*needed, call) for v in other.operands()}
                apart |= {(r, w) for r in read for w in written if r.external}
                for other in (*needed, call):
                    if id(other) not in moved:
                        moved.add(id(other))
                        front.append(other)
    program.calls = front + [call for call in program.calls if id(call) not in moved]
    return apart


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
    checks = [call for call in numbers_only if call.function in CHECKS]
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
            before = whole.result
            joined = bytes_like(before, whole.args[1])
            part = dataclasses.replace(
                whole, function=operator.getitem, args=(joined, slice(0, 8 * whole.args[1]))
            )
            before.storage = joined.storage
            whole.result = joined
            calls.insert(next(i for i, c in enumerate(calls) if c is whole) + 1, part)
            first = part
            open_draws[generator] = whole, part
        start = whole.args[1]
        whole.args = (generator, start + count)
        whole.result.shape = (8 * (start + count),)
        call.function = operator.getitem
        call.args = (whole.result, slice(8 * start, 8 * (start + count)))
        move(call.result.storage, whole.result.storage, program)
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
    """Make the variable of all bytes that are drawn at once."""
    return dataclasses.replace(variable, shape=(8 * count,), name="random_bytes")


def move(before: Storage, after: Storage, program: Program) -> None:
    """Let all that was in one memory be in another one."""
    for call in program.calls:
        for variable in (*call.operands(), *call.results()):
            if variable.storage is before:
                variable.storage = after


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
    """Return the calls from a call on."""
    return [] if first is None else program.calls[program.calls.index(first) :]


# ------------------------------------------------------------------------------------- sharing


def share(program: Program) -> dict[Variable, Variable]:
    """Compute once what is computed twice; return what now stands for what.

    A value that was computed before an array was written into is not the one computed afterwards.
    Arrays from outside may overlap: a write into one is a write into all. What is written into
    later, or handed out, is not shared.
    """
    written = {variable.storage for call in program.calls for variable in call.writes}
    handed_out = {variable.storage for variable in program.shown}
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
        is_view = isinstance(result, Variable) and result.storage in storages
        read = (
            ()
            if is_view
            else tuple(
                sorted((id(s), times.get("outside" if s.external else s, 0)) for s in storages)
            )
        )
        key = (call.function, frozen(call.args), frozen(call.kwargs), call.errstate, read)
        first = seen.get(key)
        new_to_others = any(v.storage in handed_out for v in call.results()) and not is_view
        new_to_others |= any(v in program.shown for v in call.results())
        may_be_one = is_view or all(v.storage not in written for v in call.results())
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

#: Functions that only ask an array for its shape and dtype.
OF_A_SHAPE = (np.zeros_like, np.ones_like)


def fold_constants(program: Program) -> None:
    """Compute now what depends on constants only, if it is not written into or handed out."""
    changing = {v.storage for call in program.calls for v in call.writes}
    changing |= {v.storage for v in program.shown}
    kept = []
    for call in program.calls:
        result = call.result
        operands = list(call.operands())
        is_constant = bool(operands) and all(v.storage.constant for v in operands)
        if (
            isinstance(result, Variable)
            and (is_constant or call.function in OF_A_SHAPE)
            and result.storage not in changing
            and not has_effect(call)
            and not call.errstate
        ):
            args, kwargs = mapped(example, call.args), mapped(example, call.kwargs)
            result.value = call.function(*args, **kwargs)
            result.storage = Storage(constant=True)
        else:
            kept.append(call)
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
            if any(copy in other.operands() for other in program.calls[:number]):
                continue  # it was read before it was filled
            left_out |= {id(c) for c in calls}
            rename(program, value, copy)
        elif not changed and copy.storage not in handed_out:
            if value.storage.external and writes_outside:
                continue
            left_out |= {id(c) for c in calls}
            rename(program, copy, value)
    program.calls = [call for call in program.calls if id(call) not in left_out]


def rename(program: Program, old: Variable, new: Variable) -> None:
    """Put a variable in the place of another one, and all views of it in its memory."""
    exchange = functools.partial(exchanged, old, new)
    for call in program.calls:
        call.args, call.kwargs = mapped(exchange, call.args), mapped(exchange, call.kwargs)
        call.result = mapped(exchange, call.result)
    move(old.storage, new.storage, program)


def exchanged(old: Variable, new: Variable, leaf: Any) -> Any:
    """Put a variable in the place of another one."""
    return new if leaf is old else leaf


# --------------------------------------------------------- the right kind of array, once a run

#: Conversions are worth it for arrays of up to this many bytes: for large ones, memory counts.
SMALL = 1 << 18


def numbers_as_arrays(program: Program) -> None:
    """Give ufuncs their numbers as 0-d arrays of the dtype that they compute in.

    NumPy would make such an array of a Python number in each call.
    """
    constants: dict[Any, Variable] = {}
    converted: dict[Any, Variable] = {}
    calls: list[Call] = []
    for call in program.calls:
        dtype = dtype_of_numbers(call)
        args = list(call.args)
        for i, arg in enumerate(args if dtype is not None else ()):
            if is_number(arg) and fits(arg, dtype):
                key = dtype, type(arg), repr(arg)
                if key not in constants:
                    value = np.array(arg, dtype)
                    constants[key] = Variable(
                        np.ndarray, (), dtype, (), Storage(constant=True), f"number_{arg}", value
                    )
                args[i] = constants[key]
            elif isinstance(arg, Variable) and arg.kind in NUMBERS_IN[dtype.kind]:
                if (arg, dtype) not in converted:
                    room = Variable(np.ndarray, (), dtype, (), Storage(), f"{arg.name}_{dtype}")
                    converted[arg, dtype] = room
                    make_room(program, room)
                    calls.append(
                        Call(
                            operator.setitem,
                            (room, (), arg),
                            {},
                            None,
                            (room,),
                            section=call.section,
                        )
                    )
                args[i] = converted[arg, dtype]
        call.args = tuple(args)
        calls.append(call)
    program.calls = calls


def powers(program: Program) -> None:
    """Call what NumPy calls for the powers 1 and 2 of an array."""
    for call in program.calls:
        if call.function is operator.pow and call.result.is_array and call.result.dtype.kind == "f":
            base, exponent = call.args
            is_array = isinstance(base, Variable) and base.is_array
            if is_array and type(exponent) in (int, float) and exponent in (1, 2):
                call.function = np.square if exponent == 2 else np.positive
                call.args = (base,)


#: The numbers that NumPy converts to the dtype of an array beside them, by its kind.
NUMBERS_IN: dict[str, tuple[type, ...]] = {"f": (int, float), "u": (int,)}


def make_room(program: Program, room: Variable) -> None:
    """Make an array once, to be written into in each run."""
    program.once.append(Call(np.empty, (room.shape, room.dtype), {}, room))
    program.buffers.add(room)


def is_number(arg: Any) -> bool:
    """Tell whether an argument is a Python number, or one of NumPy's scalars."""
    return type(arg) in (int, float) or isinstance(arg, (np.floating, np.integer))


def fits(arg: Any, dtype: Any) -> bool:
    """Tell whether NumPy would compute with a number in this dtype."""
    if isinstance(arg, np.generic):
        return bool(arg.dtype == dtype)
    if dtype.kind == "f":
        is_exact = type(arg) is float or abs(arg) < 2**53
        return is_exact and bool(abs(arg) <= float(np.finfo(dtype).max) or abs(arg) == np.inf)
    return type(arg) is int and np.iinfo(dtype).min <= arg <= np.iinfo(dtype).max


def dtype_of_numbers(call: Call) -> Any:
    """Return the one dtype of the arrays that an elementwise call computes with, or None."""
    result = call.result
    if not isinstance(result, Variable) or not result.is_array or not is_elementwise(call):
        return None
    if "dtype" in call.kwargs or len(call.args) != 2 or call.function in (operator.pow, np.power):
        return None
    dtypes = {v.dtype for v in call.args if isinstance(v, Variable) and v.is_array}
    (dtype,) = dtypes if len(dtypes) == 1 else (None,)
    if dtype is None or result.dtype not in (dtype, bool):  # float_power has dtypes of its own
        return None
    return dtype if dtype.kind in "fu" else None


def masks_as_integers(program: Program) -> None:
    """Convert a mask once, rather than in each of its products with integers."""
    uses: dict[Variable, list[tuple[Call, int]]] = {}
    for call in program.calls:
        if call.function in (operator.mul, np.multiply) and call.result.is_array:
            for i, arg in enumerate(call.args):
                if isinstance(arg, Variable) and arg.dtype == bool and arg.nbytes <= SMALL:
                    other = call.args[1 - i]
                    if isinstance(other, Variable) and other.dtype.kind == "i":
                        uses.setdefault(arg, []).append((call, i))
    converted: dict[Any, Variable] = {}
    calls = []
    for call in program.calls:
        calls.append(call)
        for mask in call.results():
            products = uses.get(mask, [])
            for dtype in {c.args[1 - i].dtype for c, i in products}:
                of_dtype = [(c, i) for c, i in products if c.args[1 - i].dtype == dtype]
                if len(of_dtype) > 1 and is_contiguous(mask):
                    strides = tuple(step * dtype.itemsize for step in mask.strides)
                    name = f"{mask.name}_as_{dtype}" if mask.name else ""
                    room = Variable(np.ndarray, mask.shape, dtype, strides, Storage(), name)
                    make_room(program, room)
                    args = (room, Ellipsis, mask)
                    calls.append(
                        Call(operator.setitem, args, {}, None, (room,), section=call.section)
                    )
                    converted[mask, dtype] = room
                    for c, i in of_dtype:
                        c.args = tuple(room if j == i else arg for j, arg in enumerate(c.args))
    program.calls = calls


#: Spreading is worth it for results of up to this many bytes.
TINY = 1 << 15


def operands_alike(program: Program) -> None:
    """Spread the smaller operand of an elementwise call to the shape of the result.

    NumPy has a short way for operands of one shape and dtype. For small arrays, it saves more than
    it costs to copy a bias into each row, or a mask into the floats that it is subtracted from.
    """
    calls: list[Call] = []
    for call in program.calls:
        arrays = [v for v in call.args if isinstance(v, Variable) and v.is_array and v.shape]
        if can_be_spread(call, arrays):
            result = call.result
            dtype = np.result_type(*[v.dtype for v in arrays])
            for variable in arrays:
                if (variable.shape, variable.dtype) == (result.shape, dtype):
                    continue
                spread = Variable(
                    np.ndarray,
                    result.shape,
                    dtype,
                    np.empty(result.shape, dtype).strides,
                    Storage(),
                    f"{variable.name}_spread",
                )
                if variable.storage.constant:
                    spread.storage = Storage(constant=True)
                    spread.value = np.broadcast_to(variable.value, result.shape).astype(dtype)
                else:
                    room = Call(np.empty_like, (variable,), {}, spread, section=call.section)
                    args = (spread, Ellipsis, variable)
                    copy = Call(operator.setitem, args, {}, None, (spread,), section=call.section)
                    calls += [room, copy]
                call.args = tuple([spread if v is variable else v for v in call.args])
        calls.append(call)
    program.calls = calls


def can_be_spread(call: Call, arrays: list[Variable]) -> bool:
    """Tell whether it is known in which dtype a call computes with two small arrays."""
    if len(arrays) != 2 or len(call.args) != 2 or call.kwargs or not is_elementwise(call):
        return False
    result = call.result
    if not isinstance(result, Variable) or result in call.writes or not is_contiguous(result):
        return False
    dtypes = {v.dtype for v in arrays}
    function = UFUNC_OF.get(call.function, call.function)
    if len(dtypes) == 2:
        is_sum = function in (np.add, np.subtract, np.multiply)
        if not is_sum or np.dtype(bool) not in dtypes or result.dtype not in dtypes:
            return False
    return all(0 < math.prod(result.shape) * d.itemsize <= TINY for d in dtypes)


# ------------------------------------------------------------------------------------- buffers

#: Functions beside ufuncs that compute into `out`, if it is as they would have made it.
TAKE_OUT = {np.dot, np.matmul}


def takes_out(call: Call) -> bool:
    """Tell whether the result of a call can be computed into memory that is there."""
    result = call.result
    if not isinstance(result, Variable) or not result.is_array or "out" in call.kwargs:
        return False
    if call.function in UFUNC_OF and result not in call.writes:
        return True
    owner = getattr(call.function, "__self__", None)
    is_reduction = isinstance(owner, np.ufunc) and call.function.__name__ == "reduce"
    if isinstance(call.function, np.ufunc):
        return call.function.nout == 1 and "where" not in call.kwargs
    if call.function is np.dot:
        return is_contiguous(result)
    return is_reduction or call.function in TAKE_OUT


def is_contiguous(variable: Variable) -> bool:
    """Tell whether an array lies in memory row by row."""
    stride = variable.dtype.itemsize
    for length, step in zip(reversed(variable.shape), reversed(variable.strides), strict=True):
        if length != 1 and step != stride:
            return False
        stride *= length
    return True


def is_dense(variable: Variable) -> bool:
    """Tell whether an array fills its memory, in whatever order of its axes."""
    if 0 in variable.shape:
        return False
    stride = variable.dtype.itemsize
    axes = sorted(zip(variable.strides, variable.shape, strict=True))
    for step, length in axes:
        if length != 1:
            if step != stride:
                return False
            stride *= length
    return True


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
        """Let a value be in an array that is there."""
        self.make(in_the_memory_of, (array,), result)

    def give_back(self, storage: Storage) -> None:
        """Take note that a value is dead."""
        arrays = self.living.pop(storage, None)
        if arrays is not None:
            self.free.setdefault(arrays[0].nbytes, []).append(arrays)


def alike(x: Variable, y: Variable) -> bool:
    """Tell whether two arrays look the same in memory, and the first may be written into."""
    return x.writeable and x.shape == y.shape and x.dtype == y.dtype and x.strides == y.strides


def buffers_and_views(program: Program) -> None:
    """Compute values into memory that was made once, and make views of such memory once.

    An elementwise function writes over an operand that dies with the call, if the result is just
    like it: NumPy is faster if that is the very same array.
    """
    handed_out = {v.storage for v in program.shown}
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
        if is_view_of_fixed(call, fixed) and result not in program.shown:
            fixed.add(result)
            program.once.append(call)
            arrays = room.living.get(result.storage)
            if arrays is not None:
                arrays.append(result)
        elif call.function is np.empty_like and is_own(result, handed_out):
            room.take(result)  # scratch space
            fixed.add(result)
        else:
            kept.append(call)
            own = takes_out(call) and is_own(result, handed_out)
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
    program.calls = kept


def is_own(result: Variable, handed_out: set[Storage]) -> bool:
    """Tell whether nobody else will see a value, and its memory has no gaps."""
    return result.storage not in handed_out and is_dense(result)


def is_view_of_fixed(call: Call, fixed: Any) -> bool:
    """Tell whether a call makes a view of arrays that stay the same ones."""
    operands = list(call.operands())
    return (
        isinstance(call.result, Variable)
        and call.result.is_array
        and not has_effect(call)
        and all(v in fixed for v in operands)
        and any(v.storage is call.result.storage for v in operands)
    )


def is_elementwise(call: Call) -> bool:
    """Tell whether each element of the result depends on the elements in its place only."""
    function = UFUNC_OF.get(call.function, call.function)
    return isinstance(function, np.ufunc) and function.signature is None
