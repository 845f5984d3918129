"""A case: the lines of a small program that shows a fault, in short and as a file to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: The size of the numbers that a case is about.
FAR = 100.0


class Plain:
    """An input that stays an array, rather than becoming a tensor."""

    def __init__(self, array: Any) -> None:
        self.array = array


class Case:
    """Lines, and the inputs that they use.

    Parameters
    ----------
    module
        The name of the student's module.
    inputs
        Arrays that become tensors, `Plain` ones that do not, and other values, by name.
    bridged
        Names of layers with ``forward`` and ``backward``, and whether there are no others.
    substituted
        The stages that the course supplies, and the one being checked.
    """

    def __init__(
        self,
        module: str,
        inputs: dict[str, Any],
        bridged: tuple[Sequence[str], bool] = ((), False),
        substituted: tuple[Sequence[int], int] = ((), 1),
    ) -> None:
        self.module, self.inputs, self.bridged = module, inputs, bridged
        self.substituted = substituted
        self.lines: list[str] = []
        #: Expressions whose values were read.
        self.shown: list[str] = []

    def text(self) -> str:
        """Return the case in a line or two."""
        parts = [in_short(name, given) for name, given in self.inputs.items()]
        lines = [line for line in self.lines if "\n" not in line]
        blocks = [line.splitlines()[0] + " ..." for line in self.lines if "\n" in line]
        return "; ".join([*parts, *blocks, *lines]) or "the file as it is imported"

    def program(self, title: str, found: str, expected: str) -> str:
        """Return the case as the text of a Python file."""
        title = title.replace("\\", "/").replace('"', "'")
        lines = [f'"""{title}"""', "", "import numpy as np", ""]
        stages, number = self.substituted
        if stages or not self.module.isidentifier():
            lines += ["from microgrand.course.substitution import completed", ""]
            call = f'completed("{self.module}.py", {list(stages)}, {number})'
            lines += [f"mine = {call}", "globals().update(vars(mine))", ""]
        else:
            lines += [f"import {self.module} as mine", f"from {self.module} import *", ""]
        names, all_of_them = self.bridged
        if names:
            lines += ["from microgrand.course.door import bridge_to", ""]
        if all_of_them:
            lines += ["from microgrand.course.reference import Tensor", ""]
        node = "" if all_of_them else ", node"
        lines += [f"{name} = bridge_to(mine.{name}{node})" for name in names]
        for name, given in self.inputs.items():
            if isinstance(given, Plain):
                lines.append(f"{name} = {in_full(given.array)}")
            elif isinstance(given, np.ndarray):
                lines.append(f"{name} = Tensor({in_full(given)})")
            else:
                lines.append(f"{name} = {given!r}")
        lines += self.lines
        lines += [f'print("{name} is", {name})' for name in dict.fromkeys(self.shown)]
        lines += ["", *(f"# {key}: {text}" for key, text in said(found, expected))]
        return "\n".join(lines) + "\n"


def said(found: str, expected: str) -> list[tuple[str, str]]:
    """Return the lines of what was found and expected."""
    return [("found", " ".join(found.split())), ("expected", " ".join(expected.split()))]


def in_short(name: str, given: Any) -> str:
    """Say what an input is: its values if they are few, else its shape."""
    if isinstance(given, Plain):
        given, kind = given.array, "array "
    else:
        kind = ""
    if not isinstance(given, np.ndarray):
        return f"{name} = {given!r}"
    if given.size <= 3:
        return f"{name} = {kind}{given.tolist()}"
    text = f"{name} {'an array ' if kind else ''}of shape {given.shape}"
    if given.dtype.kind == "f" and not np.abs(given).max() < FAR:
        text += f" from {given.min():g} to {given.max():g}"
    return text


def in_full(array: Any) -> str:
    """Return an array as Python code."""
    if not isinstance(array, np.ndarray):
        return repr(array)
    numbers = str(array.tolist()).replace("inf", "np.inf").replace("nan", "np.nan")
    return f"np.array({numbers}, dtype={array.dtype.name!r})"
