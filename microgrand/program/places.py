"""Where arrays lie that native parts read and write: views are not arrays of their own there.

A view is its root, an array that is not a view, from another element on and in other steps:

    qkv[:, :, 1].swapaxes(1, 2)      root qkv, from element 128 on, in steps 24576, 32, 384, 1
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import numpy as np

from .calls import Attribute, Call, Method, Variable

#: Functions that make views, if what they make shares memory with what they are given.
VIEWS = {
    Attribute("T"),
    operator.getitem,
    *(np.reshape, np.ravel, np.swapaxes, np.transpose, np.moveaxis, np.squeeze, np.expand_dims),
    *(np.broadcast_to, np.lib.stride_tricks.as_strided, np.lib.stride_tricks.sliding_window_view),
    *map(Method, ("reshape", "ravel", "swapaxes", "transpose", "squeeze")),
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an array lies: in which other one, from which element on, and in which steps."""

    root: Variable
    start: int
    steps: tuple[int, ...]


class Places:
    """Tells where arrays lie, from the calls that make views."""

    def __init__(self, calls: list[Call]) -> None:
        self.makers = {call.result: call for call in calls if is_placed_view(call)}
        self.known: dict[Variable, Place] = {}

    def __getitem__(self, variable: Variable) -> Place:
        if variable not in self.known:
            self.known[variable] = self.find(variable)
        return self.known[variable]

    def find(self, variable: Variable) -> Place:
        """Find out where an array lies."""
        size = variable.dtype.itemsize
        steps = tuple([step // size for step in variable.strides])
        if variable not in self.makers:
            return Place(variable, 0, steps)
        call = self.makers[variable]
        source = self[call.args[0]]
        return Place(source.root, source.start + start_of(call) // size, steps)

    def part(self, array: Variable, index: Any) -> Variable:
        """Return a part of an array as a variable."""
        index = index if isinstance(index, tuple) else (index,)
        if not any(item is Ellipsis for item in index):
            index = (*index, Ellipsis)  # then also one element is a view
        return self.view(array, operator.getitem, index)

    def view(self, array: Variable, function: Any, *args: Any) -> Variable:
        """Return a view of an array as a variable."""
        view = function(like(array), *args)
        made = Variable(np.ndarray, view.shape, view.dtype, view.strides, array.storage)
        self.makers[made] = Call(function, (array, *args), {}, made)
        return made


def is_placed_view(call: Call) -> bool:
    """Tell whether a call makes a view, and constants tell which one."""
    result = call.result
    source = call.args[0] if call.args else None
    if not (isinstance(result, Variable) and isinstance(source, Variable)):
        return False
    return (
        result.is_array
        and source.is_array
        and (call.function in VIEWS or is_bitcast(call))
        and result.storage is source.storage
        and list(call.operands()) == [source]
        and all(v.dtype is not None and is_in_steps(v) for v in (source, result))
    )


def is_bitcast(call: Call) -> bool:
    """Tell whether a call takes the bits of numbers for other numbers of the same size."""
    result, source = call.result, call.args[0] if call.args else None
    return (
        call.function == Method("view")
        and len(call.args) == 2
        and isinstance(source, Variable)
        and isinstance(result, Variable)
        and result.is_array
        and result.shape == source.shape
        and bool(result.dtype.itemsize == source.dtype.itemsize > 1)
    )


def is_in_steps(array: Variable) -> bool:
    """Tell whether whole elements lie between those of an array."""
    return all(step % array.dtype.itemsize == 0 for step in array.strides)


def start_of(call: Call) -> int:
    """Return after how many bytes of its source a view begins."""
    source = like(call.args[0])
    view = call.function(source, *call.args[1:], **call.kwargs)
    if view.strides != call.result.strides or 0 in view.shape:
        return 0  # nobody reads what has no elements; steps to the only one are never taken
    begins = [array.__array_interface__["data"][0] for array in (view, source)]
    return int(begins[0] - begins[1])


def like(array: Variable) -> Any:
    """Return what looks like an array, but has no elements to be read."""
    nothing = np.empty(1, array.dtype)
    return np.lib.stride_tricks.as_strided(nothing, array.shape, array.strides)


def count(array: Variable) -> int:
    """Return how many elements there are from the first one of an array to the last."""
    if 0 in array.shape:
        return 0
    size = array.dtype.itemsize
    places = zip(array.shape, array.strides, strict=True)
    return 1 + int(sum((n - 1) * step // size for n, step in places))


# ------------------------------------------------------------------------------- loops over them


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of a loop: its length, and each array's step along it."""

    length: int
    steps: tuple[int, ...]


def axes_of(shape: tuple[int, ...], steps: list[tuple[int, ...]]) -> list[Axis]:
    """Return the axes of loops over arrays, each with the steps of one array along all axes.

    They are in the order of the first array's memory, and one where two can be: where all arrays
    go on after the one as if the other had another element.
    """
    along = [Axis(n, tuple([s[i] for s in steps])) for i, n in enumerate(shape) if n != 1]
    along.sort(key=lambda axis: [-abs(step) for step in axis.steps[:1]])
    merged: list[Axis] = []
    for axis in along:
        if merged and merged[-1].steps == tuple([step * axis.length for step in axis.steps]):
            merged[-1] = Axis(merged[-1].length * axis.length, axis.steps)
        else:
            merged.append(axis)
    return merged


def steps_in(place: Place, array: Variable, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the steps of an array that is broadcast to a shape."""
    missing = len(shape) - len(array.shape)
    own = [0 if n == 1 else s for n, s in zip(array.shape, place.steps, strict=True)]
    return (*[0] * missing, *own)


def index(start: int, axes: list[Axis], array: int, first: int = 0) -> str:
    """Write the place of an element in loops over axes."""
    terms = [
        f"i{first + i}" if axis.steps[array] == 1 else f"i{first + i} * {axis.steps[array]}"
        for i, axis in enumerate(axes)
        if axis.steps[array]
    ]
    return " + ".join([*terms, *([str(start)] if start or not terms else [])])


def nested(axes: list[Axis], body: list[str], first: int = 0) -> list[str]:
    """Write loops over axes around lines."""
    lines = [
        f"{'    ' * i}for i{first + i} in range({axis.length}):" for i, axis in enumerate(axes)
    ]
    return [*lines, *("    " * len(axes) + line for line in body)]
