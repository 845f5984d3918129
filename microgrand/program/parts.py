"""A native part as Python that Numba can compile.

Elementwise calls on one shape become one loop:

    for i0 in range(32):
        for i1 in range(16):
            v4_ = np.float32(np.float32(v2[i0, i1]) + np.float32(v3[i1]))
            ...

A value that nobody reads outside of its loop is never an array. A loop that writes into an array
reads no other one that may lie in the same memory. Equal parts have equal texts.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .calls import Attribute, Call, Variable
from .native import (
    COPIES,
    FORMS,
    MAKERS,
    dtypes_of_loop,
    is_bitcast,
    is_choice,
    is_conversion,
    is_native_check,
    is_native_elementwise,
    is_product,
    is_reshape,
    may_overlap,
    reduced_axes,
    reduced_by,
    ufunc_of,
)


class Loop:
    """Elementwise calls on one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.calls: list[Call] = []
        self.made: set[Variable] = set()
        self.read: set[Variable] = set()  # arrays
        self.written: set[Variable] = set()

    def takes(self, call: Call) -> bool:
        """Tell whether a call may be in the loop."""
        if shape_of(call) != self.shape:
            return False
        for v in call.operands():
            if v in self.made and v.is_array and v.shape != self.shape:
                return False
            if v not in self.made and any(v is not w and may_overlap(v, w) for w in self.written):
                return False
        for target in call.writes:
            if target in self.made:
                return False
            if any(v is not target and may_overlap(v, target) for v in self.read | self.written):
                return False
        return True

    def add(self, call: Call) -> None:
        """Add a call."""
        self.calls.append(call)
        self.read.update(v for v in call.operands() if v.is_array and v not in self.made)
        self.written.update(call.writes)
        if not call.writes:
            self.made.add(call.result)


def shape_of(call: Call) -> tuple[int, ...]:
    """Return the shape that an elementwise call loops over."""
    shape: tuple[int, ...] = call.result.shape
    return shape


