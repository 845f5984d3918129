"""What the lines of a program belong to: section, layer, primitive or VJP, and names for values.

The engine tells when a primitive has been recorded, and when a cotangent is complete; modules tell
where they begin and end. Whatever was called since the last of these marks belongs to it.
"""

from __future__ import annotations

import builtins
import itertools
import keyword
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from .calls import Attribute, Call, Method, Variable
from .recorder import Recorder
from .recording import is_recorded, recording


class Labels:
    """Labels the calls of a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.labelled = 0  # how many calls have a label
        self.scopes: list[tuple[str, bool]] = []  # names of modules; is it a loss?
        self.node: Any = None  # whose VJPs are being called
        self.parameter = ""  # which is being updated

    def label(self, section: str, origin: str, prefix: str) -> None:
        """Label what has no label yet."""
        for call in self.recorder.calls[self.labelled :]:
            call.section, call.origin = section, origin
            for variable in call.results():
                variable.name = variable.name or f"{prefix}_{short_name(call)}".strip("_")
        self.labelled = len(self.recorder.calls)

    def finish(self) -> None:
        """Label what comes after the last mark."""
        if self.parameter:
            self.label("update", self.parameter, self.parameter)
        elif self.node is not None:
            self.label("backward", "", "")
        else:
            self.label("forward", "", "")
        self.node, self.parameter = None, ""

    # ---- the marks

    def on_record(self, node: Any) -> Any:
        """Note that a primitive has been recorded, with all that it has called."""
        if recording.get() is self.recorder:
            scope, in_loss = self.scopes[-1] if self.scopes else ("", False)
            primitive = getattr(node.primitive, "__name__", "value")
            module = getattr(node.primitive, "__module__", None) or ""
            section = "loss" if in_loss or module.endswith(".losses") else "forward"
            name = f"{scope}_{primitive}".strip("_")
            if is_recorded(node._array):
                variable = node._array._variable
                variable.name = variable.name or name
            where = f"{scope}: " if scope else ""
            self.label(section, f"{where}{primitive}", scope or name)
        return node

    def observe(self, node: Any, cotangent: Any) -> None:
        """Note that a cotangent is complete, and that its value's VJPs come next."""
        value = name_of_value(node)
        if is_recorded(cotangent) and value:
            variable = cotangent._variable
            if not variable.name:
                variable.name = f"{value}_grad"
        if self.node is None:
            self.finish()
        else:
            self.label("backward", self.vjp(), f"{name_of_value(self.node)}_back".lstrip("_"))
        self.node = node

    def vjp(self) -> str:
        """Describe the VJPs that are being called."""
        primitive = getattr(self.node.primitive, "__name__", "")
        value = name_of_value(self.node)
        return f"VJP of {primitive}, from {value}_grad" if primitive and value else "the gradient"

    def in_module(self, forward: Callable[..., Any], module: Any, name: str) -> Callable[..., Any]:
        """Make a `forward` for a module that tells when it begins and ends."""
        kind = type(module).__name__
        last = name.rsplit(".", 1)[-1]
        scope = (f"{name}_{kind}".lower() if last.isdigit() else name).replace(".", "_")
        in_loss = type(module).__module__.endswith(".losses")

        def scoped(*args: Any, **kwargs: Any) -> Any:
            if recording.get() is not self.recorder:
                return forward(*args, **kwargs)
            self.finish()
            self.scopes.append((scope, in_loss))
            try:
                out = forward(*args, **kwargs)
            finally:
                self.scopes.pop()
            array = getattr(out, "_array", None)
            if is_recorded(array) and array._variable.name.startswith(scope):
                array._variable.name = scope
            self.label("loss" if in_loss else "forward", scope, scope)
            return out

        return scoped

    def begin_update(self, parameter: str) -> None:
        """Note that an optimizer turns to a parameter."""
        self.finish()
        self.parameter = parameter.replace(".", "_")


def name_of_value(node: Any) -> str:
    """Return the name of a tensor's array."""
    array = node._array
    return array._variable.name if is_recorded(array) else ""


def short_name(call: Call) -> str:
    """Name a function in a word."""
    function = call.function
    if isinstance(function, (Method, Attribute)):
        return function.name
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", "value")
    if isinstance(owner, np.ufunc):
        return "sum" if owner is np.add else f"{owner.__name__}_{name}"
    return WORDS.get(name, name)


#: Words for what Python and NumPy abbreviate.
WORDS = {
    "add": "sum",
    "dot": "product",
    "getitem": "part",
    "invert": "not",
    "isub": "difference",
    "mul": "product",
    "multiply": "product",
    "raw_bytes": "bytes",
    "sub": "difference",
    "subtract": "difference",
    "truediv": "quotient",
}


def with_names(text: str, names: dict[Variable, str]) -> str:
    """Put the names of a program's values in the place of those in a part of it, ``v0`` and so on.

    What is compiled keeps the short names: parts that do the same are then one.
    """
    taken = set(re.findall(r"(?<![.\w])[A-Za-z_]\w*", text)) | {*keyword.kwlist, *dir(builtins)}
    chosen: dict[str, str] = {}
    for variable, short in names.items():
        wanted = re.sub(r"\W+", "_", variable.name).strip("_") or "value"
        wanted = f"_{wanted}" if wanted[0].isdigit() else wanted
        numbered = (f"{wanted}_{n}" for n in itertools.count(2))
        chosen[short] = next(n for n in itertools.chain([wanted], numbered) if n not in taken)
        taken |= {chosen[short], f"{chosen[short]}_"}
    return re.sub(r"\bv\d+", lambda found: chosen.get(found[0], found[0]), text)
