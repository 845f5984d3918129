"""The course's own lines for a stage, and the skeletons that students are given."""

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


#: Names that the reference's lines use, but students have only from a later stage on.
LATER = {"undo_broadcasting": 5, "RECORDING": 15}


def lines_of(stage: Stage) -> str:
    """Return the reference's lines for the names of a stage, without what later ones add."""
    parts = []
    for name in stage.lines or stage.contract:
        if name == "RECORDING":
            parts.append("RECORDING = [True]")
            continue
        found = reference
        for attribute in name.split("."):
            found = getattr(found, attribute)
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(found)))  # type: ignore[arg-type]
        if name == "Tensor":  # up to the operators: the rest belongs to later stages
            source = source.split("    # ----", 2)[0] + "    # ----" + source.split("    # ----")[1]
            source = "\n".join(line for line in source.splitlines() if "# ----" not in line)
        for later, number in LATER.items():
            if stage.number < number:
                source = without_lines(source, later)
        parts.append(source.strip("\n"))
    return "\n\n\n".join(parts) + "\n"


def without_lines(source: str, name: str) -> str:
    """Return lines without those that use a name; what such an `if` holds is done in any case."""
    kept: list[str] = []
    inside = -1
    for line in source.splitlines():
        indent = len(line) - len(line.lstrip())
        if name in line:
            inside = indent if line.lstrip().startswith("if ") else -1
            continue
        inside = inside if line.strip() and indent > inside else -1
        kept.append(line[4:] if inside >= 0 else line)
    return "\n".join(kept)


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
