"""How native parts write reductions and products of matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .calls import Call, Storage, Variable
from .native import Reduction, reduction
from .places import Axis, axes_of, index, nested, steps_in

if TYPE_CHECKING:
    from .parts import PartWriter

#: Products of so few numbers are loops: BLAS takes longer to begin.
FEW_TERMS, FEW_PRODUCTS = 32, 1 << 14


def write(writer: PartWriter, call: Call) -> list[str]:
    """Write a reduction as loops."""
    found, result = reduction(call), call.result
    assert found is not None
    source = found.arrays[0]
    places = [writer.places[v] for v in found.arrays]
    kept = [i for i in range(len(source.shape)) if i not in found.axes]
    along = result_steps(result, source.shape, found.axes)
    steps = [
        *(steps_in(p, v, source.shape) for p, v in zip(places, found.arrays, strict=True)),
        along,
    ]

    def part(axes: list[int]) -> list[Axis]:
        return axes_of(
            tuple([source.shape[i] for i in axes]), [tuple([s[i] for i in axes]) for s in steps]
        )

    reduced = part([*found.axes])
    innermost = min((abs(axis.steps[0]) for axis in reduced), default=0)
    outside = [i for i in kept if abs(steps[0][i]) > innermost or source.shape[i] == 1]
    inside = part([i for i in kept if i not in outside])
    outer = part(outside)
    how = Terms(writer, found, result)
    total = "total" if found.kind == "add" else "loop"
    axes = [*outer, *reduced]

    def element(axes: list[Axis]) -> str:
        return how.element([index(p.start, axes, i) for i, p in enumerate(places)])

    if not inside:
        lines = [f"total = {how.start}"]
        lines += nested(reduced, [how.step("total", element(axes))], len(outer))
        if not result.is_array:
            value = how.finish("total")
            return [f"{writer.name(result)} = {writer.call(total, [*lines, f'return {value}'])}"]
        where = index(0, outer, len(places))
        lines.append(f"{writer.memory(result)}[{where}] = {how.store('total')}")
        return [writer.call(total, nested(outer, lines))]
    first, last = len(outer), len(outer) + len(reduced)
    room = how.room(result)
    parts = [index(0, outer, len(places)), index(0, inside, len(places), last)]
    where = " + ".join([part for part in parts if part != "0"]) or "0"
    memory = writer.memory(room)
    lines = nested(inside, [f"{memory}[{where}] = {how.beginning}"], last)
    step = how.step_in_memory(f"{memory}[{where}]", element([*axes, *inside]))
    lines += nested([*reduced, *inside], step, first)
    if room is not result:
        target = f"{writer.memory(result)}[{where}]"
        lines += nested(inside, [f"{target} = {how.store(f'{memory}[{where}]')}"], last)
    return [writer.call(total, nested(outer, lines))]


def result_steps(
    result: Variable, shape: tuple[int, ...], reduced: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the steps of a reduction's result along the axes of what is reduced."""
    lengths = [1 if i in reduced else n for i, n in enumerate(shape)]
    return tuple(
        [0 if lengths[i] == 1 else math.prod(lengths[i + 1 :]) for i in range(len(lengths))]
    )


