"""A native part as Python that Numba can compile.

Elementwise calls on one shape become one loop, which is a function of its own:

    def loop_0(v2, v3, v4):
        for i0 in range(32):
            for i1 in range(16):
                v4_ = np.float32(np.float32(v2[i0 * 16 + i1]) + np.float32(v3[i1]))
                ...

Arrays are known there by where they begin, and by steps, which are constants. A value that nobody
reads outside of its loop is never an array. What a loop writes into lies apart from all else that
it reads. Equal loops of a part are one function, and equal parts have equal source.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import reductions
from .calls import Call, Storage, Variable, made_in
from .labels import with_names
from .memory import Memory
from .native import (
    COPIES,
    FORMS,
    MAKERS,
    dtypes_of_loop,
    is_choice,
    is_conversion,
    is_element,
    is_flat_copy,
    is_native_check,
    is_native_elementwise,
    is_product,
    may_overlap,
    reduction,
    ufunc_of,
)
from .places import (
    Axis,
    Places,
    axes_of,
    count,
    index,
    is_bitcast,
    is_placed_view,
    nested,
    steps_in,
)


class ElementLoop:
    """Elementwise calls on one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.calls: list[Call] = []
        self.made: set[Variable] = set()
        self.own: set[Storage] = set()  # the memory of what is made
        self.read: dict[Variable, None] = {}  # arrays
        self.written: dict[Variable, None] = {}
        self.in_vain: set[Variable] = set()

    def takes(self, call: Call) -> bool:
        """Tell whether a call may be in the loop."""
        if shape_of(call) != self.shape:
            return False
        for v in call.operands():
            if v in self.made:
                if v.is_array and v.shape != self.shape:
                    return False
            elif (v.is_array and v.storage in self.own) or any(
                v is not w and may_overlap(v, w) for w in self.written
            ):
                return False
        for target in call.writes:
            if target not in self.made and (
                target.storage in self.own
                or any(
                    v is not target and may_overlap(v, target)
                    for v in {**self.read, **self.written}
                )
            ):
                return False
        return True

    def add(self, call: Call) -> None:
        """Add a call."""
        self.calls.append(call)
        read = [v for v in call.operands() if v.is_array and v not in self.made]
        self.read |= dict.fromkeys(read)
        self.written |= dict.fromkeys(v for v in call.writes if v not in self.made)
        if not call.writes:
            self.made.add(call.result)
            if call.result.is_array and not is_bitcast(call):
                self.own.add(call.result.storage)


def shape_of(call: Call) -> tuple[int, ...]:
    """Return the shape that an elementwise call loops over."""
    shape: tuple[int, ...] = call.writes[0].shape if call.writes else call.result.shape
    return shape


