"""What a saved module needs beside the program: values, functions and optimizers as Python.

Of the library's functions that a program calls, the module has the source, and that of all
functions which these call. Of an optimizer, it has what computes numbers.
"""

from __future__ import annotations

import ast
import copy
import dis
import inspect
import itertools
import sys
import textwrap
import types
from typing import Any

import numpy as np

from ..dispatch import library_of
from ..nn.dropout import masks
from ..optim.optimizer import Optimizer, Option
from . import checks
from .optimizers import HostNumbers, numbers_of_copy, update_of_copy
from .recording import leaves
from .source import public_name
from .state import same_static

#: Functions that have less to do where there are NumPy's arrays only.
SHORTER: dict[Any, str] = {
    masks.read_only: "def read_only(mask):\n    mask.setflags(write=False)\n    return mask",
    library_of: "def library_of(*values):\n    return None",
}
#: What an optimizer's class may have besides methods: numbers, strings and tables of them.
NUMBERS = (bool, int, float, str, list, tuple, dict)


# ---------------------------------------------------------------------------------- values


def value_code(value: Any) -> str:
    """Write a number, text or dtype, or a tuple of them."""
    kind = type(value)
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"np.frombuffer({value.tobytes()!r}, {dtype_code(value.dtype)})[0]"
    if isinstance(value, np.dtype) and not value.hasobject:
        return dtype_code(value)
    if kind is float:
        return f"float({str(value)!r})"
    if kind is complex:
        return f"complex({value_code(value.real)}, {value_code(value.imag)})"
    if kind is tuple:
        return f"({''.join(f'{value_code(item)}, ' for item in value)})"
    if kind not in (bool, int, str, bytes, types.NoneType):
        public = public_name(value) if isinstance(value, type) else None
        return public or checks.refuse_saving_value(value)
    return repr(value)


def dtype_code(dtype: Any) -> str:
    """Write a dtype."""
    described = np.lib.format.dtype_to_descr(dtype)
    if isinstance(described, str):
        return f"np.dtype({described!r})"
    return f"np.lib.format.descr_to_dtype({described!r})"


def state_code(value: Any) -> str:
    """Write the state of a bit generator: a dict of numbers and arrays."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {state_code(item)}' for key, item in value.items())}}}"
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()}, {dtype_code(value.dtype)})"
    return value_code(value)


def generator_lines(name: str, generator: Any, written: dict[int, str]) -> list[str]:
    """Write a generator in the state that it is in; two may draw from one stream.

    `written` says which generators have which streams.
    """
    bits = generator.bit_generator
    kind = type(bits)
    if getattr(np.random, kind.__name__, None) is not kind:
        checks.refuse_saving(name, kind)
    first = written.setdefault(id(bits), name)
    if first != name:
        return [f"{name} = np.random.Generator({first}.bit_generator)"]
    return [
        f"{name} = np.random.Generator(np.random.{kind.__name__}())",
        f"{name}.bit_generator.state = {state_code(bits.state)}",
    ]


# ---------------------------------------------------------------------------------- functions


def global_names(code: Any) -> list[str]:
    """List the global names in a function's code and in functions within it."""
    found = [i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"]
    for inner in code.co_consts:
        if inspect.iscode(inner):
            found += global_names(inner)
    return list(dict.fromkeys(found))


def without_docstring(function: Any) -> str | None:
    """Return a function's source without its docstring and annotations, or None without source."""
    try:
        tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # as of exec(), or of a part of a statement
        return None
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):  # but a statement with a lambda in it
        return None
    definition.body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    is_kind = {"staticmethod", "classmethod", "property"}
    definition.decorator_list = [
        x for x in definition.decorator_list if isinstance(x, ast.Name) and x.id in is_kind
    ]
    arguments = definition.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        argument.annotation = None
    for argument in filter(None, (arguments.vararg, arguments.kwarg)):
        argument.annotation = None
    definition.returns = None
    return ast.unparse(tree)


class Sources:
    """The functions that a module has, with all that they call.

    Attributes
    ----------
    written
        What a name of the module stands for.
    """

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}

    def lines(self, name: str, value: Any) -> list[str] | None:
        """Write what a name stands for; return None if a module with NumPy alone cannot have it."""
        if name == "np" and value is np:
            return []
        if name in self.written:
            return [] if self.written[name] is value else None
        before = dict(self.written)
        self.written[name] = value
        lines = self.lines_of(name, value)
        if lines is None:
            self.written = before
        return lines

    def lines_of(self, name: str, value: Any) -> list[str] | None:
        """Write a module, a number or a function."""
        if isinstance(value, types.ModuleType):
            top = value.__name__.split(".")[0]
            if top != "numpy" and top not in sys.stdlib_module_names:
                return None
            return [f"import {value.__name__} as {name}"]
        if type(value) in (bool, int, float, str):
            return [f"{name} = {value_code(value)}"]
        for short, text in SHORTER.items():
            if value is short:
                return ["", "", *text.splitlines(), "", ""]
        if isinstance(value, types.BuiltinFunctionType) and inspect.getmodule(value) is not None:
            where = value.__module__
            of_python = where in sys.stdlib_module_names and hasattr(sys.modules[where], name)
            return [f"from {where} import {name}"] if of_python else None
        public = public_name(value)
        if public is not None:
            return [f"{name} = {public}"]
        function = inspect.unwrap(value) if callable(value) else value
        if not inspect.isfunction(function) or function.__closure__:
            return None
        lines: list[str] = []
        for key in global_names(function.__code__):
            if key in function.__globals__:
                more = self.lines(key, function.__globals__[key])
                if more is None:
                    return None
                lines += more
        source = without_docstring(function)
        if source is None:
            return None
        lines += ["", "", source, "", ""]
        return lines if name == function.__name__ else [*lines, f"{name} = {function.__name__}"]