class Terms:
    """What is done with the terms of a reduction."""

    def __init__(self, writer: PartWriter, found: Reduction, result: Variable) -> None:
        self.writer = writer
        self.found = found
        self.kind = found.kind
        self.dtype = found.arrays[0].dtype.name
        self.of_result = result.dtype.name.replace("bool", "bool_")

    @property
    def start(self) -> str:
        """What a total is before there are terms."""
        bits = 64 if self.dtype == "float64" else 32
        return {
            "add": "np.float64(0)",
            "count": "np.int64(0)",
            "logical_or": "False",
            "logical_and": "True",
            "maximum": f"np.int{bits}({-(2 ** (bits - 1))})",
            "minimum": f"np.int{bits}({2 ** (bits - 1) - 1})",
        }[self.kind]

    @property
    def beginning(self) -> str:
        """The same where totals are in memory."""
        known = {"maximum": "-np.inf", "minimum": "np.inf", "logical_and": "1"}
        return known.get(self.kind, "0")

    def element(self, where: list[str]) -> str:
        """Write a term."""
        memory = [self.writer.memory(v) for v in self.found.arrays]
        terms = [f"{name}[{place}]" for name, place in zip(memory, where, strict=True)]
        if self.kind == "add":
            terms = [f"np.float64({term})" for term in terms]
        return " * ".join(terms)

    def step(self, total: str, term: str) -> str:
        """Write a further step of a total."""
        if self.kind in ("add", "count"):
            return f"{total} += {term}"
        if self.kind.startswith("logical"):
            word = self.kind.removeprefix("logical_")
            return f"{total} = ({term} != 0) {'|' if word == 'or' else '&'} {total}"
        way, sign = ("up", ">") if self.kind == "maximum" else ("down", "<")
        order = f"{way}_{self.dtype}({term})"
        return f"{total} = {order} if {order} {sign} {total} else {total}"

    def step_in_memory(self, total: str, term: str) -> list[str]:
        """Write a further step of one of several totals."""
        if self.kind in ("add", "count"):
            return [f"{total} += {term}"]
        if self.kind.startswith("logical"):
            return [f"{total} {'|' if self.kind == 'logical_or' else '&'}= {term}"]
        sign = ">" if self.kind == "maximum" else "<"
        return [f"{total} = {term} if {term} {sign} {total} or {term} != {term} else {total}"]

    def finish(self, total: str) -> str:
        """Write what a total is in the end."""
        if self.kind in ("maximum", "minimum"):
            return f"back_{self.dtype}({total})"
        return f"np.{self.of_result}({total})"

    def store(self, total: str) -> str:
        """Write what is put in memory of a total."""
        if self.kind.startswith("logical"):
            return f"np.uint8({total})"
        return self.finish(total)

    def room(self, result: Variable) -> Variable:
        """Return where totals are: those of float32 are float64."""
        if self.kind != "add" or result.dtype == np.float64:
            return result
        dtype = np.dtype(np.float64)
        strides = np.empty(result.shape, dtype).strides
        name = f"{result.name}_totals"
        room = Variable(np.ndarray, result.shape, dtype, strides, Storage(), name)
        self.writer.scratch(room)
        return room


# ------------------------------------------------------------------------------------ products


def write_product(writer: PartWriter, call: Call) -> list[str]:
    """Write a product of matrices: few numbers as loops, more with BLAS."""
    a, b = call.args
    result = call.result
    (m, n), k = result.shape[-2:], a.shape[-1]
    batch = result.shape[:-2]
    places = [writer.places[v] for v in (a, b, result)]
    along = [
        steps_in(p, v, (*batch, *v.shape[-2:]))[: len(batch)]
        for p, v in zip(places, (a, b, result), strict=True)
    ]
    outer = axes_of(batch, [along[2], along[0], along[1]])
    starts = [index(p.start, outer, i) for i, p in zip((1, 2, 0), places, strict=True)]
    steps = [
        matrix_steps(p.steps[-2:], size)
        for p, size in zip(places, ((m, k), (k, n), (m, n)), strict=True)
    ]
    memory = [writer.memory(v) for v in (a, b, result)]
    if k <= FEW_TERMS and m * n * k <= FEW_PRODUCTS:
        return [writer.call("total", nested(outer, few(memory, starts, steps, (m, n, k))))]
    given = ", ".join(
        f"{name}, ({start}, {row}, {column})"
        for name, start, (row, column) in zip(memory, starts, steps, strict=True)
    )
    line = f"product(({m}, {n}, {k}), {given})"
    return [writer.call("loop", nested(outer, [line]))]


def matrix_steps(steps: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return the steps of a matrix, one of which is 1."""
    row, column = steps
    if size[1] == 1 and row != 1:
        return (row, 1) if size[0] != 1 else (1, 1)
    if size[0] == 1 and column != 1:
        return 1, column
    if size[0] == 1:
        return size[1], 1
    if size[1] == 1:
        return 1, max(column, size[0])
    return row, column


def few(
    memory: list[str],
    starts: list[str],
    steps: list[tuple[int, int]],
    sizes: tuple[int, int, int],
) -> list[str]:
    """Write a product of small matrices as loops."""
    m, n, k = sizes

    def at(array: int, row: str, column: str) -> str:
        down, right = steps[array]
        terms = [f"{x} * {s}" if s != 1 else x for x, s in ((row, down), (column, right))]
        start = [] if starts[array] == "0" else [starts[array]]
        return f"{memory[array]}[{' + '.join([*start, *(t for t in terms if t != '0')])}]"

    terms = [f"{at(0, 'i', str(term))} * {at(1, str(term), 'j')}" for term in range(k)]
    return [
        f"for i in range({m}):",
        f"    for j in range({n}):",
        f"        {at(2, 'i', 'j')} = {' + '.join(terms)}",
    ]
