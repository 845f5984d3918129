"""The source of a derivative as written in the table: ``g * (1 - out**2)``."""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
from collections.abc import Callable
from types import CodeType
from typing import Any

from ..engine import Node, rules_of


def rule_text(node: Node, i: int) -> str:
    """Return what the table says of argument `i` of the call that computed a value."""
    rules = rules_of[node.primitive]  # type: ignore[index]
    return text_of(rules.joint, i) if rules.joint else text_of(rules.vjps[i])


def text_of(vjp: Callable[..., Any] | None, i: int | None = None) -> str:
    """Return the expression that a VJP computes, or its lines if there are several.

    Of a joint VJP, which returns a tuple, that is what stands in place `i`.
    """
    code = getattr(inspect.unwrap(vjp), "__code__", None) if vjp else None
    if code is None:
        return getattr(vjp, "__name__", "its VJP")
    lines = "".join(linecache.getlines(code.co_filename))
    for found in functions_at(lines, code.co_firstlineno):
        if isinstance(found, ast.Lambda):
            if is_code_of(code, found):
                return cleaned(lines, found.body)
        elif found.name == code.co_name:
            body = found.body[1:] if ast.get_docstring(found) else found.body
            if isinstance(body[-1], ast.Return) and body[-1].value:
                body[-1:] = [part_at(body[-1].value, i)]
            return "\n".join(cleaned(lines, statement) for statement in body)
    return str(code.co_name)


def part_at(result: ast.expr, i: int | None) -> ast.expr:
    """Return what stands in place `i` of a tuple: ``g * y`` of ``g * y if needed[0] else None``."""
    if i is None or not isinstance(result, ast.Tuple) or i >= len(result.elts):
        return result
    part = result.elts[i]
    return part.body if isinstance(part, ast.IfExp) else part


@functools.lru_cache
def functions_by_line(source: str) -> dict[int, list[Any]]:
    """Return the functions of a file by their first line."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a cell of a notebook with magic in it
        return {}
    found: dict[int, list[Any]] = {}
    for part in ast.walk(tree):
        if isinstance(part, (ast.Lambda, ast.FunctionDef)):
            first = min([part.lineno, *(d.lineno for d in getattr(part, "decorator_list", ()))])
            found.setdefault(first, []).append(part)
    return found


def functions_at(source: str, line: int) -> list[Any]:
    """Return the functions that begin in a line."""
    return functions_by_line(source).get(line, [])


def is_code_of(code: CodeType, function: ast.Lambda) -> bool:
    """Tell whether a lambda's text compiles to this code: several may stand in one line."""
    made = compile(ast.Expression(function), code.co_filename, "eval").co_consts
    own = next(part for part in made if isinstance(part, CodeType))
    return (own.co_code, own.co_names, own.co_varnames) == (
        code.co_code,
        code.co_names,
        code.co_varnames,
    ) and [c for c in own.co_consts if not isinstance(c, CodeType)] == [
        c for c in code.co_consts if not isinstance(c, CodeType)
    ]


def cleaned(source: str, part: ast.AST) -> str:
    """Return the text of an expression, in one line if it has several."""
    text = ast.get_source_segment(source, part) or ast.unparse(part)
    return text if isinstance(part, ast.stmt) else " ".join(text.split())
