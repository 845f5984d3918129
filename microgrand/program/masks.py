"""Passes for masks. What is dropped is zeroed by products with 0 and 1, of floats read as integers:

    x.view(int32) * mask

ReLU's mask and Dropout's follow each other, forward and backward; one product with both is enough.
"""

from __future__ import annotations

import dataclasses
import operator
from collections import Counter
from typing import Any

import numpy as np

from .calls import (
    UFUNC_OF,
    Call,
    Method,
    Program,
    Storage,
    Variable,
    expect,
    is_contiguous,
)
from .operands import SMALL, make_room
from .passes import Names, made_by

#: A mask of this many bytes is worth a view as int8, which is converted faster than bool.
WORTH_A_VIEW = 1 << 12


class Zeroing:
    """A product of a float's bits with a mask, and what comes between it and the one before."""

    def __init__(self, call: Call, bits: Variable, mask: Variable) -> None:
        self.call = call
        self.bits = bits
        self.mask = mask
        self.between: list[Call] = []  # views, and at most one product with a scale
        self.scale: Any = None
        self.before: Zeroing | None = None


def join_masks(program: Program) -> None:
    """Zero by two masks at once where one follows the other.

    ``x * a * b`` is ``x * (a & b)``. Backward, a scale stands between the two, and comes after
    both: it leaves zeros as they are, for it is checked to be positive and finite.
    """
    makers = made_by(program)
    uses = Counter(v for call in program.calls for v in call.operands())
    uses.update(dict.fromkeys(program.shown, 2))
    written = {v.storage for call in program.calls for v in call.writes}
    joined: dict[frozenset[Variable], Variable] = {}
    for call in list(program.calls):
        second = zeroing(call, makers)
        if second is None or not find_first(second, makers, uses) or second.before is None:
            continue
        first = second.before
        chain = [first.call, *second.between, call]
        touched = {v.storage for c in chain for v in c.operands()}
        if touched & written or any(c.errstate for c in chain) or call.result in program.shown:
            continue
        key = frozenset((first.mask, second.mask))
        if second.scale is None:
            if key not in joined:
                both = joined[key] = like_mask(first.mask, second.mask)
                masks = (first.mask, second.mask)
                together = dataclasses.replace(
                    call, function=np.bitwise_and, args=masks, result=both
                )
                program.calls.insert(program.calls.index(call), together)
            call.args = (first.bits, joined[key])
            left_out = chain[:-1]
        elif key in joined and can_come_later(second.scale, call, program):
            first.call.args = (first.bits, joined[key])
            left_out = [call]
            Names(program).rename(call.result, second.bits)
        else:
            continue
        program.calls = [c for c in program.calls if not any(c is x for x in left_out)]
        makers = made_by(program)
        uses = Counter(v for c in program.calls for v in c.operands())
        uses.update(dict.fromkeys(program.shown, 2))


def zeroing(call: Call | None, makers: dict[Variable, Call]) -> Zeroing | None:
    """Return a call as a product of bits with a mask of the same shape, if it is one."""
    if call is None or call.function not in (operator.mul, np.multiply) or call.kwargs:
        return None
    for mask, bits in (call.args, call.args[::-1]):
        if not (isinstance(mask, Variable) and isinstance(bits, Variable)):
            return None
        is_product = mask.dtype == bool and bits.dtype.kind == "i" and call.result.is_array
        same_shape = mask.shape == bits.shape == call.result.shape
        maker = makers.get(mask)
        if is_product and same_shape and maker is not None and bits.is_array:
            makes_0_or_1 = isinstance(UFUNC_OF.get(maker.function, maker.function), np.ufunc)
            if makes_0_or_1 and all(map(is_contiguous, (mask, bits, call.result))):
                return Zeroing(call, bits, mask)
    return None


def find_first(second: Zeroing, makers: dict[Variable, Call], uses: Counter[Variable]) -> bool:
    """Go back from a product with a mask to the one before, whose value nobody else reads."""
    variable = second.bits
    while uses[variable] == 1:
        maker = makers.get(variable)
        second.before = zeroing(maker, makers)
        if maker is None or second.before is not None:
            return second.before is not None
        array, scale = scaled(maker)
        is_view = maker.function == Method("view") and maker.result.shape == maker.args[0].shape
        if scale is not None and second.scale is None:
            second.scale = scale
        elif not is_view:
            return False
        second.between.insert(0, maker)
        variable = maker.args[0] if is_view else array
    return False


def scaled(call: Call) -> tuple[Any, Any]:
    """Return the array of floats and the number that a call multiplies, or nothing."""
    if call.function in (operator.mul, np.multiply) and not call.kwargs:
        for array, number in (call.args, call.args[::-1]):
            is_number = type(number) is float or getattr(number, "kind", None) is float
            if is_number and isinstance(array, Variable) and array.dtype == call.result.dtype:
                return (array, number) if array.is_array else (None, None)
    return None, None


def like_mask(first: Variable, second: Variable) -> Variable:
    """Make the variable of two masks together."""
    name = f"{first.name}_and_{second.name}"
    return Variable(np.ndarray, first.shape, first.dtype, second.strides, Storage(), name)


def can_come_later(scale: Any, before: Call, program: Program) -> bool:
    """Tell whether a scale leaves zeros as they are; have a run check that it does."""
    most = float(np.finfo(np.float32).max)
    if not isinstance(scale, Variable):
        return bool(0 < scale <= most)
    makers = made_by(program)
    if any(call.function is operator.lt and call.args == (0, scale) for call in program.calls):
        return True
    place = program.calls.index(makers[scale]) + 1 if scale in makers else 0
    if place > program.calls.index(before):
        return False
    checks = []
    for smaller, larger in ((0, scale), (scale, most)):
        answer = Variable(bool, (), None, (), Storage(), "scale_is_fine")
        checks.append(Call(operator.lt, (smaller, larger), {}, answer))
        checks.append(Call(expect, (bool, answer, True), {}))
    program.calls[place:place] = checks
    return True


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
                    value, view = as_bytes(mask, call)
                    args = (room, Ellipsis, value)
                    fill = Call(operator.setitem, args, {}, None, (room,), section=call.section)
                    calls += [*view, fill]
                    for c, i in of_dtype:
                        c.args = tuple(room if j == i else arg for j, arg in enumerate(c.args))
    program.calls = calls


def as_bytes(mask: Variable, maker: Call) -> tuple[Variable, list[Call]]:
    """Return a mask as numbers of one byte, and the view that it takes, if that is worth it."""
    is_0_or_1 = isinstance(UFUNC_OF.get(maker.function, maker.function), np.ufunc)
    if mask.nbytes < WORTH_A_VIEW or not is_0_or_1:
        return mask, []
    name = f"{mask.name}_bytes"
    view = Variable(np.ndarray, mask.shape, np.dtype(np.int8), mask.strides, mask.storage, name)
    return view, [Call(Method("view"), (mask, np.int8), {}, view, section=maker.section)]
