"""`save`: a program as a module that runs with NumPy alone.

Beside the module lies its state, an ``.npz`` file: parameters, what the optimizer remembers, large
constants. The module's `step` takes what the compiled function took, and gives the same numbers
from the same state; `state` shows what the function's tensors and modules would show.
"""

from __future__ import annotations

import ast
import inspect
import pprint
import textwrap
import types
from pathlib import Path
from typing import Any

import numpy as np

from ..nn.dropout import masks
from . import checks
from .state import HostNumbers

HEAD = '''\
"""{name}, as one NumPy program. Written by microgrand's compile; it needs NumPy only."""

from pathlib import Path

import numpy as np

state = dict(np.load(Path(__file__).with_suffix(".npz")))


def deviate():
    """Tell that the recorded call went another way."""
    raise ValueError("with these arguments the function would do something else than was recorded")

'''


#: What stands for `microgrand.nn.dropout.masks.read_only`.
READ_ONLY = """
def read_only(mask):
    mask.setflags(write=False)
    return mask
"""


def save(trace: Any, path: Any) -> None:
    """Write a program, and its state beside it."""
    path = Path(path)
    binding, program, source = trace.binding, trace.program, trace.source
    bound_arrays, _, inputs = trace.current()
    arrays: dict[str, Any] = {}
    optimizers: dict[int, str] = {}
    lines: list[str] = []
    for name, value in source.namespace.items():
        if isinstance(value, np.ndarray):
            arrays[f"constant {name}"] = value
            lines.append(f"{name} = state.pop({f'constant {name}'!r})")
        elif isinstance(value, np.generic):
            lines.append(f"{name} = np.{type(value).__name__}({value.item()!r})")
        elif value is masks.bernoulli_mask:
            lines += ["import math", "", READ_ONLY]
            for function in (masks.random_bytes, masks.bernoulli_mask):
                lines += ["", without_docstring(function), ""]
        elif isinstance(value, HostNumbers):
            owner = optimizers.get(id(value.optimizer))
            if owner is None:
                owner = optimizers[id(value.optimizer)] = f"optimizer_{len(optimizers)}"
                lines += arithmetic_of(value.optimizer, owner)
            lines += [f"def {name}():", f"    return {owner}.update({value.index})[2]", "", ""]
        elif isinstance(value, (type, np.dtype)):
            lines.append(f"{name} = np.dtype({np.dtype(value).str!r})")
        elif name not in ("np", "deviate", "publish", "index", "__name__"):
            checks.refuse_saving(name, value)
    if "index" in source.namespace:
        lines.append("from operator import index")

    given = dict(zip(program.bound, bound_arrays, strict=True))
    bound = []
    for variable in program.bound:
        name = source.name(variable)
        if variable.is_generator:
            bits = given[variable].bit_generator
            lines += [
                f"{name} = np.random.Generator(np.random.{type(bits).__name__}())",
                f"{name}.bit_generator.state = {pprint.pformat(bits.state)}",
            ]
            bound.append(name)
        else:
            arrays[name] = given[variable]
            bound.append(f"state[{name!r}]")

    early = [source.name(v) for v in program.early]
    inner, parameters = [], []
    for variable, value in zip(program.inputs, inputs, strict=True):
        name = source.name(variable)
        if variable in binding.from_arguments:
            parameters.append(name)
            inner.append(name)
        elif isinstance(value, float):
            parameters.append(f"{name}={value!r}")
            inner.append(name)
        else:
            arrays[name] = value
            inner.append(f"state[{name!r}]")
    parameters.sort(key=lambda text: "=" in text)
    slots = {name: name for name in early}
    late = program.late[len(trace.made.outputs) :]
    slots_of = [*trace.made.early_slots, *trace.made.late_slots]
    reads = {slot_key(slot): source.name(v) for slot, v in binding.slot_inputs}
    writes = [
        (source.name(v), reads.get(slot_key(s), source.name(v)))
        for s, v in slots_of
        if v is not None
    ]

    if program.release is not None:
        lines += ["", "", "def release():", '    """Let go of nothing: there is no one else."""']
    lines += ["", "", f"def publish({', '.join(early)}):", '    """Show what others may see."""']
    shown = {name: place for name, place in writes if name in slots}
    lines += [f"    state[{place!r}] = {name}" for name, place in shown.items()] or ["    pass"]
    lines += ["", "", source.text, ""]
    lines += [f"program = prepare({', '.join(bound)})", "", ""]
    lines += [f"def step({', '.join(parameters)}):", '    """Run the program."""']
    count = len(trace.made.outputs)
    lines.append(f"    values = program({', '.join(inner)})")
    places = dict(writes)
    for i, variable in enumerate(late):
        lines.append(f"    state[{places[source.name(variable)]!r}] = values[{count + i}]")
    lines.append("    return values[0]" if count == 1 else f"    return values[:{count}]")
    name = getattr(trace.made.function, "__name__", "a function")
    path.write_text(HEAD.format(name=name) + "\n".join(lines) + "\n", encoding="utf-8")
    np.savez(path.with_suffix(".npz"), **arrays)


def slot_key(slot: Any) -> tuple[int, Any]:
    """Return what tells a slot from others."""
    return id(slot.holder), slot.key


def without_docstring(function: Any) -> str:
    """Return a function's source without its docstring and annotations."""
    tree: Any = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    definition.body = definition.body[1:] if ast.get_docstring(definition) else definition.body
    definition.decorator_list = []
    for argument in definition.args.args:
        argument.annotation = None
    definition.returns = None
    return ast.unparse(tree)


def arithmetic_of(optimizer: Any, name: str) -> list[str]:
    """Write an optimizer as far as it computes numbers: with None in the place of its arrays."""
    kind = type(optimizer)
    methods = [getattr(kind, key) for key in ("update", "decay") if hasattr(kind, key)]
    names = {key for method in methods for key in method.__code__.co_names}
    lines = []
    for key in sorted(names):
        value = methods[0].__globals__.get(key)
        if isinstance(value, types.ModuleType):
            lines.append(f"import {value.__name__}")
        elif inspect.isfunction(value):
            lines.append(f"{key} = None  # a rule, which stands in the program")
    held = {
        key: [x if isinstance(x, (int, float)) else None for x in value]
        if isinstance(value, list)
        else value
        for key, value in vars(optimizer).items()
        if isinstance(value, (int, float, tuple, list))
    }
    lines += ["", "", f"class {kind.__name__}:", f'    """The numbers of {kind.__name__}."""', ""]
    lines += ["\n\n".join(textwrap.indent(without_docstring(m), "    ") for m in methods), "", ""]
    return [*lines, f"{name} = {kind.__name__}()", f"vars({name}).update({held!r})", "", ""]
