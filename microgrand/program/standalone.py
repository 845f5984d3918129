"""What a saved module needs beside the program: values, functions and optimizers as Python.

Of the library's functions that a program calls, the module has the source, and that of all
functions which these call. Of an optimizer, it has what computes numbers.
"""

from __future__ import annotations

import ast
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
from .calls import leaves
from .names import names_in
from .optimizers import HostNumbers, copy_of
from .sameness import same_static
from .source import public_name

#: Functions that have less to do where there are NumPy's arrays only.
SHORTER: dict[Any, str] = {
    masks.read_only: "def read_only(mask):\n    mask.setflags(write=False)\n    return mask",
    library_of: "def library_of(*values):\n    return None",
}
#: What an optimizer's class may have besides methods: numbers, strings and tables of them.
MEMBERS = (bool, int, float, str, list, tuple, dict)


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
        """Write what a name stands for; return None if that takes more than NumPy."""
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
        for key in names_in(function.__code__)[1]:
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


def held_code(value: Any, known: dict[int, str]) -> str:
    """Write a nest of numbers and strings, with None in place of everything else.

    `known` has code for some of its lists and dicts, by their ids.
    """
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        items = [(k, held_code(v, known)) for k, v in value.items() if type(k) in (int, str)]
        return f"{{{', '.join(f'{k!r}: {code}' for k, code in items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(held_code(item, known) for item in value)}]"
    if isinstance(value, tuple):
        return f"({''.join(f'{held_code(item, known)}, ' for item in value)})"
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
                elif type(member) in MEMBERS and kind is not Optimizer:
                    members[kind, key] = member
    names = {kind: f"{kind.__name__}_{i}" if i else kind.__name__ for i, kind in enumerate(kinds)}
    counting = copy_of(optimizer)
    updates = [counting.update(x.index) for x in asked]
    rules = dict.fromkeys(rule for rule, _, _ in updates)
    sources, lines = Sources(), list[str]()
    for member in filter(inspect.isfunction, members.values()):
        for key in names_in(member.__code__)[1]:
            value = member.__globals__.get(key)
            if value is None:
                continue
            of_library = (getattr(value, "__module__", None) or "").startswith("microgrand.")
            is_rule = any(value is rule for rule in rules)
            found = None if of_library or is_rule else sources.lines(key, value)
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
                lines += [f"    {key} = {held_code(member, {})}", ""]
        if kind is kinds[-1]:
            for key in options:
                lines.append(f"    {key} = property(lambda self: self.param_groups[0][{key!r}])")
    groups = f"{name}.param_groups"  # which stand in other lists, too
    known = {id(group): f"{groups}[{i}]" for i, group in enumerate(optimizer.param_groups)}
    lines += [
        "",
        f"{name} = {names[kinds[0]]}()",
        f"{groups} = {held_code(optimizer.param_groups, {})}",
    ]
    known[id(optimizer.param_groups)] = groups
    lines += [f"vars({name}).update({held_code(vars(optimizer), known)})", "", ""]
    if not gives(lines, name, asked, [numbers for _, _, numbers in updates]):
        checks.refuse_saving_optimizer(type(optimizer))
    return lines


def gives(lines: list[str], name: str, asked: list[HostNumbers], expected: list[Any]) -> bool:
    """Tell whether an optimizer as it is written in the module gives the expected numbers."""
    namespace: dict[str, Any] = {"np": np, "__name__": "saved"}
    try:
        exec("\n".join(lines), namespace)
        given = [namespace[name].update(x.index)[2] for x in asked]
        return all(
            same_static(float(a), float(b)) and type(a) is type(b)
            for a, b in itertools.zip_longest(leaves(given), leaves(expected))
        )
    except Exception:  # whatever the module lacks: the optimizer cannot be saved
        return False
