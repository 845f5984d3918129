"""`save`: a program as a module that runs with NumPy alone.

Beside the module lies its state, an ``.npz`` file: parameters, what the optimizer remembers, large
constants. The module's `step` takes what the compiled function took, arrays for tensors, and
returns what that returned from the same state; `state` shows what the function's tensors and
modules would show.
"""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np

from ..tensor import Tensor
from . import checks
from .calls import CHECKS, Program
from .optimizers import HostNumbers
from .passes import pairs_apart
from .source import OF_SAVED_MODULES, Writer
from .standalone import Sources, dtype_code, generator_lines, optimizer_lines, value_code
from .tracing import Always, Output, parameter_names

HEAD_OF_MODULE = '''\
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
    if found != (shape, dtype, strides) or not isinstance(given, np.ndarray):
        raise TypeError(
            f"{{name}} is an array of shape {{shape}}, dtype {{dtype}} and strides {{strides}}, "
            f"as when it was traced; got shape, dtype and strides {{found}}"
        )


def _check_kind(name, given, kind):
    """Raise if an argument is a number of another kind than was traced."""
    if type(given) is not kind:
        raise TypeError(
            f"{{name}} is a {{kind.__name__}}, as when it was traced; got {{given!r}}"
        )


def _check_number(name, given, expected):
    """Raise if an argument is another number or text than was traced."""
    if type(given) is not type(expected) or given != expected:
        raise ValueError(f"{{name}} is {{expected!r}}, as when it was traced; got {{given!r}}")


def _check_one(name, given, other_name, other):
    """Raise if two arguments are no longer one array."""
    if given is not other:
        raise ValueError(f"{{name}} and {{other_name}} are one array, as when it was traced")


def _check_two(name, given, other_name, other):
    """Raise if two arguments have become one array."""
    if given is other:
        raise ValueError(f"{{name}} and {{other_name}} are two arrays, as when it was traced")


def _check_keys(name, given, expected):
    """Raise if an argument is another nest than was traced."""
    keys = [*given] if isinstance(given, dict) else len(given)
    if keys != expected:
        what = "the keys" if isinstance(expected, list) else "the length"
        raise ValueError(f"{{name}} has {{what}} {{expected}}, as when traced; got {{keys}}")

'''


