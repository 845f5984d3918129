"""The program as Python: what one would have written by hand.

def prepare(hidden_weight, ...):      # arrays that stay the same ones; buffers and views, once
    ...
    def step(x, labels, lr, ...):     # what each call is given
        ...
        return loss
    return step
"""

from __future__ import annotations

import builtins
import itertools
import keyword
import operator
import re
from collections import Counter
from typing import Any

import numpy as np

from . import again, errstates
from .blocks import Blocks
from .calls import (
    IN_PLACE,
    UFUNC_OF,
    Attribute,
    Call,
    Method,
    Program,
    Variable,
    expect,
    expect_dtype,
    expect_shape,
    in_the_memory_of,
    raw_bytes,
    same,
)
from .optimizers import HostNumbers
from .passes import has_effect

INFIX: dict[Any, str] = {
    operator.add: "+",
    operator.sub: "-",
    operator.mul: "*",
    operator.truediv: "/",
    operator.floordiv: "//",
    operator.mod: "%",
    operator.pow: "**",
    operator.matmul: "@",
    operator.and_: "&",
    operator.or_: "|",
    operator.xor: "^",
    operator.lshift: "<<",
    operator.rshift: ">>",
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}
PREFIX: dict[Any, str] = {operator.neg: "-", operator.pos: "+", operator.invert: "~"}
#: NumPy warns where these are given a third argument by position.
OUT_BY_NAME = {np.maximum, np.minimum}
RESERVED = {
    *keyword.kwlist,
    *dir(builtins),
    "np",
    "block",
    "room",
    "start",
    "publish",
    "deviate",
    "release",
    "prepare",
    "step",
}
#: The names of other things in modules that `save` writes.
OF_SAVED_MODULES = {
    *("Path", "state", "read_only", "library_of"),
    *("_state", "_program", "_values", "_memory"),
    *("_check", "_check_kind", "_check_number", "_check_one", "_check_two", "_check_keys"),
}


#: Where NumPy has its functions.
PUBLIC = {
    "np": np,
    "np.linalg": np.linalg,
    "np.fft": np.fft,
    "np.emath": np.emath,
    "np.lib.stride_tricks": np.lib.stride_tricks,
    "np.lib.array_utils": np.lib.array_utils,
}


def public_name(value: Any) -> str | None:
    """Return how a function or class of NumPy's or Python's is called, if it is one."""
    owner, name = getattr(value, "__self__", None), getattr(value, "__name__", None)
    if not callable(value) or not isinstance(name, str):
        return None
    if isinstance(owner, np.ufunc):
        of_owner = public_name(owner)
        return of_owner and f"{of_owner}.{name}"
    if getattr(builtins, name, None) is value:
        return name
    return next(
        (f"{x}.{name}" for x, where in PUBLIC.items() if vars(where).get(name) is value), None
    )


