"""What a function closes over: what is watched while it is recorded, and guarded afterwards.

Parameters, gradients, buffers, what an optimizer remembers, masks, generators and Python numbers
are not among a training step's arguments. They are found by walking from the function through
closures, global names, attributes, lists and dicts. Every place where something stands is a `Slot`.
While the function is recorded, recorded values stand in the slots of arrays and floats; afterwards
the slots tell what the function has changed, and they are the program's state. What the program
takes for granted, the modes of modules and all other numbers, is compared before each run.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import math
import operator
import sys
import types
from collections import UserDict, UserList, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..nn.dropout.layers import DropoutBase
from ..nn.dropout.masks import MaskSource, bernoulli_mask
from ..nn.module import Module
from ..optim.optimizers import Optimizer
from ..random import default_rng
from ..tensor import Tensor
from .calls import Method, Variable, raw_bytes
from .labels import Labels
from .recording import ARRAYS, Recorder, is_recorded, paused, plain, recording

#: A container of more numbers and texts than this is compared as a whole.
MANY = 1000
#: Objects of Python's own classes that only hold what they are given.
HOLDERS = (types.SimpleNamespace, argparse.Namespace, UserDict, UserList)
MISSING = object()
#: Python's values that are compared.
STATIC = (bool, int, str, bytes, complex, types.NoneType, np.generic, np.dtype)


class Slot:
    """A place where something stands: an item of a dict or list, a variable of a closure."""

    __slots__ = ("holder", "key", "name")

    def __init__(self, holder: Any, key: Any, name: str) -> None:
        self.holder = holder
        self.key = key
        self.name = name

    def get(self) -> Any:
        """Return what stands there."""
        if isinstance(self.holder, types.CellType):
            return self.holder.cell_contents
        if isinstance(self.holder, dict):
            return self.holder.get(self.key, MISSING)
        if isinstance(self.holder, (list, deque)):
            return self.holder[self.key] if self.key < len(self.holder) else MISSING
        return getattr(self.holder, self.key, MISSING)

    def set(self, value: Any) -> None:
        """Put something there."""
        if isinstance(self.holder, types.CellType):
            self.holder.cell_contents = value
        elif isinstance(self.holder, (dict, list, deque)):
            self.holder[self.key] = value
        else:  # also where a class forbids it
            object.__setattr__(self.holder, self.key, value)

    def code(self, bind: Callable[[Any], str]) -> str:
        """Write `get` as Python."""
        holder = bind(self.holder)
        if isinstance(self.holder, types.CellType):
            return f"{holder}.cell_contents"
        is_item = isinstance(self.holder, (dict, list, deque))
        return f"{holder}[{self.key!r}]" if is_item else f"{holder}.{self.key}"


class State:
    """What is found by walking from a function."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.before: list[Any] = []
        self.tensors: dict[int, tuple[Tensor, str]] = {}
        self.modules: dict[int, tuple[Module, str]] = {}
        self.optimizers: dict[int, tuple[Optimizer, str]] = {}
        self.lists: list[tuple[Any, Any]] = []  # containers, and copies of them
        self.wholes: list[tuple[Any, Any]] = []  # those that are compared as a whole, and copies
        self.functions: list[types.FunctionType] = []
        self.objects: list[Any] = []
        self.library_modules: set[int] = set()  # their attributes: they set masks, and read none
        self.called: set[str] = set()  # the names in their code
        self.methods: dict[str, list[Any]] = {}  # those of classes, until their name is found
        self.attributes: list[tuple[Any, Any]] = []  # those of objects, and copies of them
        self.generators: list[tuple[Any, Any]] = [(default_rng, default_rng.bit_generator.state)]
        self.places: set[tuple[int, Any]] = set()
        self.in_slots: set[int] = set()
        self.fixed: list[tuple[Any, str]] = []  # arrays that cannot be replaced: defaults
        self.seen: dict[int, Any] = {}
        self.names: dict[int, str] = {}

    # ---- the walk

    def walk(self, root: Any, name: str) -> None:
        """Find all that can be reached from an object."""
        stack = [(root, name)]
        while stack:
            value, name = stack.pop()
            if type(value) in ARRAYS and id(value) not in self.in_slots:
                self.fixed.append((value, name))
            if id(value) in self.seen or isinstance(value, (*STATIC, float, np.ndarray)):
                continue
            if is_librarys_own(value):
                continue
            self.seen[id(value)] = value
            found = sorted(self.below(value, name), key=rank)
            for slot in found:
                place = isinstance(slot, Slot) and (id(slot.holder), slot.key)
                if place and place not in self.places:  # two functions may share a variable
                    self.places.add(place)
                    self.slots.append(slot)
                    self.before.append(slot.get())
                    self.in_slots.add(id(self.before[-1]))
            stack.extend((s.get(), s.name) if isinstance(s, Slot) else s for s in reversed(found))

    def below(self, value: Any, name: str) -> Iterator[Any]:
        """Yield the slots in a value, and values in it that have none."""
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value, name
            yield Slot(value, "_array", name)
            yield Slot(value, "_grad", f"{name}_grad")
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            yield from self.below_function(value, name)
        elif isinstance(value, type):
            yield from self.below_class(value)
        elif isinstance(value, (dict, list, deque, tuple, set, frozenset, bytearray)):
            yield from self.below_container(value, name)
        elif isinstance(value, np.random.Generator):
            self.generators.append((value, value.bit_generator.state))
        if is_plain_object(value):
            if isinstance(value, Module):
                self.modules[id(value)] = value, name
            if isinstance(value, Optimizer):
                self.optimizers[id(value)] = value, name
            numbered = type(value).__name__ == "Sequential"
            attributes = vars(value)
            if isinstance(value, Module) and in_library(type(value)):
                self.library_modules.add(id(attributes))
            self.objects.append(value)
            self.seen[id(attributes)] = attributes
            self.attributes.append((attributes, dict(attributes)))
            self.names[id(attributes)] = name
            for key in attributes:
                inner = name if numbered and key == "layers" else dotted(name, key)
                yield Slot(attributes, key, inner)
            for kind in type(value).__mro__:
                yield from self.below_class(kind, "__init__")
        for key in names_of_slots(value):
            yield Slot(value, key, dotted(name, key))
        is_numpys = type(value).__module__.startswith("numpy")
        if hasattr(value, "__wrapped__") and not (is_numpys or isinstance(value, type)):
            yield value.__wrapped__, ""

    def below_container(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what is in a list, a dict, a tuple or a set."""
        is_dict, is_list = isinstance(value, dict), isinstance(value, (list, deque))
        if isinstance(value, (set, bytearray)):
            self.wholes.append((value, value.copy()))
        if isinstance(value, bytearray):
            return
        if len(value) > MANY and all_static(value.values() if is_dict else value):
            if is_dict or is_list:
                self.wholes.append((value, value.copy()))
            return
        if is_dict or is_list:
            self.lists.append((value, dict(value) if is_dict else list(value)))
        if is_dict:
            yield from (Slot(value, key, dotted(name, key)) for key in value)
        elif is_list:
            yield from (Slot(value, i, dotted(name, i)) for i in range(len(value)))
        else:
            yield from ((item, dotted(name, i)) for i, item in enumerate(value))

    def below_class(self, kind: type, without: str = "") -> Iterator[Any]:
        """Yield the methods of a user's class that may be called: by Python, by us, by name."""
        if in_library(kind):
            return
        ours = {key for base in kind.__mro__ if in_library(base) for key in vars(base)}
        for key, method in list(vars(kind).items()):
            for part in ("__func__", "fget", "func"):  # of properties and the like
                method = getattr(method, part, method)
            if key == without or not callable(method) or isinstance(method, type):
                continue
            if key in self.called or key in ours or key.startswith("__"):
                yield method, ""
            else:
                self.methods.setdefault(key, []).append(method)

    def below_function(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what a function can reach: its closure, its defaults, the global names in it."""
        if isinstance(value, types.MethodType):
            yield value.__self__, "" if name in ("", "step") else name
            yield value.__func__, ""
            return
        if isinstance(value, functools.partial):
            yield value.func, ""
            yield value.args, ""
            yield value.keywords, ""
            return
        for cell_name, cell in zip(
            value.__code__.co_freevars, value.__closure__ or (), strict=True
        ):
            if not is_empty(cell):
                yield Slot(cell, None, cell_name)
        if value.__defaults__:
            yield value.__defaults__, "default"
        if value.__kwdefaults__:
            yield value.__kwdefaults__, ""
        if in_library(value):
            return
        self.functions.append(value)
        attributes = vars(value)
        self.attributes.append((attributes, dict(attributes)))
        self.names[id(attributes)] = name or value.__name__
        yield from (Slot(attributes, key, key) for key in attributes)
        for key in names_in(value.__code__):
            self.called.add(key)
            yield from ((method, "") for method in self.methods.pop(key, ()))
            if not isinstance(value.__globals__.get(key, types), types.ModuleType):
                yield Slot(value.__globals__, key, key)

    def shorten_names(self) -> None:
        """Leave the net's own name out of those of its parts, if there is only one net."""
        tops = {name.split(".")[0] for tensor, name in self.tensors.values() if "." in name}
        if len(tops) != 1:
            return
        prefix = f"{tops.pop()}."

        def short(name: str) -> str:
            rest = name.removeprefix(prefix)
            return name if rest[:1].isdigit() else rest

        for slot in self.slots:
            slot.name = short(slot.name)
        self.tensors = {key: (tensor, short(name)) for key, (tensor, name) in self.tensors.items()}
        self.modules = {key: (module, short(name)) for key, (module, name) in self.modules.items()}

    # ---- while it is recorded

    def install(self, recorder: Recorder, labels: Labels) -> None:
        """Put recorded values in the place of arrays and floats."""
        self.recorder, self.labels = recorder, labels
        self.put: list[Any] = []
        self.managed: set[tuple[int, Any]] = set()
        self.versions = {key: tensor.version for key, (tensor, _) in self.tensors.items()}
        self.trained = {key: tensor._requires_grad for key, (tensor, _) in self.tensors.items()}
        static_floats = {
            (id(vars(optimizer)), key)
            for optimizer, _ in self.optimizers.values()
            for key in vars(optimizer)
            if key != "lr"
        }
        for array, name in self.fixed:
            if id(array) not in recorder.known:
                recorder.input(array, name)
        for slot, value in zip(self.slots, self.before, strict=True):
            keep = (id(slot.holder), slot.key) in static_floats
            new = value if keep and isinstance(value, float) else self.recorded(value, slot.name)
            self.put.append(new)
            if new is not value:
                slot.set(new)
        self.classes: list[tuple[Any, type]] = []
        for module, name in self.modules.values():
            self.override(module, "forward", labels.in_module(module.forward, module, name))
        for optimizer, _ in self.optimizers.values():
            self.override(optimizer, "update", self.watched_update(optimizer))

    def override(self, instance: Any, name: str, function: Callable[..., Any]) -> None:
        """Give an object another method, by a class of its own.

        Not by an attribute: another thread may be iterating over these.
        """
        kind = type(instance)
        self.classes.append((instance, kind))
        method = staticmethod(function)
        namespace = {name: method, "__module__": kind.__module__, "__doc__": kind.__doc__}
        metaclass: Any = type(kind)
        instance.__class__ = metaclass(kind.__name__, (kind,), namespace)

    def recorded(self, value: Any, name: str) -> Any:
        """Return the recorded value of an array, float or generator, also those in tuples."""
        if type(value) in ARRAYS:
            known = self.recorder.known.get(id(value))
            return self.recorder.input(value, name) if known is None else known
        if type(value) is float or (isinstance(value, np.generic) and value.dtype.kind in "fc"):
            return self.recorder.input(value, name)
        if type(value) is np.random.Generator:
            return RecordingGenerator(value, self.recorder, name)
        if type(value) is tuple and len(value) <= MANY:
            items = [
                item if type(item) is float else self.recorded(item, dotted(name, i))
                for i, item in enumerate(value)
            ]
            same = all(x is y for x, y in zip(items, value, strict=True))
            return value if same else tuple(items)
        return value

    def watched_update(self, optimizer: Optimizer) -> Callable[[int], Any]:
        """Make an optimizer's `update` whose numbers each run asks for anew."""
        original = optimizer.update

        def update(index: int) -> Any:
            recorder = recording.get()
            if recorder is None:
                return original(index)
            parameter = optimizer.parameters[index]
            known = self.tensors.get(id(parameter))
            self.labels.begin_update(known[1] if known else "parameter")
            fixed = {id(value) for value in vars(optimizer).values()}
            before = self.contents(optimizer)
            with paused():
                rule, memory, numbers = original(index)
            memory = tuple([self.recorded(array, "memory") for array in memory])
            changed = {
                key for key, value in self.contents(optimizer).items() if before.get(key) != value
            }
            self.managed |= changed
            if changed or any(id(x) not in fixed for x in numbers):
                asked = HostNumbers(optimizer, index)
                made = recorder.write_down(asked, (), {}, tuple(plain(x) for x in numbers))
                names = list(inspect.signature(rule).parameters)[-len(made) :]
                for number, key in zip(made, names, strict=True):
                    number._variable.name = f"{self.labels.parameter}_{key}"
                numbers = tuple(
                    x if id(x) in fixed else y.allowed() for x, y in zip(numbers, made, strict=True)
                )
            return rule, memory, numbers

        return update

    def contents(self, optimizer: Optimizer) -> dict[tuple[int, Any], Any]:
        """Return an optimizer's own Python numbers, also those in lists."""
        found: dict[tuple[int, Any], Any] = {}
        for key, value in vars(optimizer).items():
            if isinstance(value, list):
                found |= {(id(value), i): x for i, x in enumerate(value) if type(x) in (int, float)}
            elif type(value) in (int, float):
                found[id(vars(optimizer)), key] = value
        return found

    # ---- afterwards

    def restore(self) -> tuple[list[tuple[Slot, Any]], list[str]]:
        """Take the recorded values out again.

        Returns what the function has put in the slots, and the names of those that hold something
        other than arrays now.
        """
        for instance, kind in self.classes:
            instance.__class__ = kind
        effects: list[tuple[Slot, Any]] = []
        changes: list[str] = []
        for slot, before, put in zip(self.slots, self.before, self.put, strict=True):
            after = slot.get()
            if after is put:
                if put is not before:
                    slot.set(before)
                continue
            if after is not MISSING:
                slot.set(deeply_plain(after))
            if after is before or (id(slot.holder), slot.key) in self.managed:
                continue
            if is_array_or_none(slot, after):
                effects.append((slot, after))
            elif not (isinstance(after, STATIC) and same_static(after, before)):
                changes.append(slot.name)
        for container, items_before in self.lists:
            if len(container) != len(items_before):
                changes.append("the length of a list or dict")
                items = container.items() if isinstance(container, dict) else enumerate(container)
                for key, value in list(items):
                    container[key] = deeply_plain(value)
        changes += ["a set, or a long list" for whole, before in self.wholes if whole != before]
        for attributes, before in self.attributes:
            for key in attributes.keys() - before.keys():
                after = attributes[key]
                attributes[key] = deeply_plain(after)
                name = dotted(self.names[id(attributes)], key)
                if is_recorded(after):
                    effects.append((Slot(attributes, key, name), after))
                else:
                    changes.append(name)
        return effects, changes


class HostNumbers:
    """Asks an optimizer for this step's numbers, which Python computes."""

    def __init__(self, optimizer: Optimizer, index: int) -> None:
        self.optimizer = optimizer
        self.index = index

    def __call__(self) -> tuple[float, ...]:
        """Ask; the optimizer counts its steps."""
        return self.optimizer.update(self.index)[2]


def is_array_or_none(slot: Slot, value: Any) -> bool:
    """Tell whether a program can put in a slot what the function has put there."""
    if is_recorded(value):
        return isinstance(value._value, (np.ndarray, np.floating))
    return type(value) is np.ndarray or (value is None and isinstance(slot.holder, Tensor))


def same_static(a: Any, b: Any) -> bool:
    """Tell whether two of Python's values are the same."""
    if a is b or type(a) is not type(b):
        return a is b
    if type(a) is tuple:
        return len(a) == len(b) and all(map(same_static, a, b))
    is_zero = isinstance(a, (float, complex, np.inexact)) and a == 0
    return bool(a == b) and (not is_zero or str(a) == str(b))  # zeros have signs


def deeply_plain(value: Any) -> Any:
    """Take the recorded values out of what a function has put somewhere."""
    if is_recorded(value):
        return value._value
    if isinstance(value, RecordingGenerator):
        return value.original
    if isinstance(value, Tensor):
        value._array, value._grad = plain(value._array), plain(value._grad)
        return value
    if type(value) in (list, tuple):
        return type(value)([deeply_plain(item) for item in value])
    if type(value) is dict:
        return {key: deeply_plain(item) for key, item in value.items()}
    return value


def rank(found: Any) -> int:
    """Return where something comes: what is found first gives the name, best a module."""
    value = found.get() if isinstance(found, Slot) else found[0]
    return 0 if isinstance(value, Module) else 2 if isinstance(value, Optimizer) else 1


def dotted(name: str, key: Any) -> str:
    """Return the name of something in something."""
    return f"{name}.{key}" if name else str(key)


def is_empty(cell: Any) -> bool:
    """Tell whether a variable of a closure has no value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def names_in(code: Any) -> list[str]:
    """List the global names in a function's code, and in that of functions within it."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += names_in(constant)
    return list(dict.fromkeys(names))


def in_library(function: Any) -> bool:
    """Tell whether a function is NumPy's, Python's or ours."""
    top = (getattr(function, "__module__", None) or "").split(".")[0]
    # What is made by exec() says that it is of builtins.
    is_pythons = top in sys.stdlib_module_names and top not in ("builtins", "__main__")
    return top in ("microgrand", "numpy") or is_pythons


def is_librarys_own(value: Any) -> bool:
    """Tell whether something is what a library has by its name: there is no user's state in it."""
    if isinstance(value, (types.ModuleType, types.BuiltinFunctionType, np.ufunc)):
        return True
    if not isinstance(value, (types.FunctionType, type)) or not in_library(value):
        return False
    return getattr(sys.modules.get(value.__module__), value.__qualname__, None) is value


def all_static(values: Any) -> bool:
    """Tell whether there are numbers, texts and the like only."""
    return all(isinstance(item, (*STATIC, float)) for item in values)


def names_of_slots(value: Any) -> list[str]:
    """List the attributes of an object that its class keeps in ``__slots__``."""
    if isinstance(value, type) or in_library(type(value)):
        return []
    found = [vars(kind).get("__slots__", ()) for kind in type(value).__mro__]
    names = [name for slots in found for name in ([slots] if isinstance(slots, str) else slots)]
    return [name for name in names if hasattr(value, name) and not name.startswith("__")]


def is_plain_object(value: Any) -> bool:
    """Tell whether an object's attributes are looked into."""
    if isinstance(
        value, (type, types.FunctionType, types.MethodType, functools.partial)
    ) or not hasattr(value, "__dict__"):
        return False
    return isinstance(value, (Module, Optimizer, *HOLDERS)) or not in_library(type(value))


# ---------------------------------------------------------------------------------- chance


class RecordingGenerator(np.random.Generator):
    """A generator whose draws are written down; it draws from the stream of another one."""

    def __init__(self, original: np.random.Generator, recorder: Recorder, name: str) -> None:
        super().__init__(original.bit_generator)
        self.original = original
        self._variable = variable_of_generator(recorder, original, name)


def variable_of_generator(recorder: Recorder, rng: np.random.Generator, name: str) -> Variable:
    """Return the variable of a generator."""
    rng = getattr(rng, "original", rng)
    known = recorder.generators
    if id(rng) not in known:
        variable = recorder.variable_of(rng, name or "rng")
        variable.storage.external = True
        variable.value = type(rng.bit_generator).__name__
        known[id(rng)] = rng, variable, rng.bit_generator.state
    return known[id(rng)][1]


def draw_by(name: str) -> Callable[..., Any]:
    """Make a method of generators that is written down."""

    def draw(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = recording.get()
        if recorder is None:
            return getattr(np.random.Generator, name)(self, *args, **kwargs)
        written = args[:1] if name == "shuffle" else ()
        if kwargs.get("out") is not None:
            written = (kwargs["out"],)
        return recorder.call(Method(name), (self, *args), kwargs, written)

    return draw


for name in dir(np.random.Generator):
    if not name.startswith("_") and name not in ("bit_generator", "spawn"):
        setattr(RecordingGenerator, name, draw_by(name))


class RecordingSource(MaskSource):
    """Draws dropout's masks as always, and writes down that they are drawn."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def next_mask(self, layer: Any, shape: Any) -> Any:
        """Draw a mask."""
        rng = layer.rng or default_rng
        if not isinstance(rng, RecordingGenerator):
            rng = RecordingGenerator(rng, self.recorder, "rng")
        if type(layer).draw is DropoutBase.draw:
            mask = self.bernoulli_mask(shape, 1 - layer.p, rng)
        else:
            mask = self.recorder.call(layer.draw, (shape, rng), {})
        mask._variable.read_only = True
        mask._variable.name = "mask"
        return mask

    def bernoulli_mask(self, shape: Any, keep: Any, rng: RecordingGenerator) -> Any:
        """Draw a mask as `bernoulli_mask` does; where there are no ties, by calls of NumPy."""
        call = self.recorder.call
        scaled = 256 * keep
        threshold = call(int, (scaled,), {})
        whole = call(operator.eq, (scaled, threshold), {})
        is_byte = call(operator.lt, (threshold, 256), {})
        if not is_recorded(keep):
            whole, is_byte, threshold = plain((whole, is_byte, threshold))
        words_of_64_bits = not isinstance(rng.bit_generator, np.random.MT19937)
        if not (shape and words_of_64_bits and whole and is_byte):
            return call(bernoulli_mask, (shape, keep, rng), {})
        size = math.prod(shape)
        draws = call(raw_bytes, (rng, (size + 7) // 8), {})
        if size % 8:
            draws = draws[:size]
        return draws.reshape(shape) < threshold
