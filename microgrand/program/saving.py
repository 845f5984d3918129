"""`save`: a program as a module that runs with NumPy alone.

Beside the module lies its state, an ``.npz`` file: parameters, what the optimizer remembers, large
constants. The module's `step` takes what the compiled function took, arrays for tensors, and
returns what that returned from the same state; `state` shows what the function's tensors and
modules would show.
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
from ..tensor import Tensor
from . import checks
from .state import HostNumbers
from .tracing import Always, Output, parameter_names

HEAD = '''\
"""{name}, as one NumPy program. Written by microgrand's compile; it needs NumPy only."""

from pathlib import Path

import numpy as np

state = _state = dict(np.load(Path(__file__).with_suffix(".npz")))


def deviate():
    """Tell that the traced call went another way."""
    raise ValueError("with these arguments the function would do something else than was traced")


def _check(name, given, shape, dtype, strides):
    """Raise if an argument is another array than was traced."""
    found = tuple(getattr(given, key, None) for key in ("shape", "dtype", "strides"))
    if found != (shape, np.dtype(dtype), strides):
        raise TypeError(
            f"{{name}} is an array of shape {{shape}}, dtype {{dtype}} and strides {{strides}}, "
            f"as when it was traced; got shape, dtype and strides {{found}}"
        )


def _check_number(name, given, expected):
    """Raise if an argument is another number or text than was traced."""
    if type(given) is not type(expected) or given != expected:
        raise ValueError(f"{{name}} is {{expected!r}}, as when it was traced; got {{given!r}}")


def _check_same(name, given, other_name, other):
    """Raise if two arguments are no longer one array."""
    if given is not other:
        raise ValueError(f"{{name}} and {{other_name}} are one array, as when it was traced")


def _check_keys(name, given, expected):
    """Raise if an argument is another nest than was traced."""
    keys = [*given] if isinstance(given, dict) else len(given)
    if keys != expected:
        what = "the keys" if isinstance(expected, list) else "the length"
        raise ValueError(f"{{name}} has {{what}} {{expected}}, as when traced; got {{keys}}")

