"""Stand-ins for things other than arrays, while a function is recorded.

Generators write down what they draw, and dropout's masks how they were drawn. A cache must not keep
recorded values. A long dict notes what is read of it. And each stand-in answers ``type(x)`` as what
it stands in for.
"""

from __future__ import annotations

import functools
import math
import operator
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Node
from ..nn.dropout.layers import DropoutBase, GaussianDropout
from ..nn.dropout.masks import MaskSource, bernoulli_mask
from . import checks
from .calls import Variable, leaves, raw_bytes
from .libraries import in_library
from .recorder import Recorder
from .recording import (
    Recorded,
    is_recorded,
    method,
    paused,
    plain,
    recording,
)

# ---------------------------------------------------------------------------------- chance


class RecordingGenerator(np.random.Generator):
    """A generator whose draws are written down; it draws from the stream of another one."""

    __class__ = property(lambda self: np.random.Generator)

    def __init__(self, original: np.random.Generator, recorder: Recorder, name: str) -> None:
        super().__init__(original.bit_generator)
        self.original = original
        self.recorder = recorder
        self._variable = variable_of_generator(recorder, original, name)

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Refuse to make generators: the program would have the same ones in each run."""
        if recording.get() is not None:
            self.recorder.refuse(checks.refuse_generators_made, "spawn()")
        return self.original.spawn(n_children)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if recording.get() is not None:
            self.recorder.refuse(checks.refuse_generators_made, "a copy")
        return self.original.__reduce_ex__(protocol)


def variable_of_generator(recorder: Recorder, rng: np.random.Generator, name: str) -> Variable:
    """Return the variable of a generator."""
    rng = getattr(rng, "original", rng)
    known = recorder.generators
    if id(rng) not in known:
        variable = recorder.variable_of(rng, name or "rng")
        variable.storage.external = True
        variable.value = type(rng.bit_generator).__name__
        state = rng.bit_generator.state if isinstance(rng, np.random.Generator) else None
        known[id(rng)] = rng, variable, state
    return known[id(rng)][1]


def draw_by(name: str) -> Callable[..., Any]:
    """Make a method of generators that is written down."""

    def draw(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = recording.get()
        if recorder is None:
            return getattr(np.random.Generator, name)(self, *args, **kwargs)
        return method(recorder, name, self, *args, **kwargs)

    return draw


for name in dir(np.random.Generator):
    if not name.startswith("_") and name not in ("bit_generator", "spawn"):
        setattr(RecordingGenerator, name, draw_by(name))


class RecordingDevicesGenerator:
    """A device's generator whose draws are written down."""

    __class__ = property(lambda self: type(self.original))

    def __init__(self, original: Any, recorder: Recorder, name: str) -> None:
        self.original = original
        self._variable = variable_of_generator(recorder, original, name)

    def __getattr__(self, name: str) -> Any:
        value, recorder = getattr(self.original, name), recording.get()
        if recorder is None or not callable(value):
            return value
        return functools.partial(method, recorder, name, self)


class RecordingIterator:
    """An iterator whose next item is refused: a program would not take it."""

    __class__ = property(lambda self: type(self.original))

    def __init__(self, original: Any, recorder: Recorder) -> None:
        self.original = original
        self.recorder = recorder

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if recording.get() is not None:
            self.recorder.refuse(checks.refuse_next_item)
        return next(self.original)

    def __getattr__(self, name: str) -> Any:
        if recording.get() is not None:
            self.recorder.refuse(checks.refuse_next_item)
        return getattr(self.original, name)


def method_of(owner: Any, name: str) -> Callable[..., Any]:
    """Make a function that calls a method of a stand-in."""
    return lambda *args, **kwargs: getattr(owner, name)(*args, **kwargs)


