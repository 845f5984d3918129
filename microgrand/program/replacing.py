"""What stands in the slots of a function's state while it is recorded, and what it leaves there.

Recorded values take the place of arrays and floats; generators, caches, iterators and long dicts
are replaced by what stands in for them. When the function is done, the slots tell what it has
changed: the arrays that it has put there are effects of the program; no program can make other
changes.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..optim.optimizer import Optimizer
from ..tensor import Tensor
from .devices import is_array, is_devices_generator, is_plain_array
from .holders import BUILTIN_METHODS, ITERATORS
from .labels import Labels
from .libraries import in_library
from .optimizers import (
    CYCLED,
    HostNumbers,
    OwnNumbers,
    known_or_asked,
    options_of,
    own_objects,
)
from .recorder import Recorder
from .recording import is_recorded, paused, plain, recording
from .sameness import STATIC, same_static, same_whole
from .slots import MISSING, Slot, dotted
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
from .state import MANY, State


class Replacing:
    """What stands in the place of a state's arrays, floats and generators.

    Attributes
    ----------
    put
        What stands in each slot of the state while the function is recorded.
    managed
        The places of numbers that an optimizer's `update` changes: runs ask it for them.
    cycled
        The places of momenta of the library's optimizers, which schedulers change: the rules stay.
    read
        Long dicts, and the keys that the function has read.
    """

    def __init__(self, state: State, recorder: Recorder) -> None:
        self.state, self.recorder = state, recorder
        self.put: list[Any] = []
        self.managed: set[tuple[int, Any]] = set()
        self.cycled: set[tuple[int, Any]] = set()
        self.read: list[tuple[Any, Any]] = []
        self.watched: dict[int, WatchedDict] = {}  # in the place of long dicts
        self.disguised: list[Any] = []  # objects, and their own classes

    # ---- before

    def install(self, labels: Labels) -> None:
        """Put recorded values in the place of arrays and floats."""
        state, recorder = self.state, self.recorder
        static_floats: set[Any] = set()
        for optimizer, _ in state.optimizers.values():
            may_cycle = CYCLED if in_library(type(optimizer)) else ()
            self.cycled |= {(id(x), key) for x in optimizer.param_groups for key in may_cycle}
            may_change = {"lr", *may_cycle}
            options = options_of(optimizer)
            static_floats |= {slot.place for slot in options if slot.key not in may_change}
        for value, name in state.fixed:
            if id(value) not in recorder.known:
                recorder.input(value, name)
        for slot, value in zip(state.slots, state.before, strict=True):
            keep = isinstance(value, float) and slot.place in static_floats
            new = value if keep else self.recorded(value, slot.name)
            self.put.append(new)
            if new is not value:
                slot.set(new)
        for names in state.asking:
            names["type"] = TypeOf
        for module, name in state.modules.values():
            if "forward" in vars(module):  # it stands before the one of the class, as hooks do
                continue
            self.override(module, "forward", labels.in_module(module.forward, module, name))
        for optimizer, _ in state.optimizers.values():
            self.override(optimizer, "update", self.watched_update(optimizer, labels))

    def override(self, instance: Any, name: str, function: Callable[..., Any]) -> None:
        """Give an object another method, by a class of its own.

        Not by an attribute: another thread may be iterating over these.
        """
        self.disguised.append((instance, type(instance)))
        set_class(instance, disguise_of(instance, name, function))

    def recorded(self, value: Any, name: str) -> Any:
        """Return what stands in for an array, a float or a generator; tuples may hold them, too."""
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
        if id(value) in self.state.tables:
            if id(value) not in self.watched:
                self.watched[id(value)] = WatchedDict(value)
            return self.watched[id(value)]
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

    def watched_update(self, optimizer: Optimizer, labels: Labels) -> Callable[[int], Any]:
        """Make an optimizer's `update` whose numbers each run asks for again."""
        original = optimizer.update

        def update(index: int) -> Any:
            recorder = recording.get()
            if recorder is None:
                return original(index)
            known = self.state.tensors.get(id(optimizer.parameters[index]))
            labels.begin_update(known[1] if known else "parameter")
            before = OwnNumbers(optimizer)
            with paused(), own_objects(optimizer) as options:
                rule, memory, numbers = original(index)
            memory = tuple([self.recorded(array, "memory") for array in memory])
            changed = before.changed()
            self.managed |= changed
            if changed or any(id(x) not in options for x in numbers):
                asked = HostNumbers(optimizer, index)
                made = recorder.write_down(asked, (), {}, tuple(plain(x) for x in numbers))
                names = list(inspect.signature(rule).parameters)[-len(made) :]
                for number, key in zip(made, names, strict=True):
                    number._variable.name = f"{labels.parameter}_{key}"
                numbers = tuple(
                    [known_or_asked(options, x, y) for x, y in zip(numbers, made, strict=True)]
                )
            return rule, memory, numbers

        return update

    # ---- afterwards

    def restore(self) -> tuple[list[tuple[Slot, Any]], list[str]]:
        """Take the recorded values out again.

        Returns what the function has put in the slots, and the names of what it has changed in
        another way: by something other than arrays, or where there is no slot.
        """
        for names in self.state.asking:
            names.pop("type", None)
        for instance, kind in self.disguised:
            set_class(instance, kind)
        effects: list[tuple[Slot, Any]] = []
        changes: list[str] = []
        self.restore_slots(effects, changes)
        changes += self.changed_containers()
        changes += self.changed_others()
        self.restore_new_attributes(effects, changes)
        return effects, changes

    def restore_slots(self, effects: list[tuple[Slot, Any]], changes: list[str]) -> None:
        """Put back what stood in the slots, except where the function has put something else."""
        state = self.state
        # After an error in `install`, fewer have been replaced.
        for slot, before, put in zip(state.slots, state.before, self.put, strict=False):
            after = slot.get()
            if after is put:
                if put is not before:
                    slot.set(before)
                continue
            if after is not MISSING:
                slot.set(deeply_plain(after))
            if after is before or slot.place in self.managed:
                continue
            if is_array_or_none(slot, after) and not isinstance(slot.holder, (type, ContextVar)):
                effects.append((slot, after))
            elif not (isinstance(after, STATIC) and same_static(after, before)):
                changes.append(slot.name)

    def changed_containers(self) -> Iterator[str]:
        """Name containers that have grown or shrunk, and take the recorded values out of them."""
        for container, items_before in self.state.lists:
            if len(container) != len(items_before):
                yield "the length of a list or dict"
                items = container.items() if isinstance(container, dict) else enumerate(container)
                for key, value in list(items):
                    container[key] = deeply_plain(value)
            elif isinstance(container, dict) and [*container] != [*items_before]:
                yield "the order of a dict"

    def changed_others(self) -> Iterator[str]:
        """Name what has changed where nothing can stand in for it."""
        state = self.state
        recorded = {id(rng.bit_generator) for rng, _ in state.generators}
        for chance in state.chances:
            if chance.has_changed() and id(chance.source) not in recorded:
                yield chance.name
        for ask, before in state.answers:
            if ask() != before:
                yield "what a record, a matrix, a memoryview or the like holds"
        for key, table in state.tables.items():
            watched = self.watched.get(key)
            if watched is None or watched.is_read_as_a_whole:
                state.wholes.append((table, table.copy() if watched is None else watched.before))
            else:
                self.read.append((table, sorted(watched.read, key=repr)))
        for kind, count in state.parents.values():
            if len(vars(kind)) != count:
                yield f"the attributes of {kind.__name__}"
        yield from ("a set, or a long list" for x in state.wholes if not same_whole(*x))

    def restore_new_attributes(self, effects: list[tuple[Slot, Any]], changes: list[str]) -> None:
        """Take the recorded values out of attributes that the function has added to objects."""
        for attributes, before in self.state.attributes:
            for key in attributes.keys() - before.keys():
                after = attributes[key]
                attributes[key] = deeply_plain(after)
                name = dotted(self.state.names[id(attributes)], key)
                if is_recorded(after):
                    effects.append((Slot(attributes, key, name), after))
                else:
                    changes.append(name)


def is_array_or_none(slot: Slot, value: Any) -> bool:
    """Tell whether a program can put in a slot what the function has put there."""
    if is_recorded(value):
        return is_array(value._value) or isinstance(value._value, np.floating)
    is_new = is_plain_array(value) and type(value) is not np.memmap
    return is_new or (value is None and isinstance(slot.holder, Tensor))


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