class Writer:
    """Writes calls as lines of Python, with what their names mean."""

    #: What a check does that finds another answer.
    otherwise = "deviate()"
    #: Whether to write for speed rather than for readers: with functions' own names, and results
    #: by position. Each line does the same.
    terse = False

    def __init__(self) -> None:
        self.names: dict[Variable, str] = {}
        self.taken: dict[str, int] = dict.fromkeys(RESERVED, 1)
        self.objects: dict[int, tuple[str, Any]] = {}  # what the source cannot write
        self.namespace: dict[str, Any] = {"np": np}
        self.terse_names: dict[Any, str] = {}
        self.terse_errstates: dict[tuple[tuple[str, str], ...], str] = {}
        self.buffers: set[Variable] = set()

    # ---- names

    def unique(self, wanted: str) -> str:
        """Return a name that is not taken yet."""
        name = re.sub(r"\W+", "_", wanted).strip("_") or "value"
        name = f"_{name}" if name[0].isdigit() else name
        count = self.taken.get(name, 0)
        self.taken[name] = count + 1
        return self.unique(f"{name}_{count + 1}") if count else name

    def name(self, variable: Variable) -> str:
        """Return a variable's name."""
        if variable not in self.names:
            is_global = variable.storage.constant or variable.is_generator
            avoided = "_" if is_global and variable.name in OF_SAVED_MODULES else ""
            self.names[variable] = self.unique(variable.name + avoided)
            if variable.storage.constant:
                self.namespace[self.names[variable]] = variable.value
        return self.names[variable]

    def object(self, value: Any, wanted: str) -> str:
        """Return a name for what the source cannot write."""
        if id(value) not in self.objects:
            name = self.unique(f"{wanted}_" if wanted in OF_SAVED_MODULES else wanted)
            self.objects[id(value)] = name, value
            self.namespace[name] = value
        return self.objects[id(value)][0]

    # ---- expressions

    def literal(self, value: Any) -> str:
        """Write an argument."""
        if isinstance(value, Variable):
            return self.name(value)
        if isinstance(value, tuple):
            items = [self.literal(item) for item in value]
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if type(value) is list:
            return f"[{', '.join(map(self.literal, value))}]"
        if type(value) is dict:
            return f"{{{', '.join(f'{k!r}: {self.literal(v)}' for k, v in value.items())}}}"
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return f"slice({', '.join(map(self.literal, parts))})"
        if value is None or value is Ellipsis or type(value) in (bool, int, str):
            return repr(value) if value is not Ellipsis else "..."
        if type(value) is float and not np.isnan(value):
            return repr(value).replace("inf", "np.inf")
        if isinstance(value, np.dtype) and value.isbuiltin == 1:
            return f"np.{value.name}" if value.name in vars(np) else f"np.dtype({value.str!r})"
        if isinstance(value, np.generic):
            return self.object(value, f"{type(value).__name__}_number")
        name: str = getattr(value, "__name__", type(value).__name__)
        return public_name(value) or self.object(value, name)

    def index(self, value: Any) -> str:
        """Write what stands between brackets."""
        if isinstance(value, tuple) and value:
            return ", ".join(map(self.index_part, value)) + ("," if len(value) == 1 else "")
        return self.index_part(value)

    def index_part(self, value: Any) -> str:
        """Write one part of an index."""
        if isinstance(value, slice):
            parts = [
                "" if part is None else self.literal(part) for part in (value.start, value.stop)
            ]
            step = "" if value.step is None else f":{self.literal(value.step)}"
            return ":".join(parts) + step
        return self.literal(value)

    def function(self, function: Any) -> str:
        """Write the name of a function."""
        if self.terse:
            name = "_".join(re.findall(r"\w+", getattr(function, "__qualname__", "call")))
            return self.terse_names.setdefault(function, self.unique(f"_{name}"))
        name = getattr(function, "__name__", type(function).__name__)
        return public_name(function) or self.object(function, name)

    def expression(self, call: Call, out: Variable | None = None) -> str:
        """Write what a call computes."""
        function, args, kwargs = call.function, call.args, dict(call.kwargs)
        if out is not None:
            function = UFUNC_OF.get(function, function)
            by_position = function is np.dot or isinstance(function, np.ufunc)
            if self.terse and by_position and function not in OUT_BY_NAME:
                args = (*args, out)
                kwargs.pop("out", None)  # the same one
            else:
                kwargs["out"] = out
        elif isinstance(kwargs.get("out", 0), tuple) and len(kwargs["out"]) == 1:
            kwargs["out"] = kwargs["out"][0]
            if kwargs["out"] is None:
                del kwargs["out"]
        elif kwargs.get("out", 0) is None:
            del kwargs["out"]
        if function in INFIX:
            return f"{self.term(args[0])} {INFIX[function]} {self.term(args[1])}"
        if function is same:
            return self.literal(args[0])
        if function in PREFIX:
            return f"{PREFIX[function]}{self.term(args[0])}"
        if function is operator.abs:
            return f"abs({self.literal(args[0])})"
        if function is operator.getitem:
            return f"{self.term(args[0])}[{self.index(args[1])}]"
        if function is raw_bytes:
            return f"{self.term(args[0])}.bit_generator.random_raw({args[1]}).view(np.uint8)"
        if isinstance(function, Attribute):
            return f"{self.term(args[0])}.{function.name}"
        if isinstance(function, Method):
            name, args = f"{self.term(args[0])}.{function.name}", args[1:]
        elif isinstance(function, HostNumbers):
            name = self.object(function, f"{type(function.optimizer).__name__.lower()}_numbers")
        else:
            name = self.function(function)
        if kwargs.get("dtype", 0) is None and isinstance(
            getattr(function, "__self__", None), np.ufunc
        ):
            del kwargs["dtype"]
        given = [self.literal(arg) for arg in args]
        given += [f"{key}={self.literal(value)}" for key, value in kwargs.items()]
        return f"{name}({', '.join(given)})"

    def term(self, value: Any) -> str:
        """Write an operand of an operator."""
        text = self.literal(value)
        return f"({text})" if text.startswith("-") else text

    # ---- statements

    def statement(self, call: Call) -> str:
        """Write a call as a line."""
        function, args = call.function, call.args
        if function is expect:
            convert, value, expected = args
            asked = "bool" if convert is bool else self.function(convert)
            if convert is bool:
                return f"if {'not ' * bool(expected)}{self.literal(value)}: {self.otherwise}"
            return (
                f"if {asked}({self.literal(value)}) != {self.literal(expected)}: {self.otherwise}"
            )
        if function is expect_shape:
            return f"if {self.literal(args[0])}.shape != {self.literal(args[1])}: {self.otherwise}"
        if function is expect_dtype:
            return f"if {self.literal(args[0])}.dtype != {self.literal(args[1])}: {self.otherwise}"
        if function is operator.setitem:
            return f"{self.literal(args[0])}[{self.index(args[1])}] = {self.literal(args[2])}"
        if function in IN_PLACE:
            array, operand = map(self.literal, args)
            out = array if self.terse else f"out={array}"
            return f"{self.function(IN_PLACE[function])}({array}, {operand}, {out})"
        results = list(call.results())
        if results and results[0] in self.buffers:
            return self.expression(call, results[0])
        made = [v for v in results if v not in call.writes]
        if not made:
            return self.expression(call)
        return f"{self.target(call.result)} = {self.expression(call)}"

    def target(self, result: Any) -> str:
        """Write what is on the left of the equals sign."""
        if isinstance(result, Variable):
            return self.name(result)
        names = [self.target(item) if item is not None else "_" for item in result]
        return ", ".join(names) + ("," if len(names) == 1 else "")