# ---------------------------------------------------------------------------------- optimizers


def held_code(value: Any) -> str:
    """Write a nest of numbers and strings, with None in place of everything else."""
    if isinstance(value, dict):
        items = [(k, v) for k, v in value.items() if type(k) in (int, str)]
        return f"{{{', '.join(f'{k!r}: {held_code(v)}' for k, v in items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(held_code, value))}]"
    if isinstance(value, tuple):
        return f"({''.join(f'{held_code(item)}, ' for item in value)})"
    is_number = type(value) in (bool, int, float, str) or isinstance(value, np.number)
    return value_code(value) if is_number else "None"


def optimizer_lines(optimizer: Any, name: str, asked: list[HostNumbers]) -> list[str]:
    """Write an optimizer as far as it computes numbers: with None in the place of its arrays.

    Make sure that it gives the same numbers as the optimizer.
    """
    mro = [kind for kind in type(optimizer).__mro__ if issubclass(kind, Optimizer)]
    kinds = [kind for kind in mro if kind is not Optimizer]
    members: dict[tuple[type, str], Any] = {}
    needed, before = {"update"}, -1
    while len(needed) != before:
        before = len(needed)
        for kind in mro:
            for key in sorted(needed & vars(kind).keys()):
                member = vars(kind)[key]
                function = getattr(member, "__func__", getattr(member, "fget", member))
                if isinstance(member, Option):
                    members[kind, key] = member
                elif inspect.isfunction(function) and kind is not Optimizer:
                    members[kind, key] = function
                    needed |= {*function.__code__.co_names}
                elif type(member) in NUMBERS and kind is not Optimizer:
                    members[kind, key] = member
    names = {kind: f"{kind.__name__}_{i}" if i else kind.__name__ for i, kind in enumerate(kinds)}
    rules = [update_of_copy(x)[0] for x in asked]
    sources, lines = Sources(), list[str]()
    for member in filter(inspect.isfunction, members.values()):
        for key in global_names(member.__code__):
            value = member.__globals__.get(key)
            if value is None:
                continue
            of_library = (getattr(value, "__module__", None) or "").startswith("microgrand.")
            found = None if of_library or value in rules else sources.lines(key, value)
            if found is None and inspect.isfunction(value) and key not in sources.written:
                sources.written[key] = None
                found = [f"{key} = None  # a rule, which stands in the program"]
            lines += found or []
    options = dict.fromkeys(key for (_, key), x in members.items() if isinstance(x, Option))
    for kind in reversed(kinds):
        bases = [names[base] for base in kind.__bases__ if base in names]
        head = f"class {names[kind]}{'(' + ', '.join(bases) + ')' if bases else ''}:"
        lines += ["", "", head, f'    """The numbers of {kind.__name__}."""', ""]
        own = {key: member for (owner, key), member in members.items() if owner is kind}
        for key, member in own.items():
            if inspect.isfunction(member):
                text = without_docstring(member)
                if text is None:
                    checks.refuse_saving_optimizer(kind)
                lines += [textwrap.indent(text, "    "), ""]
            elif not isinstance(member, Option):
                lines += [f"    {key} = {held_code(member)}", ""]
        if kind is kinds[-1]:
            for key in options:
                lines.append(f"    {key} = property(lambda self: self.param_groups[0][{key!r}])")
    held = held_code(vars(optimizer))
    lines += ["", f"{name} = {names[kinds[0]]}()", f"vars({name}).update({held})", "", ""]
    check_numbers("\n".join(lines), name, asked)
    return lines


def check_numbers(text: str, name: str, asked: list[HostNumbers]) -> None:
    """Refuse an optimizer whose numbers come out in another way in the module."""
    namespace: dict[str, Any] = {"np": np, "__name__": "saved"}
    try:
        exec(text, namespace)
        same = all(
            same_static(float(a), float(b)) and type(a) is type(b)
            for x in asked
            for a, b in itertools.zip_longest(
                leaves(copy.deepcopy(namespace[name]).update(x.index)[2]),
                leaves(numbers_of_copy(x)),
            )
        )
    except Exception:  # whatever it lacks there: it cannot be saved
        same = False
    if not same:
        checks.refuse_saving_optimizer(type(asked[0].optimizer))