def save(trace: Any, path: Any) -> None:
    """Write a program, and its state beside it."""
    made = trace.made
    if trace.backend != "numpy":
        checks.refuse_saving_native()
    if trace.program.on_device:
        checks.refuse_saving_for_a_device()
    if made.recorder.facts:
        checks.refuse_saving_facts()
    path = Path(path)
    binding, program, source = trace.binding, trace.program, trace.source
    args, kwargs = trace.example()
    entered = trace.enter(args, kwargs)
    checks.check_is_as_traced(entered)
    bound_arrays, _, inputs = entered
    arrays: dict[str, Any] = {}
    lines = namespace_lines(source.namespace, arrays)

    bound = []
    streams: dict[int, str] = {}
    for variable, value in zip(program.bound, bound_arrays, strict=True):
        name = source.name(variable)
        if variable.is_generator:
            lines += generator_lines(name, value, streams)
            bound.append(name)
        else:
            arrays[name] = value
            bound.append(f"_state[{name!r}]")

    slots_of = [*made.early_slots, *made.late_slots]
    reads = {slot.place: source.name(v) for slot, v in binding.slot_inputs}
    writes = [
        (source.name(v), reads.get(slot.place, source.name(v)))
        for slot, v in slots_of
        if v is not None
    ]
    written = {place for _, place in writes}
    arguments = Arguments(made.function, args, kwargs)
    parameters, inner = [*arguments.names], list[str]()
    codes: dict[Any, str] = {}
    for variable, value in zip(program.inputs, inputs, strict=True):
        name = source.name(variable)
        code = arguments.code.get(binding.places.get(variable))
        if code is None and isinstance(value, np.ndarray):
            arrays[name] = value
            code = f"_state[{name!r}]"
        elif code is None and name in written:
            lines.append(f"_state[{name!r}] = {value_code(value)}")
            code = f"_state[{name!r}]"
        elif code is None:
            while name in {*arguments.names, *OF_SAVED_MODULES}:
                name += "_"
            parameters.append(f"{name}={value_code(value)}")
            code = name
        codes[variable] = code
        inner.append(code)
    early = [source.name(v) for v in program.early]
    slots = {name: name for name in early}
    late = program.late[len(made.outputs) :]

    if program.release is not None:
        lines += ["", "", "def release():", '    """Let go of nothing: there is no one else."""']
    lines += ["", "", f"def publish({', '.join(early)}):", '    """Show what others may see."""']
    shown = {name: place for name, place in writes if name in slots}
    lines += [f"    _state[{place!r}] = {name}" for name, place in shown.items()] or ["    pass"]
    lines += ["", "", source.text, ""]
    lines += [f"_program = prepare({', '.join(bound)})", "", ""]
    result = Result(made.outputs)
    returned = result.code(made.output_tree)
    checks.check_parameters(arguments.names, {*OF_USE, *result.kinds.values()})
    lines += result.lines
    lines += [f"def step({', '.join(parameters)}):", '    """Run the program."""']
    lines += arguments.lines
    lines += [f"    {line}" for line in condition_lines(trace, codes)]
    lines.append(f"    _values = _program({', '.join(inner)})")
    places = dict(writes)
    for i, variable in enumerate(late):
        place = places[source.name(variable)]
        lines.append(f"    _state[{place!r}] = _values[{len(made.outputs) + i}]")
    lines.append(f"    return {returned}")
    name = getattr(made.function, "__name__", "a function")
    in_file, laid_out = laid_out_as_they_are(arrays)
    text = HEAD_OF_MODULE.format(name=name) + "\n".join([*laid_out, *lines]) + "\n"
    path.write_text(text, encoding="utf-8")
    np.savez(path.with_suffix(".npz"), **in_file)


#: The names that `step` uses itself.
OF_USE = {"np", "float", "complex", "deviate", *OF_SAVED_MODULES} - {"Path", "state"}


def namespace_lines(namespace: dict[str, Any], arrays: dict[str, Any]) -> list[str]:
    """Write what the names in a program's source mean; put arrays in `arrays`."""
    optimizers: dict[int, str] = {}
    sources = Sources()
    lines: list[str] = []
    for name, value in namespace.items():
        if name in ("np", "deviate", "publish", "__name__"):
            continue
        if isinstance(value, np.ndarray):
            arrays[f"constant {name}"] = value
            lines.append(f"{name} = state.pop({f'constant {name}'!r})")
        elif isinstance(value, (np.generic, float, complex)):
            lines.append(f"{name} = {value_code(value)}")
        elif isinstance(value, HostNumbers):
            owner = optimizers.get(id(value.optimizer))
            if owner is None:
                owner = optimizers[id(value.optimizer)] = f"optimizer_{len(optimizers)}"
                asked = [
                    x
                    for x in namespace.values()
                    if isinstance(x, HostNumbers) and x.optimizer is value.optimizer
                ]
                lines += optimizer_lines(value.optimizer, owner, asked)
            lines += [f"def {name}():", f"    return {owner}.update({value.index})[2]", "", ""]
        elif isinstance(value, (type, np.dtype)):
            lines.append(f"{name} = {dtype_code(np.dtype(value))}")
        elif name == "index":
            lines.append("from operator import index")
        else:
            is_ours = getattr(value, "__module__", None) or ""
            more = sources.lines(name, value) if is_ours.startswith("microgrand.") else None
            if more is None:
                checks.refuse_saving(name, value)
            lines += more
    return lines


