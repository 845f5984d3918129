"""Passes that give a function operands of the kind that it is fastest on: converted once a run."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np

from .calls import (
    UFUNC_OF,
    Call,
    Method,
    Program,
    Storage,
    Variable,
    is_contiguous,
    is_elementwise,
    one_axis,
    same,
)

#: Conversions are worth it for arrays of up to this many bytes: for large ones, memory counts.
SMALL = 1 << 18


#: What looks for extremes, and the function that does so in parts of a row.
EXTREMES: dict[Any, Any] = {
    **dict.fromkeys((np.maximum.reduce, np.max, Method("max")), np.maximum.reduceat),
    **dict.fromkeys((np.minimum.reduce, np.min, Method("min")), np.minimum.reduceat),
}


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


def numbers_first(program: Program) -> None:
    """Compute with Python's numbers only when one of them has changed.

    What they lead to stays as it is from run to run.
    """
    of_numbers = {v for v in program.inputs if v.dtype is None and not v.is_generator}
    found: list[Call] = []
    for call in program.calls:
        operands = set(call.operands())
        rooms = {v for v in call.writes if v in program.buffers and v.shape == ()}
        numbers = operands - rooms
        if numbers and numbers <= of_numbers and rooms.issuperset(call.writes):
            of_numbers.update(v for v in call.results() if v not in rooms)
            found.append(call)
    if len(found) == len(program.calls):
        return
    program.numbers = found
    moved = {id(call) for call in found}
    following = None
    for call in reversed(program.calls):
        following = following if id(call) in moved else call
        if call is program.release:
            program.release = following
    program.calls = [call for call in program.calls if id(call) not in moved]


def powers(program: Program) -> None:
    """Call what NumPy calls for the powers 1 and 2 of an array."""
    for call in program.calls:
        if call.function is operator.pow and call.result.is_array and call.result.dtype.kind == "f":
            base, exponent = call.args
            is_array = isinstance(base, Variable) and base.is_array
            if is_array and type(exponent) in (int, float) and exponent in (1, 2):
                call.function = np.square if exponent == 2 else np.positive
                call.args = (base,)


def same_numbers(program: Program) -> None:
    """Leave out conversions of NumPy's scalars to the dtype that they have."""
    for call in program.calls:
        if call.function == Method("astype") and len(call.args) == 2 and not call.kwargs:
            value, result = call.args[0], call.result
            if isinstance(value, Variable) and not value.is_array and value.kind is result.kind:
                call.function, call.args = same, (value,)


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
                    spread.value = np.broadcast_to(variable.value, result.shape).astype(dtype, "C")
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


def extremes_of_rows(program: Program) -> None:
    """Look for the largest element of each row in one long row, in which rows have their places.

    NumPy does it with the same function, and is faster on short rows.
    """
    calls: list[Call] = []
    for call in program.calls:
        if not is_of_rows(call):
            calls.append(call)
            continue
        array, result = call.args[0], call.result
        width, size = array.shape[-1], math.prod(array.shape)
        value = np.arange(0, size, width)
        starts = Variable(
            np.ndarray,
            value.shape,
            value.dtype,
            value.strides,
            Storage(constant=True),
            f"every_{width}",
            value,
        )
        flat = one_axis(array, size, f"{array.name}_flat")
        found = one_axis(result, len(value), f"{result.name}_flat")
        reshape, section = Method("reshape"), call.section
        calls += [
            Call(reshape, (array, -1), {}, flat, section=section),
            dataclasses.replace(
                call,
                function=EXTREMES[call.function],
                args=(flat, starts),
                kwargs={},
                result=found,
            ),
            Call(reshape, (found, result.shape), {}, result, section=section),
        ]
    program.calls = calls


def is_of_rows(call: Call) -> bool:
    """Tell whether a call looks for the extremes of the rows of an array that lies row by row."""
    if call.function not in EXTREMES or not call.kwargs.keys() <= {"axis", "keepdims"}:
        return False
    array, result = call.args[0], call.result
    if len(call.args) != 1 or not isinstance(array, Variable) or not isinstance(result, Variable):
        return False
    is_last = call.kwargs.get("axis", 0) in (-1, len(array.shape) - 1) and len(array.shape) > 1
    is_known = array.dtype.kind in "fiu" and is_contiguous(array) and is_contiguous(result)
    return is_last and is_known and not call.writes and math.prod(array.shape) > 0