class PartWriter:
    """Writes a group of calls as one function, with those of its loops.

    Parameters
    ----------
    group, outputs
        The calls, and what of their results is read elsewhere.
    live_views
        Calls that make views of what is written into afterwards.
    places
        Where arrays lie.
    memory
        Is told what is read or written, in the order in which that is done.
    is_fixed
        Tells whether an array is at the same address in each run.
    """

    def __init__(
        self,
        group: list[Call],
        outputs: list[Variable],
        live_views: set[Call],
        places: Places | None = None,
        memory: Memory | None = None,
        is_fixed: Callable[[Variable], bool] | None = None,
    ) -> None:
        self.outputs = outputs
        self.live_views = live_views
        self.places = places or Places([])
        self.rooms = memory or Memory()
        self.is_fixed = is_fixed or self.rooms.holds
        self.names: dict[Variable, str] = {}
        self.made = made_in(group)
        #: What the part is given: numbers, and arrays; those at fixed addresses in a table.
        self.numbers: list[Variable] = []
        self.arrays: dict[Variable, None] = {}
        self.views: dict[tuple[Variable, Any], Variable] = {}  # of the bits of arrays
        #: By what they do: their names, and their texts, also for readers.
        self.functions: dict[str, tuple[str, str, str]] = {}
        self.here: set[Variable] = set()  # what the loop being written has made
        self.items = self.arrange(group)
        self.stored = self.find_stored()
        self.find_read_later()

    def arrange(self, group: list[Call]) -> list[Any]:
        """Gather elementwise calls in loops."""
        items: list[Any] = []
        loop: ElementLoop | None = None
        for call in group:
            if is_placed_view(call) and not self.in_loop(call):
                continue
            if not self.in_loop(call):
                loop = None
                items.append(self.as_write(call))
                continue
            call = self.as_write(call)
            if loop is None or not loop.takes(call):
                loop = ElementLoop(shape_of(call))
                items.append(loop)
            loop.add(call)
        return items

    def in_loop(self, call: Call) -> bool:
        """Tell whether a call is done element by element, beside others."""
        if call.function is operator.setitem or is_native_elementwise(call) or is_flat_copy(call):
            return True
        if call.function in MAKERS:
            return MAKERS[call.function] is not None
        return is_bitcast(call) and call not in self.live_views

    def as_write(self, call: Call) -> Call:
        """Return a call that writes into a part of an array as one that writes into a view.

        What makes an array like another one does not read that.
        """
        if call.function in MAKERS:
            return Call(call.function, (), {}, call.result)
        if is_flat_copy(call):
            (source, *_), copy = call.args, call.result
            part = self.places.view(copy, np.reshape, source.shape)
            return Call(operator.setitem, (source,), {}, part, (part,))
        if call.function is not operator.setitem:
            return call
        target, where, value = call.args
        part = target if where is Ellipsis else self.places.part(target, where)
        return Call(operator.setitem, (value,), {}, part, (part,))

    def find_stored(self) -> set[Variable]:
        """Return the arrays that must be in memory: they are read outside of their loop."""
        stored = {self.root(v) for v in self.outputs}
        for item in self.items:
            read = [*item.read, *item.written] if isinstance(item, ElementLoop) else item.operands()
            stored.update(self.root(v) for v in read)
            if not isinstance(item, ElementLoop):
                stored.update(item.results())
        return stored

    def find_read_later(self) -> None:
        """Let loops know what they write in vain: an array of the part that nobody reads later."""
        later = {self.root(v) for v in self.outputs}
        for item in reversed(self.items):
            read = item.operands() if isinstance(item, Call) else item.read
            if isinstance(item, ElementLoop):
                roots = {v: self.root(v) for v in item.written}
                item.in_vain = {v for v, r in roots.items() if r in self.made and r not in later}
            later.update(self.root(v) for v in read)

    def root(self, variable: Variable) -> Variable:
        """Return the array in which an array lies."""
        return self.places[variable].root if variable.is_array else variable

    # ---- names and numbers

    def name(self, variable: Variable) -> str:
        """Return the name of a number or of an array in memory."""
        name = self.names.setdefault(variable, f"v{len(self.names)}")
        if variable.is_array:
            self.arrays[variable] = None
        elif variable not in self.made and variable not in self.numbers:
            self.numbers.append(variable)
        return name

    def local(self, variable: Variable) -> str:
        """Return the name of an element of what a loop makes."""
        return f"{self.names.setdefault(variable, f'v{len(self.names)}')}_"

    def memory(self, variable: Variable) -> str:
        """Return the name of the memory that an array lies in, as numbers of its dtype."""
        root = self.root(variable)
        self.rooms.use(root)
        name = self.name(root)
        if root.dtype == variable.dtype:
            return name
        key = root, variable.dtype
        if key not in self.views:
            shape, dtype = (count(root),), variable.dtype
            self.views[key] = Variable(np.ndarray, shape, dtype, (), root.storage, variable.name)
            self.names[self.views[key]] = f"v{len(self.names)}"
        return self.names[self.views[key]]

    @property
    def fixed(self) -> list[Variable]:
        """The arrays at fixed addresses."""
        return [v for v in self.arrays if self.is_fixed(v)]

    @property
    def parameters(self) -> dict[Variable, str]:
        """What the function is given beside the table of addresses."""
        arrays = [v for v in self.arrays if not self.is_fixed(v)]
        return {v: self.names[v] for v in (*arrays, *self.numbers)}

    # ---- statements

    def body(self) -> list[str]:
        """Write what the function computes."""
        lines: list[str] = []
        for item in self.items:
            self.here = set()
            self.rooms.use(None)
            lines += self.loop(item) if isinstance(item, ElementLoop) else self.statement(item)
        return lines

    def texts(self) -> tuple[str, str]:
        """Write the function, and those that it calls; also for readers."""
        body = self.body()
        numbers = [v for v in self.outputs if not v.is_array]
        returned = "".join(f"{self.name(v)}, " for v in numbers)
        body.append(f"return ({returned.rstrip()})" if returned else "return None")
        fixed, parameters = self.fixed, self.parameters
        pointers = [
            f"{self.names[v]} = pointer_at(table, {i}, {count(v)}, {pointed_at(v.dtype)})"
            for i, v in enumerate(fixed)
        ]
        pointers += [
            f"{name} = pointer({name}, {count(v)}, {pointed_at(v.dtype)})"
            for v, name in parameters.items()
            if v.is_array
        ]
        for (root, dtype), view in self.views.items():
            place = (
                f"pointer_at(table, {fixed.index(root)}, "
                if root in fixed
                else f"pointer({self.names[root]}, "
            )
            line = f"{self.names[view]} = {place}{count(root)}, {pointed_at(dtype)})"
            pointers.insert(0, line)  # before the names of arrays stand for where they begin
        given = [*(["table"] if fixed else []), *parameters.values()]
        to_read = [*parameters, *fixed]
        to_compile = [text.replace("{}", name, 1) for name, text, _ in self.functions.values()]
        for_readers = [text.replace("{}", name, 1) for name, _, text in self.functions.values()]
        names = ", ".join(self.names[v] for v in to_read)
        return (
            "\n".join([*to_compile, function(f"def part({', '.join(given)})", [*pointers, *body])]),
            "\n".join([*for_readers, with_names(function(f"def part({names})", body), self.names)]),
        )

    def call(self, kind: str, lines: list[str]) -> str:
        """Write the call of a function of lines, which may be there already."""
        given = list(dict.fromkeys(re.findall(r"\bv\d+\b", "\n".join(lines))))
        short = {name: f"a{i}" for i, name in enumerate(given)}
        inner: dict[str, str] = {}

        def shortened(found: Any) -> str:
            return short.get(found[0]) or inner.setdefault(found[0], f"x{len(inner)}")

        text = re.sub(r"\bv\d+_?\b", shortened, "\n".join(lines))
        key = f"{kind} {len(short)}\n{text}"
        if key not in self.functions:
            self.functions[key] = (
                f"{kind}_{len(self.functions)}",
                function(f"def {{}}({', '.join(short.values())})", text.split("\n")),
                with_names(function(f"def {{}}({', '.join(given)})", lines), self.names),
            )
        return f"{self.functions[key][0]}({', '.join(given)})"

    def loop(self, loop: ElementLoop) -> list[str]:
        """Write a loop."""
        made = [call.result for call in loop.calls if not call.writes]
        written = [v for v in made if v.is_array and v in self.stored]
        written += [v for v in loop.written if v not in loop.in_vain]
        arrays = [*dict.fromkeys([*written, *loop.read])]
        places = [self.places[v] for v in arrays]
        steps = [steps_in(p, v, loop.shape) for p, v in zip(places, arrays, strict=True)]
        axes = axes_of(loop.shape, steps)
        where = {v: index(places[i].start, axes, i) for i, v in enumerate(arrays)}
        lines = [self.assignment(call, where) for call in loop.calls]
        lines += [f"{self.memory(v)}[{where[v]}] = {stored(v, self.local(v))}" for v in written]
        if loop.shape == ():
            return lines
        return [self.call("loop", nested(axes, lines))] if written else []

    def assignment(self, call: Call, where: dict[Variable, str]) -> str:
        """Write an elementwise call in one place."""
        result, value = call.result, self.element(call, where)
        if not result.is_array:
            return f"{self.name(result)} = {value}"
        self.here.add(result)
        return f"{self.local(result)} = {value}"

    def number(self, value: Any, where: dict[Variable, str]) -> str:
        """Write an operand of an elementwise function in a loop."""
        if not isinstance(value, Variable):
            return literal(value)
        if value in self.here:
            return self.local(value)
        return read(value, self.memory(value), where[value]) if value.is_array else self.name(value)

    def element(self, call: Call, where: dict[Variable, str]) -> str:
        """Write what an elementwise call computes in one place."""
        ufunc, result = ufunc_of(call), call.result
        if call.function in MAKERS:
            return converted(MAKERS[call.function], result.dtype)
        if is_conversion(call) or call.function is operator.setitem:
            return converted(self.number(call.args[0], where), result.dtype)
        if is_bitcast(call):
            source = converted(self.number(call.args[0], where), call.args[0].dtype)
            return f"{source}.view(np.{result.dtype.name})"
        given = [self.number(arg, where) for arg in call.args]
        if call.function in COPIES:
            return given[0]
        if call.function is np.where:
            a, b = (converted(x, result.dtype) for x in given[1:])
            return f"({a} if {given[0]} else {b})"
        if call.function is np.clip:
            x = given[0]
            for ufunc, limit, name in zip(
                (np.maximum, np.minimum), call.args[1:], given[1:], strict=True
            ):
                if limit is not None:
                    x = FORMS[ufunc].format(x, converted(name, result.dtype))
            return converted(x, result.dtype)
        if ufunc is np.invert:
            return f"not {given[0]}"
        dtypes = dtypes_of_loop(call)
        if ufunc is np.power and not isinstance(call.args[1], Variable):
            exponent, base = call.args[1], converted(given[0], dtypes[0])
            known = {2: f"{base} * {base}", 1: base, 0.5: f"np.sqrt({base})"}
            if exponent in known:
                return converted(known[exponent], dtypes[-1])
        operands = [converted(x, dtype) for x, dtype in zip(given, dtypes, strict=False)]
        return converted(FORMS[ufunc].format(*operands, dtype=dtypes[0].name), dtypes[-1])

    def statement(self, call: Call) -> list[str]:
        """Write a call that is not elementwise."""
        result, args = call.result, call.args
        if is_native_check(call):  # the run is then taken for one that does something else
            return [f"if {self.name(args[1])} != {args[2]}:", "    raise ValueError"]
        if call.function in MAKERS:
            self.memory(result)  # it has no numbers yet
            return []
        if is_element(call):
            place = self.places[self.places.part(args[0], args[1])]
            return [
                f"{self.name(result)} = {read(args[0], self.memory(args[0]), str(place.start))}"
            ]
        if reduction(call) is not None:
            return reductions.write(self, call)
        if is_product(call):
            return reductions.write_product(self, call)
        assert is_choice(call)
        return self.choice(call)

    def choice(self, call: Call) -> list[str]:
        """Write the choice of what a mask marks; a check has told how many there are."""
        (source, mask), result = call.args, call.result
        places = [self.places[v] for v in (mask, source)]
        axes = [Axis(n, tuple([p.steps[i] for p in places])) for i, n in enumerate(source.shape)]
        marked, chosen = (
            read(v, self.memory(v), index(p.start, axes, i))
            for i, (v, p) in enumerate(zip((mask, source), places, strict=True))
        )
        lines = [
            f"if {marked} and n < {result.shape[0]}:",
            f"    {self.memory(result)}[n] = {stored(result, chosen)}",
            "    n += 1",
        ]
        return [self.call("loop", ["n = 0", *nested(axes, lines)])]

    def scratch(self, array: Variable) -> None:
        """Take room for an array that only the part knows."""
        self.made.add(array)
        self.rooms.add(array)


def function(signature: str, lines: list[str]) -> str:
    """Write a function."""
    return f"{signature}:\n" + "".join(f"    {line}\n" for line in lines)


def converted(text: str, dtype: Any) -> str:
    """Write the conversion of a number."""
    return f"np.{dtype.name.replace('bool', 'bool_')}({text})"


def pointed_at(dtype: Any) -> str:
    """Write the dtype of numbers in memory: of masks, they are bytes."""
    return f"np.{dtype.name.replace('bool', 'uint8')}"


def read(variable: Variable, memory: str, where: str) -> str:
    """Write an element in memory."""
    return f"({memory}[{where}] != 0)" if variable.dtype == bool else f"{memory}[{where}]"


def stored(variable: Variable, value: str) -> str:
    """Write what is put in memory."""
    return f"np.uint8({value})" if variable.dtype == bool else value


def literal(value: Any) -> str:
    """Write a number."""
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}.get(text, text)