def condition_lines(trace: Any, codes: dict[Any, str]) -> list[str]:
    """Write what must hold of the arguments besides their kinds: answers, and no overlap."""
    writer = Writer()
    writer.names = dict(codes)
    writer.taken |= dict.fromkeys(OF_SAVED_MODULES, 1)
    conditions = Program(trace.made.conditions, [], [])
    # Numbers of the state that the program does not write stay what they are.
    fixed = {v: slot.get() for slot, v in trace.binding.slot_inputs if v not in codes}
    writer.names |= {variable: value_code(value) for variable, value in fixed.items()}
    known, calls = set(fixed), []
    for call in conditions.calls:
        if known.issuperset(call.operands()):
            known.update(call.results())
        if call.function not in CHECKS or not known.issuperset(call.operands()):
            calls.append(call)
    lines = [writer.statement(call) for call in calls]
    for name, value in writer.namespace.items():
        if name != "np":
            checks.refuse_saving(name, value)
    for x, y in pairs_apart(codes, trace.made.apart):
        lines.append(f"if np.may_share_memory({codes[x]}, {codes[y]}): deviate()")
    return lines


def laid_out_as_they_are(arrays: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what is written to a file, and the lines that make of it arrays as they are now.

    Those that share memory share it then, too. A file tells whether an array lies in memory by rows
    or by columns, and nothing else of strides.
    """
    for name, array in arrays.items():
        if array.dtype.hasobject:
            checks.refuse_saving_objects(name.removeprefix("constant "))
    groups: list[list[str]] = []
    end = -1
    for name in sorted(arrays, key=lambda name: ends_of(arrays[name])):
        start, stop = ends_of(arrays[name])
        if start >= end:
            groups.append([])
        groups[-1].append(name)
        end = max(end, stop)
    in_file: dict[str, Any] = {}
    lines: list[str] = []
    for group in groups:
        first = arrays[group[0]]
        if len(group) == 1 and group[0] not in ("file", "allow_pickle"):
            order: Any = "F" if first.flags.fnc else "C"
            if np.empty(first.shape, first.dtype, order).strides == first.strides:
                in_file[group[0]] = first
                continue
        start = ends_of(first)[0] // 64 * 64
        memory = np.zeros(max(ends_of(arrays[name])[1] for name in group) - start, np.uint8)
        where = f"memory {len(in_file)}"
        in_file[where] = memory
        lines.append(f"_memory = state.pop({where!r})")
        for name in group:
            array = arrays[name]
            offset = array.__array_interface__["data"][0] - start
            np.ndarray(array.shape, array.dtype, memory, offset, array.strides)[...] = array
            kind = f"{array.shape}, {dtype_code(array.dtype)}, _memory, {offset}, {array.strides}"
            lines.append(f"state[{name!r}] = np.ndarray({kind})")
    return in_file, [*lines, *[""] * bool(lines)]


def ends_of(array: Any) -> tuple[int, int]:
    """Return where in memory an array begins and ends."""
    start, stop = np.lib.array_utils.byte_bounds(array)
    return (int(start), int(stop)) if array.size else (int(start), int(start))


class Arguments:
    """How `step` takes its arguments apart.

    Attributes
    ----------
    names
        The names of its parameters.
    lines
        The checks of what is given.
    code
        Where an array or number is found, by its place in the arguments.
    """

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        self.names: list[str] = []
        self.lines: list[str] = []
        self.code: dict[Any, str] = {}
        self.arrays: dict[int, tuple[str, Any]] = {}
        places = [*range(len(args)), *kwargs]
        named = parameter_names(function, args, kwargs)
        for place, (name, value) in zip(places, named, strict=True):
            self.names.append(name)
            self.enter(value, name, (place,))

    def enter(self, value: Any, code: str, place: tuple[Any, ...]) -> None:
        """Check an argument, or what is in one."""
        if isinstance(value, (dict, list, tuple)):
            is_ours = type(value) in (dict, list, tuple, collections.OrderedDict)
            if not is_ours and not hasattr(value, "_fields"):
                checks.refuse_saving_value(value)
            is_dict = isinstance(value, dict)
            items = [*(value.items() if isinstance(value, dict) else enumerate(value))]
            keys = [value_code(key) for key, _ in items]
            expected = f"[{', '.join(keys)}]" if is_dict else str(len(value))
            self.lines.append(f"    _check_keys({code!r}, {code}, {expected})")
            for (key, item), key_code in zip(items, keys, strict=True):
                self.enter(item, f"{code}[{key_code}]", (*place, key))
            return
        if isinstance(value, Tensor):
            value = value._array
        self.code[place] = code
        if isinstance(value, np.ndarray):
            self.enter_array(value, code)
        elif type(value) is float:
            self.lines.append(f"    _check_kind({code!r}, {code}, float)")
        elif isinstance(value, np.generic) and value.dtype.kind in "fc":
            self.lines.append(f"    _check_kind({code!r}, {code}, {dtype_code(value.dtype)}.type)")
        else:
            self.lines.append(f"    _check_number({code!r}, {code}, {value_code(value)})")

    def enter_array(self, array: Any, code: str) -> None:
        """Check an array, and that it is another one than those before, or the same."""
        kind = f"{array.shape}, {dtype_code(array.dtype)}, {array.strides}"
        self.lines.append(f"    _check({code!r}, {code}, {kind})")
        first, _ = self.arrays.setdefault(id(array), (code, array))
        if first != code:
            self.lines.append(f"    _check_one({first!r}, {first}, {code!r}, {code})")
            return
        for other_code, other in self.arrays.values():
            if other is not array and could_be_one(array, other):
                given = f"{other_code!r}, {other_code}, {code!r}, {code}"
                self.lines.append(f"    _check_two({given})")


def could_be_one(x: Any, y: Any) -> bool:
    """Tell whether two arrays could also be one: nothing else tells them apart."""
    return bool(x.shape == y.shape and x.dtype == y.dtype and x.strides == y.strides)


class Result:
    """How `step` builds what it returns.

    Attributes
    ----------
    lines
        The named tuples in it.
    kinds
        Their names.
    """

    def __init__(self, outputs: list[Any]) -> None:
        self.outputs = outputs
        self.lines: list[str] = []
        self.kinds: dict[Any, str] = {}

    def code(self, tree: Any) -> str:
        """Write what is returned, or what is in it."""
        if isinstance(tree, Output):
            if isinstance(tree.place, Always):
                return value_code(tree.place.value)
            copy = ".copy()" if self.outputs[tree.place].storage.constant else ""
            return f"_values[{tree.place}]{copy}"
        kind = type(tree)
        if kind in (dict, collections.OrderedDict):
            items = ", ".join(f"{value_code(k)}: {self.code(v)}" for k, v in tree.items())
            return f"{{{items}}}" if kind is dict else f"{self.ordered_dict()}({{{items}}})"
        if kind is list:
            return f"[{', '.join(map(self.code, tree))}]"
        if kind is tuple:
            return f"({''.join(f'{self.code(item)}, ' for item in tree)})"
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            return f"{self.named_tuple(kind)}({', '.join(map(self.code, tree))})"
        return value_code(tree)

    def ordered_dict(self) -> str:
        """Return the name of the class of ordered dicts."""
        if collections.OrderedDict not in self.kinds:
            self.kinds[collections.OrderedDict] = "_OrderedDict"
            self.lines += ["from collections import OrderedDict as _OrderedDict", "", ""]
        return self.kinds[collections.OrderedDict]

    def named_tuple(self, kind: Any) -> str:
        """Return the name of a class of named tuples."""
        if kind not in self.kinds:
            number = f"_{len(self.kinds)}" * (kind.__name__ in self.kinds.values())
            name = self.kinds[kind] = f"{kind.__name__}{number}"
            made = f"namedtuple({kind.__name__!r}, {kind._fields}, rename=True)"
            self.lines += ["from collections import namedtuple", "", f"{name} = {made}", "", ""]
        return self.kinds[kind]