class PartWriter:
    """Writes a group of calls as one function."""

    def __init__(self, group: list[Call], outputs: list[Variable], live_views: set[Call]) -> None:
        self.outputs = outputs
        self.live_views = live_views
        self.parameters: dict[Variable, str] = {}
        self.names: dict[Variable, str] = {}
        self.made = {v for call in group for v in call.results() if v not in call.writes}
        self.items = self.arrange(group)
        self.stored = self.find_stored()
        self.sliced: set[Variable] = set()  # parts of arrays, and views of them
        self.turned: set[Variable] = set()  # transposed ones
        self.here: set[Variable] = set()  # what the loop being written has made

    def arrange(self, group: list[Call]) -> list[Any]:
        """Gather elementwise calls in loops."""
        items: list[Any] = []
        loop: Loop | None = None
        for call in group:
            if not self.in_loop(call):
                loop = None
                items.append(call)
                continue
            if loop is None or not loop.takes(call):
                loop = Loop(shape_of(call))
                items.append(loop)
            loop.add(call)
        return items

    def in_loop(self, call: Call) -> bool:
        """Tell whether a call is done element by element, beside others."""
        if is_native_elementwise(call):
            return True
        return is_bitcast(call) and call not in self.live_views

    def find_stored(self) -> set[Variable]:
        """Return the arrays that must be in memory: they are read outside of their loop."""
        stored = set(self.outputs)
        for item in self.items:
            if isinstance(item, Loop):
                stored.update(
                    v for call in item.calls for v in call.operands() if v not in item.made
                )
            else:
                stored.update(item.operands())
        return stored

    # ---- names and numbers

    def name(self, variable: Variable) -> str:
        """Return a variable's name."""
        if variable not in self.names:
            self.names[variable] = f"v{len(self.names)}"
            if variable not in self.made:
                self.parameters[variable] = self.names[variable]
        return self.names[variable]

    def number(self, value: Any, shape: tuple[int, ...]) -> str:
        """Write an operand of an elementwise function in a loop."""
        if not isinstance(value, Variable):
            return literal(value)
        name = self.name(value)
        if not value.is_array:
            return name
        return f"{name}_" if value in self.here else f"{name}[{index_in(value.shape, shape)}]"

    # ---- statements

    def body(self) -> list[str]:
        """Write what the function computes."""
        lines: list[str] = []
        for item in self.items:
            self.here = set()
            lines += self.loop(item) if isinstance(item, Loop) else self.statement(item)
        return lines

    def text(self) -> str:
        """Write the function."""
        lines = self.body()
        returned = "".join(f"{self.name(v)}, " for v in self.outputs)
        lines.append(f"return ({returned.rstrip()})" if returned else "return None")
        body = "".join(f"    {line}\n" for line in lines)
        return f"def part({', '.join(self.parameters.values())}):\n{body}"

    def loop(self, loop: Loop) -> list[str]:
        """Write a loop, with the arrays that it fills."""
        before = [
            f"{self.name(v)} = np.empty({loop.shape}, np.{v.dtype.name.replace('bool', 'bool_')})"
            for call in loop.calls
            if not call.writes
            for v in call.results()
            if v.is_array and v in self.stored
        ]
        body: list[str] = []
        for call in loop.calls:
            result, value = call.result, self.element(call, loop.shape)
            if call.writes:
                body.append(f"{self.name(result)}[{index_in(result.shape, loop.shape)}] = {value}")
            elif not result.is_array:
                body.append(f"{self.name(result)} = {value}")
            else:
                self.here.add(result)
                body.append(f"{self.name(result)}_ = {value}")
                if result in self.stored:
                    index = index_in(result.shape, loop.shape)
                    body.append(f"{self.name(result)}[{index}] = {self.name(result)}_")
        return [*before, *nested(loop.shape, body)]

    def element(self, call: Call, shape: tuple[int, ...]) -> str:
        """Write what an elementwise call computes in one place."""
        ufunc, result = ufunc_of(call), call.result
        if is_conversion(call):
            return converted(self.number(call.args[0], shape), result.dtype)
        if is_bitcast(call):
            source = converted(self.number(call.args[0], shape), call.args[0].dtype)
            return f"{source}.view(np.{result.dtype.name})"
        given = [self.number(arg, shape) for arg in call.args]
        if call.function in COPIES:
            return given[0]
        if call.function is np.where:
            a, b = (converted(x, result.dtype) for x in given[1:])
            return f"({a} if {given[0]} else {b})"
        if ufunc is np.invert:
            return f"not {given[0]}"
        dtypes = dtypes_of_loop(call)
        if ufunc is np.power and not isinstance(call.args[1], Variable):
            exponent, base = call.args[1], converted(given[0], dtypes[0])
            known = {2: f"{base} * {base}", 1: base, 0.5: f"np.sqrt({base})"}
            if exponent in known:
                return converted(known[exponent], dtypes[-1])
        operands = [converted(x, dtype) for x, dtype in zip(given, dtypes, strict=False)]
        return converted(FORMS[ufunc].format(*operands), dtypes[-1])

    def statement(self, call: Call) -> list[str]:
        """Write a call that is not elementwise."""
        result, args = call.result, call.args
        if is_native_check(call):  # the run is then taken for one that does something else
            return [f"if {self.name(args[1])} != {args[2]}:", "    raise ValueError"]
        if call.function is operator.setitem:
            target, index, value = args
            number = converted(self.number(value, ()), target.dtype)
            return [f"{self.name(target)}[{subscript(index)}] = {number}"]
        if reduced_axes(call) is not None:
            return self.reduction(call)
        if is_choice(call):
            return self.choice(call)
        if call.function in MAKERS:
            maker, dtype = MAKERS[call.function], result.dtype.name.replace("bool", "bool_")
            return [f"{self.name(result)} = np.{maker}({result.shape}, np.{dtype})"]
        source = self.name(args[0])
        if is_product(call):
            given = (f"{self.row_by_row(arg, self.sliced)}" for arg in args)
            return [f"{self.name(result)} = np.dot({', '.join(given)})"]
        if call.function is operator.getitem or args[0] in self.sliced:
            self.sliced.add(result)
        if call.function is operator.getitem:
            expression = f"{source}[{subscript(args[1])}]"
        elif call.function == Attribute("T"):
            expression = f"{source}.T"
            self.turned.add(result)
        elif is_reshape(call):
            source = self.row_by_row(args[0], self.sliced | self.turned)
            expression = f"{source}.reshape({result.shape})"
            self.sliced.discard(result)
        else:
            source = self.row_by_row(args[0], self.sliced | self.turned)
            expression = f"{source}.view(np.{result.dtype.name})"
        return [f"{self.name(result)} = {expression}"]

    def row_by_row(self, variable: Variable, unknown: set[Variable]) -> str:
        """Write an array whose elements are in a row; Numba does not always know it of views."""
        name = self.name(variable)
        return f"np.ascontiguousarray({name})" if variable in unknown else name

    def choice(self, call: Call) -> list[str]:
        """Write the choice of what a mask marks; a check has told how many there are."""
        (source, mask), result = call.args, call.result
        index, name = index_in(source.shape, source.shape), self.name(result)
        return [
            f"{name} = np.empty({result.shape}, np.{result.dtype.name.replace('bool', 'bool_')})",
            "n = 0",
            *nested(
                source.shape,
                [
                    f"if {self.name(mask)}[{index}] and n < {result.shape[0]}:",
                    f"    {name}[n] = {self.name(source)}[{index}]",
                    "    n += 1",
                ],
            ),
        ]

    def reduction(self, call: Call) -> list[str]:
        """Write a reduction as loops: over the axes that stay outside, if these come first."""
        source, result, axes = call.args[0], call.result, reduced_axes(call) or ()
        rank = len(source.shape)
        kept = [axis for axis in range(rank) if axis not in axes]
        places = "".join(f"i{axis}, " for axis in kept)
        if result.is_array and len(result.shape) == rank:  # keepdims
            places = "".join("0, " if axis in axes else f"i{axis}, " for axis in range(rank))
        element = f"{self.name(source)}[{index_in(source.shape, source.shape)}]"
        name = self.name(result)
        counts = call.function is np.count_nonzero
        dtype = result.dtype.name
        wide = "int64" if counts else "float64"
        kind = "add" if counts else reduced_by(call.function).__name__
        start = {"add": f"np.{wide}(0)", "maximum": "-np.inf", "minimum": "np.inf"}[kind]
        sign = {"maximum": ">", "minimum": "<"}.get(kind)

        def step(total: str) -> list[str]:
            if sign is None:
                return [f"{total} += {element}"]
            return [
                f"if {element} {sign} {total} or {element} != {element}:",
                f"    {total} = {element}",
            ]

        if kept == list(range(len(kept))):
            shape, inner = source.shape[: len(kept)], source.shape[len(kept) :]
            body = [f"total = {start}", *nested(inner, step("total"), len(kept))]
            if not result.is_array:
                return [*body, f"{name} = np.{dtype}(total)"]
            body.append(f"{name}[{places.rstrip(', ') or '()'}] = total")
            return [f"{name} = np.empty({result.shape}, np.{dtype})", *nested(shape, body)]
        total = f"totals[{places.rstrip(', ')}]"
        return [
            f"totals = np.full({result.shape}, {start})",
            *nested(source.shape, step(total)),
            f"{name} = totals.astype(np.{dtype})",
        ]


def nested(shape: tuple[int, ...], body: list[str], first: int = 0) -> list[str]:
    """Write loops over a shape around lines."""
    lines = [f"{'    ' * i}for i{i + first} in range({n}):" for i, n in enumerate(shape)]
    return [*lines, *("    " * len(shape) + line for line in body)]


def index_in(shape: tuple[int, ...], around: tuple[int, ...]) -> str:
    """Write the index of an array in loops over a shape to which it is broadcast."""
    skip = len(around) - len(shape)
    return ", ".join("0" if n == 1 else f"i{i + skip}" for i, n in enumerate(shape)) or "()"


def converted(text: str, dtype: Any) -> str:
    """Write the conversion of a number."""
    return f"np.{dtype.name.replace('bool', 'bool_')}({text})"


def literal(value: Any) -> str:
    """Write a number."""
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}.get(text, text)


def subscript(index: Any) -> str:
    """Write a constant index."""
    if not isinstance(index, tuple):
        index = (index,)
    parts = []
    for item in index:
        if isinstance(item, slice):
            ends = ("" if x is None else str(x) for x in (item.start, item.stop, item.step))
            parts.append(":".join(ends))
        else:
            parts.append(repr(item))
    return ", ".join(parts) or "()"