'''


#: What stands for `microgrand.nn.dropout.masks.read_only`.
READ_ONLY = """
def read_only(mask):
    mask.setflags(write=False)
    return mask
"""


def save(trace: Any, path: Any) -> None:
    """Write a program, and its state beside it."""
    if trace.backend != "numpy":
        checks.refuse_saving_native()
    if trace.program.on_device:
        checks.refuse_saving_for_a_device()
    path = Path(path)
    binding, program, source = trace.binding, trace.program, trace.source
    args, kwargs = trace.example()
    bound_arrays, _, inputs = trace.enter(args, kwargs)
    arrays: dict[str, Any] = {}
    lines = namespace_lines(source.namespace, arrays)

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
            bound.append(f"_state[{name!r}]")

    arguments = Arguments(trace.made.function, args, kwargs)
    parameters, inner = [*arguments.parameters], []
    for variable, value in zip(program.inputs, inputs, strict=True):
        name = source.name(variable)
        if id(value) in arguments.code and variable in binding.from_arguments:
            inner.append(arguments.code[id(value)])
        elif isinstance(value, float):
            parameters.append(f"{name}={value!r}")
            inner.append(name)
        else:
            arrays[name] = value
            inner.append(f"_state[{name!r}]")
    early = [source.name(v) for v in program.early]
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
    lines += [f"    _state[{place!r}] = {name}" for name, place in shown.items()] or ["    pass"]
    lines += ["", "", source.text, ""]
    lines += [f"_program = prepare({', '.join(bound)})", "", ""]
    result = Result(trace.made.outputs)
    returned = result.code(trace.made.output_tree)
    lines += result.lines
    lines += [f"def step({', '.join(parameters)}):", '    """Run the program."""']
    lines += arguments.lines
    lines.append(f"    _values = _program({', '.join(inner)})")
    places = dict(writes)
    for i, variable in enumerate(late):
        place = places[source.name(variable)]
        lines.append(f"    _state[{place!r}] = _values[{len(trace.made.outputs) + i}]")
    lines.append(f"    return {returned}")
    name = getattr(trace.made.function, "__name__", "a function")
    path.write_text(HEAD.format(name=name) + "\n".join(lines) + "\n", encoding="utf-8")
    np.savez(path.with_suffix(".npz"), **arrays)


def namespace_lines(namespace: dict[str, Any], arrays: dict[str, Any]) -> list[str]:
    """Write what the names in a program's source mean; put arrays in `arrays`."""
    optimizers: dict[int, str] = {}
    lines: list[str] = []
    for name, value in namespace.items():
        if isinstance(value, np.ndarray):
            arrays[f"constant {name}"] = value
            lines.append(f"{name} = state.pop({f'constant {name}'!r})")
        elif isinstance(value, (np.generic, float, complex)):
            lines.append(f"{name} = {value_code(value)}")
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
        elif needs_numpy_only(value):
            lines += ["", without_docstring(value), ""]
            lines += [f"{name} = {value.__name__}"] if name != value.__name__ else []
        elif name == "index":
            lines.append("from operator import index")
        elif name not in ("np", "deviate", "publish", "__name__"):
            checks.refuse_saving(name, value)
    return lines


class Arguments:
    """How `step` takes its arguments apart.

    Attributes
    ----------
    parameters
        Its parameters.
    lines
        The checks of what is given.
    code
        Where an array or number is found, by the id of that in the example.
    """

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        self.parameters: list[str] = []
        self.lines: list[str] = []
        self.code: dict[int, str] = {}
        for name, value in parameter_names(function, args, kwargs):
            self.parameters.append(name)
            self.enter(value, name)

    def enter(self, value: Any, code: str) -> None:
        """Check an argument, or what is in one."""
        if isinstance(value, (dict, list, tuple)):
            keys = [*value] if isinstance(value, dict) else len(value)
            self.lines.append(f"    _check_keys({code!r}, {code}, {keys!r})")
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                self.enter(item, f"{code}[{key!r}]")
            return
        if isinstance(value, Tensor):
            value = value._array
        first = self.code.setdefault(id(value), code)
        if isinstance(value, np.ndarray):
            if first != code:
                self.lines.append(f"    _check_same({first!r}, {first}, {code!r}, {code})")
            kind = f"{value.shape}, {str(value.dtype)!r}, {value.strides}"
            self.lines.append(f"    _check({code!r}, {code}, {kind})")
        elif isinstance(value, np.generic):
            self.lines.append(f"    _check({code!r}, {code}, (), {str(value.dtype)!r}, ())")
        elif type(value) is not float:
            self.lines.append(f"    _check_number({code!r}, {code}, {value_code(value)})")


class Result:
    """How `step` builds what it returns.

    Attributes
    ----------
    lines
        The named tuples in it.
    """

    def __init__(self, outputs: list[Any]) -> None:
        self.outputs = outputs
        self.lines: list[str] = []

    def code(self, tree: Any) -> str:
        """Write what is returned, or what is in it."""
        if isinstance(tree, Output):
            if isinstance(tree.place, Always):
                return value_code(tree.place.value)
            copy = ".copy()" if self.outputs[tree.place].storage.constant else ""
            return f"_values[{tree.place}]{copy}"
        if isinstance(tree, dict):
            return f"{{{', '.join(f'{k!r}: {self.code(item)}' for k, item in tree.items())}}}"
        if isinstance(tree, list):
            return f"[{', '.join(map(self.code, tree))}]"
        if isinstance(tree, tuple):
            items = "".join(f"{self.code(item)}, " for item in tree)
            fields = getattr(tree, "_fields", None)
            if fields is None:
                return f"({items})"
            kind = type(tree).__name__
            line = f"{kind} = namedtuple({kind!r}, {fields})"
            if line not in self.lines:
                self.lines += ["from collections import namedtuple", "", line, "", ""]
            return f"{kind}({items})"
        return value_code(tree)


def value_code(value: Any) -> str:
    """Write a number, text or dtype."""
    if isinstance(value, np.generic):
        return number_code(value)
    if isinstance(value, np.dtype):
        return f"np.dtype({value.str!r})"
    if isinstance(value, float):
        return f"float({str(value)!r})"
    if isinstance(value, complex):
        return f"complex({value_code(value.real)}, {value_code(value.imag)})"
    if not isinstance(value, (bool, int, str, bytes, types.NoneType)):
        checks.refuse_saving("an argument or result", value)
    return repr(value)


def number_code(value: Any) -> str:
    """Write one of NumPy's scalars, with all its bits."""
    return f"np.frombuffer({value.tobytes()!r}, {value.dtype.str!r})[0]"


def slot_key(slot: Any) -> tuple[int, Any]:
    """Return what tells a slot from others."""
    return id(slot.holder), slot.key


def needs_numpy_only(function: Any) -> bool:
    """Tell whether a function of the library uses no other name of its module than ``np``."""
    if not inspect.isfunction(function) or not function.__module__.startswith("microgrand."):
        return False
    codes = [function.__code__]
    for code in codes:
        codes += [inner for inner in code.co_consts if inspect.iscode(inner)]
    names = {name for code in codes for name in code.co_names}
    return not (names & function.__globals__.keys()) - {"np"}


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


def numbers_in(value: Any) -> Any:
    """Return a nest of numbers with None in the place of all else."""
    if isinstance(value, dict):
        return {key: numbers_in(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([numbers_in(item) for item in value])
    return value if isinstance(value, (int, float)) else None


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
    held = numbers_in(vars(optimizer))
    lines += ["", "", f"class {kind.__name__}:", f'    """The numbers of {kind.__name__}."""', ""]
    lines += ["\n\n".join(textwrap.indent(without_docstring(m), "    ") for m in methods), "", ""]
    return [*lines, f"{name} = {kind.__name__}()", f"vars({name}).update({held!r})", "", ""]
