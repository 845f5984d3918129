"""Passes that give a function operands of the kind that it is fastest on: converted once a run."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .calls import UFUNC_OF, Call, Program, Storage, Variable, is_contiguous, is_elementwise

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
