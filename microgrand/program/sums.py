"""A pass for gradients of parts: arrays that are 0 but for one part each are filled, not added.

Of ``a, b = x[:, 0], x[:, 1]``, the gradients are

    first = np.zeros_like(x)
    first[:, 0] = a_grad
    second = np.zeros_like(x)
    second[:, 1] = b_grad
    x_grad = first + second

where each element gets but a 0 from the other array. It is enough to add that:

    x_grad = np.empty(x.shape, x.dtype)
    np.add(a_grad, 0, out=x_grad[:, 0])
    np.add(b_grad, 0, out=x_grad[:, 1])
"""

from __future__ import annotations

import operator
from collections import Counter

import numpy as np

from .calls import Call, Program, Variable, is_contiguous, is_plain_index
from .passes import made_by


class Sum:
    """An array of zeros with one part that is filled, or a sum of such arrays."""

    def __init__(self, array: Variable, fills: list[Call], left_out: list[Call]) -> None:
        self.array = array
        self.fills = fills
        self.left_out = left_out
        #: How often each element is filled.
        self.times = np.zeros(array.shape, np.int8)

    def plus(self, other: Sum, call: Call) -> Sum:
        """Return the sum of two, which a call computes."""
        left_out = [*self.left_out, *other.left_out, call]
        both = Sum(call.result, [*self.fills, *other.fills], left_out)
        both.times = self.times + other.times
        return both


def sums_of_parts(program: Program) -> None:
    """Fill an array with its parts where arrays with one part each would be added."""
    makers = made_by(program)
    uses = Counter(v for call in program.calls for v in call.operands())
    uses.update(program.shown)
    found: dict[Variable, Sum] = {}
    for call in program.calls:
        if call.function is operator.setitem and fills_a_part(call, makers):
            array = call.args[0]
            if uses[array] == 2:  # here and in a sum
                found[array] = Sum(array, [call], [makers[array]])
                found[array].times[call.args[1]] = 1
        elif call.function in (operator.add, np.add) and is_of_two(call, found):
            one, other = (found[arg] for arg in call.args)
            both = one.plus(other, call)
            is_last_use = all(uses[x.array] == 1 or len(x.fills) == 1 for x in (one, other))
            if both.times.max() == 1 and is_last_use:
                del found[one.array], found[other.array]
                found[call.result] = both
    fill(program, [x for x in found.values() if len(x.fills) > 1])


def fill(program: Program, found: list[Sum]) -> None:
    """Put arrays that are filled in the place of sums."""
    replaced: dict[int, list[Call]] = {}
    for one in found:
        if any(call is program.release for call in one.left_out):
            continue
        replaced |= {id(call): [] for call in one.left_out}
        replaced |= {id(call): part_filled(call, one.array) for call in one.fills}
        left_out = {id(call) for call in one.left_out}
        first = next(call for call in program.calls if id(call) in left_out)
        first.function = np.empty if one.times.all() else np.zeros
        first.args, first.kwargs = (one.array.shape, one.array.dtype), {}
        first.result = one.array
        replaced[id(first)] = [first]
    program.calls = [x for call in program.calls for x in replaced.get(id(call), [call])]


def fills_a_part(call: Call, makers: dict[Variable, Call]) -> bool:
    """Tell whether a call fills a part of new zeros with an array just like the part."""
    array, index, value = call.args
    maker = makers.get(array)
    if maker is None or maker.function not in (np.zeros, np.zeros_like):
        return False
    if not is_plain_index(index) or not isinstance(value, Variable) or not value.is_array:
        return False
    part = np.broadcast_to(0, array.shape)[index]
    is_view = isinstance(part, np.ndarray)  # one number is none
    is_plain = array.dtype.kind in "fiu" and is_contiguous(array)
    return is_view and is_plain and value.dtype == array.dtype and value.shape == part.shape


def is_of_two(call: Call, found: dict[Variable, Sum]) -> bool:
    """Tell whether a call adds two of these arrays."""
    if call.kwargs or call.errstate or not all(isinstance(x, Variable) for x in call.args):
        return False
    one, other = call.args
    alike = one in found and other in found and one.shape == other.shape
    return alike and one is not other and one.dtype == other.dtype and is_contiguous(call.result)


def part_filled(call: Call, array: Variable) -> list[Call]:
    """Return the calls that fill the part of another array."""
    _, index, value = call.args
    like = np.empty(array.shape, array.dtype)[index]
    name = f"{array.name}_part"
    part = Variable(np.ndarray, like.shape, like.dtype, like.strides, array.storage, name)
    view = Call(operator.getitem, (array, index), {}, part, section=call.section)
    call.function, call.args, call.kwargs = np.add, (value, 0), {"out": part}
    call.result, call.writes = part, (part,)
    return [view, call]
