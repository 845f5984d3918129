"""The course's own lines for a stage, and the beginnings that are given to students."""

from __future__ import annotations

import ast
import inspect
import textwrap

from . import reference
from .stages import STAGES, Stage


def first_file() -> str:
    """Return what ``start`` writes."""
    head = '"""My own framework, built stage by stage."""\n\nimport numpy as np\n\n\n'
    return head + STAGES[1].skeleton


def lines_of(stage: Stage) -> str:
    """Return the reference's lines for the names of a stage."""
    parts = []
    for name in stage.lines or stage.contract:
        found = reference
        for attribute in name.split("."):
            found = getattr(found, attribute)
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(found)))  # type: ignore[arg-type]
        if name == "Tensor":  # as far as the operators: the rest belongs to later stages
            source = source.split("    # ----", 2)[0] + "    # ----" + source.split("    # ----")[1]
            source = "\n".join(line for line in source.splitlines() if "# ----" not in line)
        parts.append(source.strip("\n"))
    return "\n\n\n".join(parts) + "\n"


def without_names(skeleton: str, text: str) -> str:
    """Return a skeleton without the functions and classes that a file has already."""
    there = {
        line.name
        for line in ast.parse(text).body
        if isinstance(line, (ast.FunctionDef, ast.ClassDef))
    }
    lines = skeleton.splitlines(keepends=True)
    for node in reversed(ast.parse(skeleton).body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in there:
            del lines[node.lineno - 1 : node.end_lineno]
    return "".join(lines).rstrip() + "\n"
