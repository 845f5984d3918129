"""What a function closes over, and how it is found.

Parameters, gradients, buffers, what an optimizer remembers, masks, generators and Python numbers
are not among a training step's arguments. They are found by walking from the function through
closures, global names, attributes, lists and dicts. Every place where something stands is a `Slot`.
Arrays and floats in slots are the program's state; all else, the modes of modules and other
numbers, the program takes for granted, and it is compared before each run.
"""

from __future__ import annotations

import enum
import functools
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
    Chance,
    asked_for_bytes,
    chance_of,
    chances_of_all,
    inside_holder,
    is_holder,
    original_of,
)
from .libraries import functions_of, in_library, is_librarys_own, is_module_of_library
from .names import imported_module, imports_in, names_in
from .recording import is_recorded
from .sameness import STATIC_OR_FLOAT, all_static
from .slots import MISSING, Slot, dotted, put_items_back, slotted, value_of_context
from .unread import Unread, can_be_partly_read, is_of_dataclass

#: Python's flag for classes made by a ``class`` statement; others cannot be changed.
OF_A_STATEMENT = 1 << 9
#: A container with more numbers and strings than this is compared as a whole.
MANY = 1000


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
        self.tables: dict[int, dict[Any, Any]] = {}  # long dicts
        self.functions: list[types.FunctionType] = []
        self.named: set[str] = set()  # the names in their code
        self.unnamed: dict[str, list[Any]] = {}  # in classes and modules, until the name is found
        self.asking: list[dict[str, Any]] = []  # the globals of functions that call `type`
        self.unread = Unread()  # objects of which some attributes are not looked at
        self.parents: dict[Any, tuple[type, int]] = {}  # classes, and how many attributes they have
        self.objects: list[Any] = []
        self.library_modules: set[int] = set()  # their attributes: masks are set there, never read
        self.attributes: list[tuple[Any, Any]] = []  # those of objects, and copies of them
        self.generators: list[tuple[Any, Any]] = [
            (default_generator, default_generator.bit_generator.state)
        ]
        self.not_imported: set[Any] = set()  # modules that functions may import
        self.answers: list[tuple[Any, Any]] = []  # what tells an object's state, and its answer
        self.chances: list[Chance] = chances_of_all()
        self.places: set[tuple[int, Any]] = set()
        self.in_slots: set[int] = set()
        self.fixed: list[tuple[Any, str]] = []  # arrays that cannot be replaced: defaults
        self.seen: dict[int, Any] = {}
        self.recorded_found = False  # in something that the function itself has made
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
        """Find what can be reached from these objects, as far as it is known what code reads."""
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
        """Note the slots in an object, and return what is in it, the first item last."""
        found = sorted(below, key=rank)
        for slot in found:
            # Two functions may share a variable.
            if isinstance(slot, Slot) and slot.place not in self.places:
                self.places.add(slot.place)
                self.slots.append(slot)
                self.before.append(slot.get())
                self.in_slots.add(id(self.before[-1]))
        inside = [(s.get(), s.name) if isinstance(s, Slot) else s for s in reversed(found)]
        for place, (value, _) in zip(reversed(found), inside, strict=True):
            self.unread.note(parent, place, original_of(value))
        return inside

    def below(self, value: Any, name: str) -> Iterator[Any]:
        """Yield the slots in a value, and the values in it that stand in no slot."""
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
        if not (isinstance(value, type) or in_library(type(value))):
            kinds = [kind for kind in type(value).__mro__ if "__slots__" in vars(kind)]
            yield from (Slot(value, key, dotted(name, key)) for key in slotted(value, kinds))
        is_numpys = type(value).__module__.startswith("numpy")
        if has(value, "__wrapped__") and not (is_numpys or isinstance(value, type)):
            yield value.__wrapped__, ""

    def below_holder(self, value: Any, name: str) -> Iterator[Any]:
        """Yield what an object of Python's or NumPy's holds of the user's."""
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
        """Yield all attributes of an object, including those not looked at yet."""
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
                self.tables[id(value)] = value
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
        """Yield what of a user's class may be used: by Python, by the library, by name."""
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
        """Yield what a class or module has, each item once its name occurs in a function's code."""
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
        """If there is only one net, leave its name out of the names of its parts."""
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


def rank(found: Any) -> int:
    """Return the order in which to look: what is found first gives the name, best a module."""
    value = found.get() if isinstance(found, Slot) else found[0]
    return 0 if isinstance(value, Module) else 2 if isinstance(value, Optimizer) else 1


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
    """Return the function inside a property, a class method or the like."""
    if isinstance(value, (classmethod, staticmethod)):
        return value.__func__
    if isinstance(value, property):
        return value.fget
    is_of_functools = isinstance(value, (functools.cached_property, functools.partialmethod))
    return value.func if is_of_functools else value


def has(value: Any, name: str) -> bool:
    """Tell whether an object has an attribute; its class may raise other errors than Python's."""
    try:
        getattr(value, name)
    except Exception:
        return False
    return True


def is_plain_object(value: Any) -> bool:
    """Tell whether to look into an object's attributes."""
    if isinstance(value, OTHER_OBJECTS) or not has(value, "__dict__"):
        return False
    is_of_compile = type(value).__module__.startswith(__package__)
    is_ours = type(value).__module__.startswith("microgrand.") and not is_of_compile
    return is_ours or is_holder(value) or not in_library(type(value))


#: What has attributes, but is searched in another way.
OTHER_OBJECTS = (
    *(type, types.FunctionType, types.MethodType, types.ModuleType, functools.partial),
    threading.local,
)
