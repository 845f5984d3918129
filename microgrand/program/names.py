"""What a function asks for by name, read from its byte code: global names, attributes, imports."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

#: Names of functions that ask for a module by a string.
ASKING_FOR_MODULES = {"import_module", "modules", "__import__"}
#: What reads and writes global names, in Python's byte code.
OF_GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL"}
#: What reads or changes an object's attributes.
ASKING_FOR_ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"}
#: What copies an object on the stack, as ``self.n += 1`` does.
STACK_COPIES = {"COPY", "DUP_TOP"}
#: The names of functions and methods that tell one object from another.
OF_IDENTITY = {"id", "is_", "is_not", "index", "count", "remove"}


def imports_in(code: Any) -> Iterator[tuple[tuple[int, str], str]]:
    """Yield what a function imports: the level and the name of a module, and a name in it."""
    module, level = (0, ""), 0
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = level, instruction.argval
            yield module, ""
        elif instruction.opname == "IMPORT_FROM":
            yield module, instruction.argval
            yield (module[0], f"{module[1]}.{instruction.argval}"), ""  # a module in a package
        elif type(instruction.argval) is int:
            level = instruction.argval
    if ASKING_FOR_MODULES.intersection(code.co_names):
        yield from (((0, text), "") for text in code.co_consts if isinstance(text, str))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from imports_in(constant)


def imported_module(imported: tuple[int, str], names: dict[str, Any]) -> Any:
    """Return a module that a function imports, unless nobody has imported it yet."""
    level, name = imported
    if level:
        package = names.get("__package__") or ""
        name = f"{package.rsplit('.', level - 1)[0]}.{name}".rstrip(".")
    return sys.modules.get(name)


def names_in(code: Any) -> tuple[dict[str, None], dict[str, None]]:
    """Return the names in a function's code and in functions within it, and the global ones."""
    names = dict.fromkeys(code.co_names)
    global_names = {i.argval: None for i in dis.get_instructions(code) if i.opname in OF_GLOBALS}
    texts = [x for x in code.co_consts if isinstance(x, str) and x.isidentifier()]
    names |= dict.fromkeys(texts)  # as for getattr
    if "globals" in names:
        global_names |= dict.fromkeys(texts)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            more, more_global = names_in(constant)
            names |= more
            global_names |= more_global
    return names, global_names


def passed_on(code: Any) -> set[str]:
    """Return the names in a function's code of things it does more with than ask for attributes."""
    found: set[str] = set()
    instructions = list(dis.get_instructions(code))
    after = [*instructions[1:], None, None]
    in_cells = {*code.co_cellvars, *code.co_freevars}
    for i, instruction in enumerate(instructions):
        name, value = instruction.opname, instruction.argval
        is_cell = name == "LOAD_CLOSURE" or (name == "LOAD_FAST" and value in in_cells)
        is_load = ("LOAD" in name and name != "LOAD_CONST") or name == "IMPORT_FROM"
        if is_cell or not is_load:
            continue
        follower: Any = after[i]
        if follower and follower.opname in STACK_COPIES and follower.arg in (None, 1):
            follower = after[i + 1]
            is_asked = follower and follower.opname == "LOAD_ATTR"
        else:
            is_asked = follower and follower.opname in ASKING_FOR_ATTRIBUTES
        loaded = value if isinstance(value, tuple) else (value,)
        is_special = (
            is_asked and follower.argval.startswith("__") and follower.argval != "__class__"
        )
        found.update(loaded[:-1] if is_asked and not is_special else loaded)
    if "super" in code.co_names and any(name.startswith("__") for name in code.co_names):
        found.update(code.co_varnames[:1])
        found.update(in_cells)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= passed_on(constant)
    return found


def line_that_stores(code: Any, name: str) -> int:
    """Return the line of a function, or of one within it, that stores a name; 0 if none does."""
    line = 0
    for instruction in dis.get_instructions(code):
        line = getattr(instruction, "line_number", instruction.starts_line) or line
        is_outside = instruction.opname in ("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL")
        if is_outside and instruction.argval == name:
            return line
    inside = (x for x in code.co_consts if isinstance(x, types.CodeType))
    return next(filter(None, (line_that_stores(x, name) for x in inside)), 0)


def asks_for_identity(functions: Sequence[Any]) -> bool:
    """Tell whether functions may ask if two values are one object, as ``x is y`` does."""
    codes = [function.__code__ for function in functions]
    for code in codes:  # the list grows
        codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
        before = None
        for instruction in dis.get_instructions(code):
            constant = before is not None and before.opname == "LOAD_CONST"
            if instruction.opname in ("IS_OP", "CONTAINS_OP") and not constant:
                return True
            before = instruction
        if OF_IDENTITY & {*code.co_names}:
            return True
    return False
