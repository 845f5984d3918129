"""What a function closes over: what is watched while it is recorded, and guarded afterwards.

Parameters, gradients, buffers, what an optimizer remembers, masks, generators and Python numbers
are not among a training step's arguments. They are found by walking from the function through
closures, global names, attributes, lists and dicts. Every place where something stands is a `Slot`.
While the function is recorded, recorded values stand in the slots of arrays and floats; afterwards
the slots tell what the function has changed, and they are the program's state. What the program
takes for granted, the modes of modules and all other numbers, is compared before each run.
"""

from __future__ import annotations

import enum
import functools
import inspect
import threading
import types
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..nn.containers import Named, Numbered
from ..nn.module import Module
from ..optim.optimizer import Optimizer
from ..random import default_generator
from ..tensor import Tensor
from .devices import is_array, is_devices_generator, is_plain_array
from .holders import (
    BUILTIN_METHODS,
    ITERATORS,
    Chance,
    asked_for_bytes,
    chance_of,
    chances_of_all,
    inside_holder,
    is_holder,
    original_of,
)
from .labels import Labels
from .libraries import functions_of, in_library, is_librarys_own, is_module_of_library
from .names import imported_module, imports_in, names_in
from .optimizers import (
    CYCLED,
    HostNumbers,
    contents_of,
    known_or_asked,
    options_of,
    own_objects,
)
from .recording import Recorder, is_recorded, paused, plain, recording
from .slots import MISSING, Slot, put_items_back, value_of_context
from .standins import (
    CACHED,
    STAND_INS,
    RecordingDevicesGenerator,
    RecordingGenerator,
    RecordingIterator,
    TypeOf,
    WatchedDict,
    around_a_cache,
    disguise_of,
    method_of,
    set_class,
)
from .unread import Unread, can_be_partly_read, is_of_dataclass

#: Python's flag of classes that are made by a ``class`` statement: others cannot be changed.
OF_A_STATEMENT = 1 << 9
#: A container of more numbers and strings than this is compared as a whole.
MANY = 1000
#: Python's values that are compared.
STATIC = (bool, int, str, bytes, complex, types.NoneType, np.generic, np.dtype)
STATIC_OR_FLOAT = (*STATIC, float)