class RecordingSource(MaskSource):
    """Draws dropout's masks as always, and writes down that they are drawn."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def draw_mask(self, layer: Any, shape: Any, rng: Any) -> Any:
        """Draw a mask; with a generator that the function has made, it is a constant."""
        if type(rng) is RecordingDevicesGenerator:
            return layer.draw(shape, rng)
        if type(rng) is not RecordingGenerator:
            if all(rng.bit_generator is not bits for bits, _ in self.recorder.streams):
                return layer.draw(shape, rng)
            rng = RecordingGenerator(rng, self.recorder, "rng")
        draw = getattr(layer.draw, "__func__", None)
        if not in_library(draw):  # a user's, of a layer or of a class
            draw = None
        if draw is DropoutBase.draw:
            mask = self.bernoulli_mask(shape, 1 - layer.p, rng)
        elif draw is GaussianDropout.draw and shape:  # a number of NumPy's is not a mask
            mask = layer.draw(shape, rng)
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


# ---------------------------------------------------------------------------------- caches

#: What `functools.lru_cache` makes.
CACHED = type(functools.lru_cache(lambda: None))


def around_a_cache(cached: Any) -> Any:
    """Wrap a function of `functools.lru_cache` so that no recorded value gets into its cache."""

    @functools.wraps(cached)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = leaves((args, kwargs))
        for x in given:
            hash(plain(x))
        if any(is_recorded(x) or isinstance(x, Node) for x in given):
            return cached.__wrapped__(*args, **kwargs)
        with paused():
            result = cached(*args, **kwargs)
        if any(map(is_recorded, leaves(result))):  # it has returned what it closes over
            cached.cache_clear()
            return cached.__wrapped__(*args, **kwargs)
        return result

    for name in ("cache_info", "cache_clear", "cache_parameters"):
        setattr(call, name, getattr(cached, name))
    return call


# ---------------------------------------------------------------------------------- tables


class WatchedDict(dict[Any, Any]):
    """A long dict that notes what is read of it: only that is compared before each run."""

    __class__ = property(lambda self: dict)

    def __init__(self, original: dict[Any, Any]) -> None:
        super().__init__(original)
        self.original = original
        self.before = original.copy()
        self.read: set[Any] = set()
        self.is_read_as_a_whole = False

    def __getitem__(self, key: Any) -> Any:
        self.read.add(plain(key))
        return super().__getitem__(key)

    def __contains__(self, key: Any) -> bool:
        self.read.add(plain(key))
        return super().__contains__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return an item."""
        self.read.add(plain(key))
        return super().get(key, default)


def of_the_whole(name: str, changes: bool) -> Callable[..., Any]:
    """Make a method of a dict that depends on all of it, or changes it."""

    def method(self: WatchedDict, *args: Any, **kwargs: Any) -> Any:
        self.is_read_as_a_whole = True
        if changes:
            getattr(dict, name)(self.original, *args, **kwargs)
        return getattr(dict, name)(self, *args, **kwargs)

    return method


for name in ("__iter__", "__len__", "__reversed__", "__eq__", "__ne__", "__or__", "__ror__"):
    setattr(WatchedDict, name, of_the_whole(name, False))
for name in ("keys", "values", "items", "copy", "__repr__", "__reduce_ex__"):
    setattr(WatchedDict, name, of_the_whole(name, False))
for name in ("__setitem__", "__delitem__", "update", "pop", "popitem", "clear", "setdefault"):
    setattr(WatchedDict, name, of_the_whole(name, True))
WatchedDict.__ior__ = of_the_whole("__ior__", True)  # type: ignore[method-assign]


# ---------------------------------------------------------------------------------- classes


def disguise_of(instance: Any, name: str, function: Callable[..., Any]) -> Any:
    """Make a subclass with another method for one object, which says that it is of the class.

    The object's copies are of the class itself, and have its method.
    """
    kind: Any = type(instance)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        of_self = function if self is instance else getattr(super(made, self), name)
        return of_self(*args, **kwargs)

    def reduce(self: Any, protocol: Any) -> Any:
        set_class(self, kind)
        try:
            return self.__reduce_ex__(protocol)
        finally:
            set_class(self, made)

    namespace = {
        "__class__": property(lambda self: kind),
        "__module__": kind.__module__,
        "__doc__": kind.__doc__,
        "__reduce_ex__": reduce,
        name: method,
    }
    made = type(kind)(kind.__name__, (kind,), namespace)
    DISGUISES.add(made)
    return made


#: The classes that `disguise_of` has made.
DISGUISES: weakref.WeakSet[type] = weakref.WeakSet()


#: The classes of stand-ins.
STAND_INS = Recorded, RecordingGenerator, RecordingDevicesGenerator, WatchedDict, RecordingIterator


class OfTypeOf(type):
    """What `TypeOf` does."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the class of a value; for a stand-in, that of what it stands in for."""
        if len(args) == 1 and not kwargs:
            kind = type(args[0])
            return args[0].__class__ if issubclass(kind, STAND_INS) or kind in DISGUISES else kind
        return type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type)

    def __subclasscheck__(cls, kind: Any) -> bool:
        return issubclass(kind, type)


class TypeOf(metaclass=OfTypeOf):
    """What the name `type` means in the user's modules meanwhile."""


def set_class(instance: Any, kind: type) -> None:
    """Give an object another class, even if it hides its own."""
    vars(object)["__class__"].__set__(instance, kind)


# ---------------------------------------------------------------------------------- threads


@contextmanager
def noting_threads(started: set[threading.Thread]) -> Iterator[None]:
    """Note which threads are started inside the block, by its own thread."""
    start, thread = threading.Thread.start, threading.current_thread()

    def noting_start(self: threading.Thread) -> None:
        if threading.current_thread() is thread:
            started.add(self)
        start(self)

    threading.Thread.start = noting_start  # type: ignore[method-assign]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