class Source(Writer):
    """Writes a program as Python source."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        self.buffers = program.buffers
        #: From the number of a line to its section, and the primitive, rule or parameter it is of.
        self.origins: dict[int, tuple[str, str]] = {}
        self.text = self.write()
        self.terse = True
        self.terse_text = self.write()

    def write(self) -> str:
        """Write the whole program."""
        program = self.program
        for variable in (*program.bound, *program.inputs):
            self.name(variable)
        bound = [self.name(v) for v in program.bound]
        inputs = [self.name(v) for v in program.inputs]
        once = [f"{self.name(call.result)} = {self.once(call)}" for call in program.once]
        longer = {  # the first of several calls of one origin
            id(call)
            for call, following in itertools.pairwise(program.calls)
            if call.origin == following.origin
        }
        uses = Counter(v for call in program.calls for v in call.operands())
        uses.update(dict.fromkeys(program.shown, 2))
        loops = [call for call in program.calls if isinstance(call.function, Blocks)]
        uses.update(v for call in loops for v in call.operands())  # in each block
        self.spare = again.used_again(program) if self.terse else []
        numbers, kept = self.numbers(uses)
        lists = [self.unique(name) for name in ("spare", "latest") if self.spare]
        body = [f"nonlocal {', '.join([*kept, *lists])}"] if kept or lists else []
        if lists:
            self.spare_name = lists[0]
            body.append(f"{', '.join(lists)} = {', '.join(lists[::-1])}")
        section = origin = ""
        origins: dict[int, tuple[str, str]] = {}
        errstate: tuple[tuple[str, str], ...] = ()
        for call in [*program.calls, None]:
            if numbers and (call is None or call.function is not raw_bytes):
                body += numbers  # after the draws: if a run fails, these are taken back
                numbers = []
            if call is program.commit:
                errstate = ()
                body.append(f"publish({', '.join(map(self.name, program.early))})")
            if call is None:
                break
            if call is program.release:
                errstate = ()
                body.append("release()")
            if call.section and call.section != section:
                section, origin = call.section, ""
                body += ["", f"# ---- {section}", ""]
            if call.origin and call.origin != origin:
                origin = call.origin
                if id(call) in longer or isinstance(call.function, Blocks):
                    body.append(f"# {origin}")
            if call.errstate != errstate:
                errstate = call.errstate
                if errstate:
                    body.append(f"with {self.errstate(errstate)}:")
            if self.can_stand_in_place(call, uses):
                self.names[call.result] = self.enclosed(call)
                continue
            indent = "    " if errstate else ""
            for line, origin in self.lines(call):
                origins[len(body)] = call.section, origin
                body.append(indent + line)
        outputs = ", ".join(self.name(v) for v in program.late)
        body.append(
            f"return {outputs}{',' if len(program.late) == 1 else ''}" if outputs else "return ()"
        )
        lines = [f"def prepare({', '.join(bound)}):"]
        lines += [f"    {line}" for line in once]
        lines += [f"    {' = '.join(kept)} = None"] if kept else []
        lines += [f"    {name} = [None] * {len(self.spare)}" for name in lists]
        lines += [f"    def step({', '.join(inputs)}):"]
        if not self.terse:
            self.origins = {len(lines) + i: origin for i, origin in origins.items()}
        lines += [f"        {line}" if line else "" for line in body]
        lines += ["    return step", ""]
        return "\n".join(lines)

    def errstate(self, options: tuple[tuple[str, str], ...]) -> str:
        """Write how floating-point errors are treated."""
        if self.terse and errstates.state is not None:
            return self.terse_errstates.setdefault(options, self.unique("_errstate"))
        return f"np.errstate({', '.join(f'{kind}={how!r}' for kind, how in options)})"

    def numbers(self, uses: Counter[Variable]) -> tuple[list[str], list[str]]:
        """Write what is computed of numbers where one has changed; also what stays until then."""
        calls = self.program.numbers
        if not calls:
            return [], []
        own = Counter(v for call in calls for v in call.operands())
        given = [self.name(v) for v in own if v in self.program.inputs]
        latest = [self.unique(f"latest_{name}") for name in given]
        kept = [*latest, *(self.name(v) for c in calls for v in c.results() if uses[v])]
        changed = " or ".join(f"{a} is not {b}" for a, b in zip(given, latest, strict=True))
        body = [f"if {changed}:"]
        for call in calls:
            if not uses[call.result] and self.can_stand_in_place(call, own):
                self.names[call.result] = self.enclosed(call)
            else:
                body += [f"    {line}" for line, _ in self.lines(call)]
        body.append(f"    {', '.join(latest)} = {', '.join(given)}")
        return body, kept

    def lines(self, call: Call) -> list[tuple[str, str]]:
        """Write a call, with what comes after it; say what each line is of."""
        if isinstance(call.function, Blocks):
            return self.loop(call.function, call.origin)
        lines = [self.statement(call) + self.comment(call)]
        lines += [
            f"{self.name(v)}.setflags({'' if self.terse else 'write='}False)"
            for v in call.results()
            if v.read_only and v in self.program.shown and v not in call.writes
        ]
        if call.result in self.spare:
            lines = self.again(call.result, lines)
        return [(line, call.origin) for line in lines]

    def again(self, array: Variable, lines: list[str]) -> list[str]:
        """Write that an array is used again that nobody holds, or a new one made by these lines."""
        name, place = self.name(array), f"{self.spare_name}[{self.spare.index(array)}]"
        return [
            f"{name} = {place}",
            f"if {self.function(again.references)}({name}) != {again.ALONE}:",
            *(f"    {line}" for line in lines),
            f"    {place} = {name}",
        ]

    def loop(self, loop: Blocks, origin: str) -> list[tuple[str, str]]:
        """Write calls in a loop over the blocks of arrays."""
        size, length = loop.size, loop.length
        block = f"slice(start, start + {length})"
        room = f", slice(min({length}, {size} - start))" if loop.scratch else ""
        lines = [f"for start in range(0, {size}, {length}):"]
        lines.append(f"    block{', room' if room else ''} = {block}{room}")
        for part, array in loop.parts.items():
            place = "room" if part in loop.scratch else "block"
            lines.append(f"    {self.name(part)} = {self.name(array)}[{place}]")
        written = [(line, origin) for line in lines]
        for call, name in zip(loop.calls, loop.names, strict=True):
            if call.origin != origin:
                origin = call.origin
                written += [(f"    # {origin}", origin)] if origin else []
            out = None if call.writes else call.result
            line = self.statement(call) if out is None else self.expression(call, out)
            written.append((f"    {line}" + (f"  # {name}" if name else ""), origin))
        return written

    def can_stand_in_place(self, call: Call, uses: Counter[Variable]) -> bool:
        """Tell whether what a call computes may stand where it is used: a number, or a view."""
        result = call.result
        if not isinstance(result, Variable) or uses[result] != 1 or has_effect(call):
            return False
        if result in self.buffers or call.errstate:
            return False
        operands = list(call.operands())
        if not result.is_array:
            return result.dtype is None and all(v.dtype is None for v in operands)
        return any(v.storage is result.storage for v in operands)

    def enclosed(self, call: Call) -> str:
        """Write what a call computes, to stand in another expression."""
        expression = self.expression(call)
        return (
            f"({expression})" if call.function in INFIX or call.function in PREFIX else expression
        )

    def comment(self, call: Call) -> str:
        """Write the shape of what a call makes."""
        result = call.result
        if not isinstance(result, Variable) or not result.is_array or result in call.writes:
            return ""
        kind = "" if result.dtype.kind == "f" else f" {result.dtype}"
        return f"  # {result.shape}{kind}"

    def once(self, call: Call) -> str:
        """Write what is made once."""
        is_there = call.function is in_the_memory_of
        return self.literal(call.args[0]) if is_there else self.expression(call)
