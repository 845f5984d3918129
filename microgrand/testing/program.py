"""Programs: functions given by lines of Python, to be printed, and run on tensors or arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np


class Program:
    """A function of arrays, given by lines of Python, and a point at which to call it.

    Parameters
    ----------
    *lines
        Assignments such as ``"v0 = np.sin(x0)"``, which use NumPy as ``np``, the inputs, and the
        values of lines before. The result is the value of the last one.
    namespace
        More names that the lines use, and what they mean.
    reference
        The same lines for arrays, with ``np`` for NumPy, if they are others.
    **inputs
        The arguments, by name.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.testing import gradcheck
    >>> from microgrand.testing.strategies import Program
    >>> program = Program("v0 = np.sin(x0)", "v1 = v0 * x0", x0=np.array([1.0, 2.0]))
    >>> program
    Program(
        "v0 = np.sin(x0)",
        "v1 = v0 * x0",
        x0=np.array([1.0, 2.0]),
    )

    On arrays it is the reference, which NumPy computes; on tensors it is what is to be checked:

    >>> program(*program.inputs)
    array([0.84147098, 1.81859485])
    >>> gradcheck(program, *program.inputs, order=2)
    True
    """

    def __init__(
        self,
        *lines: str,
        namespace: Mapping[str, Any] | None = None,
        reference: Sequence[str] = (),
        **inputs: Any,
    ) -> None:
        self.lines = lines
        self.namespace = {"np": np, **(namespace or {})}
        self.reference_lines = tuple(reference) or lines
        self.names = tuple(inputs)
        self.inputs = [np.asarray(x) for x in inputs.values()]
        self.code = compile("\n".join(lines), "<program>", "exec")
        self.reference_code = compile("\n".join(self.reference_lines), "<reference>", "exec")

    def __call__(self, *arguments: Any) -> Any:
        """Run the lines on arrays or tensors, one for each input."""
        return self.run(self.code, self.namespace, arguments)

    def reference(self, *arrays: Any) -> Any:
        """Return what NumPy computes from arrays: what is right for tensors, too."""
        return self.run(self.reference_code, names_of_numpy(self.namespace), arrays)

    def run(self, code: Any, namespace: Mapping[str, Any], arguments: Sequence[Any]) -> Any:
        """Run compiled lines."""
        values = {**namespace, **dict(zip(self.names, arguments, strict=True))}
        exec(code, values)
        return values[self.lines[-1].split(" = ")[0]]

    def __repr__(self) -> str:
        """Write the call that makes this program, if its namespace goes by that name."""
        parts = [f'"{line}"' for line in self.lines]
        parts += [
            f"{name}=np.array({x.tolist()})"
            for name, x in zip(self.names, self.inputs, strict=True)
        ]
        if set(self.namespace) != {"np"} or self.namespace["np"] is not np:
            parts.append("namespace=namespace")
        if self.reference_lines != self.lines:
            parts.append(f"reference={list(self.reference_lines)}")
        return "Program(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def names_of_numpy(names: Iterable[str]) -> dict[str, Any]:
    """Return what NumPy means by names, and itself as ``np``."""
    return {**{name: getattr(np, name) for name in names if hasattr(np, name)}, "np": np}