class State:
    """What is found by walking from a function."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.before: list[Any] = []
        self.tensors: dict[int, tuple[Tensor, str]] = {}
        self.versions: dict[int, int] = {}
        self.trained: dict[int, bool] = {}  # whether tensors require gradients
        self.modules: dict[int, tuple[Module, str]] = {}
        self.optimizers: dict[int, tuple[Optimizer, str]] = {}
        self.lists: list[tuple[Any, Any]] = []  # containers, and copies of them
        self.wholes: list[tuple[Any, Any]] = []  # those that are compared as a whole, and copies
        self.tables: dict[int, tuple[Any, Any]] = {}  # long dicts, and what watches them
        self.read: list[tuple[Any, Any]] = []  # long dicts, and the keys that are read
        self.functions: list[types.FunctionType] = []
        self.named: set[str] = set()  # the names in their code
        self.unnamed: dict[str, list[Any]] = {}  # in classes and modules, until the name is found
        self.asking: list[dict[str, Any]] = []  # the global names of functions that call `type`
        self.unread = Unread()  # objects of which some attributes are not looked at
        self.parents: dict[Any, tuple[type, int]] = {}  # classes, and how many attributes they have
        self.objects: list[Any] = []
        self.library_modules: set[int] = set()  # their attributes: they set masks, and read none
        self.attributes: list[tuple[Any, Any]] = []  # those of objects, and copies of them
        self.generators: list[tuple[Any, Any]] = [
            (default_generator, default_generator.bit_generator.state)
        ]
        self.not_imported: set[Any] = set()  # modules that functions may import
        self.answers: list[tuple[Any, Any]] = []  # what tells the state of an object, and it
        self.chances: list[Chance] = chances_of_all()
        self.places: set[tuple[int, Any]] = set()
        self.in_slots: set[int] = set()
        self.fixed: list[tuple[Any, str]] = []  # arrays that cannot be replaced: defaults
        self.seen: dict[int, Any] = {}
        self.recorded_found = False  # in what the function itself has made
        self.names: dict[int, str] = {}

    # ---- the walk

    def walk(self, root: Any, name: str) -> None:
        """Find all that can be reached from an object."""
        self.unread.handed_on.add(id(root))
        stack = [(root, name)]
        while stack:
            self.walk_down(stack)
            for value in self.unread.revealed(self.named):
                stack += self.found_in(value, self.attributes_of(value))

    def walk_down(self, stack: list[tuple[Any, str]]) -> None:
        """Find what can be reached from some objects, as far as it is known what is read."""
        while stack:
            value, name = stack.pop()
            value = original_of(value)
            self.recorded_found |= is_recorded(value)
            if isinstance(value, STATIC_OR_FLOAT) and not isinstance(value, np.void):
                continue
            ask = asked_for_bytes(value)
            if ask is not None and id(value) not in self.seen:
                self.seen[id(value)] = value
                self.answers.append((ask, ask()))
            if is_plain_array(value) and id(value) not in self.in_slots:
                self.fixed.append((value, name))
            if id(value) in self.seen or is_array(value):
                continue
            if is_librarys_own(value) or is_devices_generator(value):
                continue
            self.seen[id(value)] = value
            stack += self.found_in(value, self.below(value, name))

    def found_in(self, parent: Any, below: Iterator[Any]) -> list[tuple[Any, str]]:
        """Note the slots in an object, and return what is in it: the first comes last."""
        found = sorted(below, key=rank)
        for slot in found:
            place = isinstance(slot, Slot) and (id(slot.holder), slot.key)
            if place and place not in self.places:  # two functions may share a variable
                self.places.add(place)
                self.slots.append(slot)
                self.before.append(slot.get())
                self.in_slots.add(id(self.before[-1]))
        inside = [(s.get(), s.name) if isinstance(s, Slot) else s for s in reversed(found)]
        for place, (value, _) in zip(reversed(found), inside, strict=True):
            self.unread.note(parent, place, original_of(value))
        return inside

    def below(self, value: Any, name: str) -> Iterator[Any]:
        """Yield the slots in a value, and values in it that have none."""
        if isinstance(value, Tensor):
            self.tensors[id(value)] = value, name
            self.versions[id(value)] = value.version
            self.trained[id(value)] = value._requires_grad
            yield Slot(value, "_array", name)
            yield Slot(value, "_grad", f"{name}_grad")
        elif isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            yield from self.below_function(value, name)
        elif isinstance(value, type):
            yield from self.below_class(value)
        elif isinstance(value, types.ModuleType):
            self.unread.scopes.add(id(vars(value)))
            yield from self.if_named(vars(value), vars(value))
        elif isinstance(value, (dict, list, deque, tuple, set, frozenset, bytearray, array)):
            yield from self.below_container(value, name)
        else:
            yield from self.below_holder(value, name)
        if is_plain_object(value):
            yield from self.below_object(value, name)
        for key in names_of_slots(value):
            yield Slot(value, key, dotted(name, key))
        is_numpys = type(value).__module__.startswith("numpy")
        if has(value, "__wrapped__") and not (is_numpys or isinstance(value, type)):
            yield value.__wrapped__, ""

    def below_holder(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what is in an object of Python's or NumPy's that holds something of the user's."""
        yield from ((inner, name) for inner in inside_holder(value))
        chance = chance_of(value)
        if chance is not None and all(chance.source is not x.source for x in self.chances):
            self.chances.append(chance)
        if isinstance(value, np.random.Generator):
            self.generators.append((value, value.bit_generator.state))
            yield value.bit_generator.seed_seq, ""
        elif isinstance(value, np.vectorize):
            yield Slot(value, "pyfunc", "")
        elif isinstance(value, np.ufunc):
            yield from ((function, "") for function in functions_of(value))
        elif isinstance(value, ContextVar):
            if value_of_context(value) is not MISSING:
                yield Slot(value, None, value.name)
        elif isinstance(value, weakref.ref):
            yield value(), name
        elif isinstance(value, threading.local):  # each thread has attributes of its own
            yield from (Slot(value, key, dotted(name, key)) for key in vars(value))

    def below_object(self, value: Any, name: str) -> Iterator[Any]:
        """Yield the attributes of an object, and what its class has."""
        if isinstance(value, Module):
            self.modules[id(value)] = value, name
        if isinstance(value, Optimizer):
            self.optimizers[id(value)] = value, name
        inside = {Numbered: "layers", Named: "by_name"}
        unnamed = [key for kind, key in inside.items() if isinstance(value, kind)]
        attributes = vars(value)
        if isinstance(value, Module) and in_library(type(value)):
            self.library_modules.add(id(attributes))
        self.objects.append(value)
        self.seen[id(attributes)] = attributes
        self.attributes.append((attributes, dict(attributes)))
        self.names[id(attributes)] = name
        if can_be_partly_read(value):
            self.unread.add(value, attributes)
            for key in attributes:
                slot = Slot(attributes, key, dotted(name, key))
                if key in self.named:
                    yield slot
                else:
                    self.unnamed.setdefault(key, []).append(slot)
        else:
            for key in attributes:
                yield Slot(attributes, key, name if key in unnamed else dotted(name, key))
        yield from self.below_class(type(value), "__init__")

    def attributes_of(self, value: Any) -> Iterator[Slot]:
        """Yield the attributes of an object of which some are not looked at yet."""
        attributes = vars(value)
        name = self.names[id(attributes)]
        yield from (Slot(attributes, key, dotted(name, key)) for key in attributes)

    def below_container(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what is in a list, a dict, a tuple or a set."""
        is_dict, is_list = isinstance(value, dict), isinstance(value, (list, deque))
        if isinstance(value, (bytearray, array)):
            self.wholes.append((value, value[:]))
            return
        if isinstance(value, set):
            self.wholes.append((value, value.copy()))
        if len(value) > MANY and all_static(value.values() if is_dict else value):
            if type(value) is dict:
                self.tables[id(value)] = value, None
            elif is_dict or is_list:
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
        """Yield what a user's class has that may be used: by Python, by us, by name."""
        if issubclass(kind, enum.Enum):
            return
        if not in_library(type(kind)):
            yield from self.below_class(type(kind), without)
        ours = {key for base in kind.__mro__ if in_library(base) for key in vars(base)}
        for base in kind.__mro__:
            is_users = not in_library(base) and base.__flags__ & OF_A_STATEMENT
            if is_users and (id(base), without) not in self.parents:
                self.parents[id(base), without] = base, len(vars(base))
                yield from self.if_named(base, vars(base), ours, without)

    def if_named(
        self, holder: Any, attributes: Any, ours: Any = (), without: str = ""
    ) -> Iterator[Any]:
        """Yield what a class or module has as soon as its name occurs in a function's code."""
        for key, value in list(attributes.items()):
            function = under(value)
            if key.startswith("__"):
                if callable(function) and key != without and not is_of_dataclass(holder, function):
                    yield function, ""
                continue
            found = [Slot(holder, key, key), (function, "")]
            if key in self.named or key in ours:
                yield from found
            else:
                self.unnamed.setdefault(key, []).extend(found)

    def below_function(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what a function can reach: its closure, its defaults, the global names in it."""
        if isinstance(value, types.MethodType):
            yield value.__self__, "" if name in ("", "step") else name
            yield value.__func__, ""
            return
        if isinstance(value, functools.partial):
            yield Slot(value, "func", "")
            yield Slot(value, "args", "argument")
            yield value.keywords, ""
            return
        for cell_name, cell in zip(
            value.__code__.co_freevars, value.__closure__ or (), strict=True
        ):
            if not is_empty(cell) and not is_cache_of_functools(value, cell.cell_contents):
                yield Slot(cell, None, cell_name)
        if in_library(value):
            yield value.__defaults__, "default"
            yield value.__kwdefaults__, ""
            return
        yield Slot(value, "__defaults__", "default")
        yield Slot(value, "__kwdefaults__", "")
        self.functions.append(value)
        attributes = vars(value)
        self.attributes.append((attributes, dict(attributes)))
        self.names[id(attributes)] = name or value.__name__
        for key, held in attributes.items():
            if not is_cache_of_functools(value, getattr(held, "__self__", None)):
                yield Slot(attributes, key, key)
        names, global_names = names_in(value.__code__)
        self.unread.codes.append(value.__code__)
        self.unread.global_names |= global_names.keys()
        known = value.__globals__
        self.unread.scopes.add(id(known))
        for imported, key in imports_in(value.__code__):
            module = imported_module(imported, known)
            if module is None:
                self.not_imported.add(imported)
            elif not is_module_of_library(module):
                yield module, ""
                self.unread.scopes.add(id(vars(module)))
                if key in vars(module):
                    yield Slot(vars(module), key, key)
        for key in names:
            self.named.add(key)
            yield from self.unnamed.pop(key, ())
        for key in global_names:
            if key in known and not is_module_of_library(known[key]):
                yield Slot(known, key, key)
        if "type" in global_names and "type" not in known:
            self.asking.append(known)

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
        self.disguised: list[Any] = []
        self.put: list[Any] = []
        self.managed: set[tuple[int, Any]] = set()
        static_floats = {
            (id(holder), key)
            for optimizer, _ in self.optimizers.values()
            for holder in options_of(optimizer)
            for key in holder
            if key != "lr" and not (key in CYCLED and in_library(type(optimizer)))
        }
        #: Momenta of the library's optimizers, which schedulers change: the rules are the same.
        self.cycled = {
            (id(group), key)
            for optimizer, _ in self.optimizers.values()
            for group in optimizer.param_groups
            for key in CYCLED
            if in_library(type(optimizer))
        }
        for value, name in self.fixed:
            if id(value) not in recorder.known:
                recorder.input(value, name)
        for slot, value in zip(self.slots, self.before, strict=True):
            keep = isinstance(value, float) and (id(slot.holder), slot.key) in static_floats
            new = value if keep else self.recorded(value, slot.name)
            self.put.append(new)
            if new is not value:
                slot.set(new)
        for names in self.asking:
            names["type"] = TypeOf
        for module, name in self.modules.values():
            if "forward" in vars(module):  # as with hooks: it stands before that of the class
                continue
            self.override(module, "forward", labels.in_module(module.forward, module, name))
        for optimizer, _ in self.optimizers.values():
            self.override(optimizer, "update", self.watched_update(optimizer))

    def override(self, instance: Any, name: str, function: Callable[..., Any]) -> None:
        """Give an object another method, by a class of its own.

        Not by an attribute: another thread may be iterating over these.
        """
        self.disguised.append((instance, type(instance)))
        set_class(instance, disguise_of(instance, name, function))

    def recorded(self, value: Any, name: str) -> Any:
        """Return the recorded value of an array, float or generator, also those in tuples."""
        if is_plain_array(value):
            known = self.recorder.known.get(id(value))
            return self.recorder.input(value, name) if known is None else known
        if type(value) is float or (isinstance(value, np.generic) and value.dtype.kind in "fc"):
            return self.recorder.input(value, name)
        if type(value) is np.random.Generator:
            return RecordingGenerator(value, self.recorder, name)
        if is_devices_generator(value):
            return RecordingDevicesGenerator(value, self.recorder, name)
        if value is type:
            return TypeOf
        if id(value) in self.tables:
            table, watched = self.tables[id(value)]
            self.tables[id(value)] = table, watched or WatchedDict(table)
            return self.tables[id(value)][1]
        if isinstance(value, CACHED):
            return around_a_cache(value)
        if isinstance(value, ITERATORS):
            return RecordingIterator(value, self.recorder)
        if isinstance(value, (types.MethodType, *BUILTIN_METHODS)):
            owner = self.recorded(value.__self__, name)
            return value if owner is value.__self__ else method_of(owner, value.__name__)
        make: Any = tuple if type(value) is tuple else getattr(type(value), "_make", None)
        if isinstance(value, tuple) and make is not None and len(value) <= MANY:
            items = [
                item if type(item) is float else self.recorded(item, dotted(name, i))
                for i, item in enumerate(value)
            ]
            same = all(x is y for x, y in zip(items, value, strict=True))
            return value if same else make(items)
        return value

    def watched_update(self, optimizer: Optimizer) -> Callable[[int], Any]:
        """Make an optimizer's `update` whose numbers each run asks for again."""
        original = optimizer.update

        def update(index: int) -> Any:
            recorder = recording.get()
            if recorder is None:
                return original(index)
            parameter = optimizer.parameters[index]
            known = self.tensors.get(id(parameter))
            self.labels.begin_update(known[1] if known else "parameter")
            before = contents_of(optimizer)
            with paused(), own_objects(optimizer) as options:
                rule, memory, numbers = original(index)
            memory = tuple([self.recorded(array, "memory") for array in memory])
            changed = {
                key for key, value in contents_of(optimizer).items() if before.get(key) != value
            }
            self.managed |= changed
            if changed or any(id(x) not in options for x in numbers):
                asked = HostNumbers(optimizer, index)
                made = recorder.write_down(asked, (), {}, tuple(plain(x) for x in numbers))
                names = list(inspect.signature(rule).parameters)[-len(made) :]
                for number, key in zip(made, names, strict=True):
                    number._variable.name = f"{self.labels.parameter}_{key}"
                numbers = tuple(
                    [known_or_asked(options, x, y) for x, y in zip(numbers, made, strict=True)]
                )
            return rule, memory, numbers

        return update

    # ---- afterwards

    def restore(self) -> tuple[list[tuple[Slot, Any]], list[str]]:
        """Take the recorded values out again.

        Returns what the function has put in the slots, and the names of those that hold something
        other than arrays now.
        """
        for names in self.asking:
            names.pop("type", None)
        for instance, kind in self.disguised:
            set_class(instance, kind)
        effects: list[tuple[Slot, Any]] = []
        changes: list[str] = []
        # After an error in `install`, there are fewer put.
        for slot, before, put in zip(self.slots, self.before, self.put, strict=False):
            after = slot.get()
            if after is put:
                if put is not before:
                    slot.set(before)
                continue
            if after is not MISSING:
                slot.set(deeply_plain(after))
            if after is before or (id(slot.holder), slot.key) in self.managed:
                continue
            if is_array_or_none(slot, after) and not isinstance(slot.holder, (type, ContextVar)):
                effects.append((slot, after))
            elif not (isinstance(after, STATIC) and same_static(after, before)):
                changes.append(slot.name)
        for container, items_before in self.lists:
            if len(container) != len(items_before):
                changes.append("the length of a list or dict")
                items = container.items() if isinstance(container, dict) else enumerate(container)
                for key, value in list(items):
                    container[key] = deeply_plain(value)
            elif isinstance(container, dict) and [*container] != [*items_before]:
                changes.append("the order of a dict")
        recorded = {id(rng.bit_generator) for rng, _ in self.generators}
        changes += [
            x.name for x in self.chances if x.has_changed() and id(x.source) not in recorded
        ]
        for ask, before in self.answers:
            if ask() != before:
                changes.append("what a record, a matrix, a memoryview or the like holds")
        for table, watched in self.tables.values():
            if watched is None or watched.is_read_as_a_whole:
                self.wholes.append((table, table.copy() if watched is None else watched.before))
            else:
                self.read.append((table, sorted(watched.read, key=repr)))
        for kind, count in self.parents.values():
            if len(vars(kind)) != count:
                changes.append(f"the attributes of {kind.__name__}")
        changes += ["a set, or a long list" for x in self.wholes if not same_whole(*x)]
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

    def undoing(self) -> Callable[[], None]:
        """Return what puts all back that was found, but for what is in arrays.

        Also when the state is forgotten.
        """
        places = [*zip(self.slots, self.before, strict=True)]
        holders = [*self.lists, *self.wholes, *self.attributes]
        tensors = [
            (tensor, self.versions[key], self.trained[key])
            for key, (tensor, _) in self.tensors.items()
        ]
        generators, chances = self.generators, self.chances

        def undo() -> None:
            for slot, before in places:
                if slot.get() is not before:
                    slot.set(before)
            for holder, items in holders:
                put_items_back(holder, items)
            for tensor, version, requires_grad in tensors:
                tensor.version, tensor._requires_grad = version, requires_grad
            for generator, bits in generators:
                generator.bit_generator.state = bits
            for chance in chances:
                chance.put_back()

        return undo


def is_array_or_none(slot: Slot, value: Any) -> bool:
    """Tell whether a program can put in a slot what the function has put there."""
    if is_recorded(value):
        return is_array(value._value) or isinstance(value._value, np.floating)
    is_new = is_plain_array(value) and type(value) is not np.memmap
    return is_new or (value is None and isinstance(slot.holder, Tensor))


def same_whole(a: Any, b: Any) -> bool:
    """Tell whether a long container is what it was; the order of a dict is that of loops."""
    return bool(a == b) and (not isinstance(a, dict) or [*a] == [*b])


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
    if issubclass(type(value), STAND_INS):
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


def is_cache_of_functools(function: Any, held: Any) -> bool:
    """Tell whether this is what `functools.singledispatch` remembers of its registry."""
    is_pythons = function.__globals__.get("__name__") == "functools"
    return is_pythons and isinstance(held, weakref.WeakKeyDictionary)


def under(value: Any) -> Any:
    """Return the function under a property or the like in a class."""
    if isinstance(value, (classmethod, staticmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    is_of_functools = isinstance(value, (functools.cached_property, functools.partialmethod))
    return value.func if is_of_functools else value


def all_static(values: Any) -> bool:
    """Tell whether there are only numbers, strings and the like."""
    return all(isinstance(item, (*STATIC, float)) for item in values)


def is_static(value: Any) -> bool:
    """Tell whether there are values in a nest that can be compared: no arrays, and no state."""
    if isinstance(value, dict):
        return all(map(is_static, value.values()))
    if type(value) is tuple:
        return all(map(is_static, value))
    callables = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    is_known = isinstance(value, (*STATIC, float, enum.Enum, *callables))
    return is_known and not is_recorded(value)


def names_of_slots(value: Any) -> list[str]:
    """List the attributes of an object that its class keeps in ``__slots__``."""
    if isinstance(value, type) or in_library(type(value)):
        return []
    found = [vars(kind).get("__slots__", ()) for kind in type(value).__mro__]
    names = [name for slots in found for name in ([slots] if isinstance(slots, str) else slots)]
    return [name for name in names if has(value, name) and not name.startswith("__")]


def has(value: Any, name: str) -> bool:
    """Tell whether an object has an attribute, also where its class answers with other errors."""
    try:
        getattr(value, name)
    except Exception:
        return False
    return True


def is_plain_object(value: Any) -> bool:
    """Tell whether an object's attributes are looked into."""
    if isinstance(value, OTHER_OBJECTS) or not has(value, "__dict__"):
        return False
    is_of_compile = type(value).__module__.startswith(__package__)
    is_ours = type(value).__module__.startswith("microgrand.") and not is_of_compile
    return is_ours or is_holder(value) or not in_library(type(value))


#: What has attributes and is searched in another way.
OTHER_OBJECTS = (
    *(type, types.FunctionType, types.MethodType, types.ModuleType, functools.partial),
    threading.local,
)
