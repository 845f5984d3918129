"""Objects of Python's and NumPy's own classes that hold something of the user's."""

from __future__ import annotations

import gc
import itertools
import pickle
import random
import types
import weakref
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .devices import is_plain_array

#: Classes that only hold what they are given: their attributes are walked as those of the user's.
HOLDERS = {
    *("types.SimpleNamespace", "argparse.Namespace", "queue.Queue", "threading.Event"),
    *("collections.UserDict", "collections.UserList", "collections.ChainMap"),
    *("weakref.WeakKeyDictionary", "weakref.WeakValueDictionary", "weakref.WeakSet"),
    *("configparser.RawConfigParser", "multiprocessing.sharedctypes.SynchronizedBase"),
    *("numpy.poly1d", "numpy.polynomial._polybase.ABCPolyBase", "threading.Semaphore"),
}
#: Bound methods that are not written in Python.
BUILTIN_METHODS = (types.BuiltinFunctionType, types.MethodWrapperType)
#: The views of a dict.
DICT_VIEWS: Any = (type({}.keys()), type({}.values()), type({}.items()))
#: What is looped over.
EXAMPLES: Any = ([], (), "", b"", set(), range(1), range(1 << 70), {}, {}.values(), {}.items())
#: Iterators: taking the next item changes them, and leaves no trace.
ITERATORS: Any = (
    *(types.GeneratorType, enumerate, zip, map, filter, reversed),
    *(np.nditer, np.ndenumerate, np.ndindex),
    *map(type, map(iter, EXAMPLES)),
    *(x for x in vars(itertools).values() if isinstance(x, type) and hasattr(x, "__next__")),
)


def is_holder(value: Any) -> bool:
    """Tell whether an object of Python's or NumPy's does nothing but hold what it is given."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in HOLDERS for kind in type(value).__mro__)


def inside_holder(value: Any) -> Iterator[Any]:
    """Yield what is in an object of Python's or NumPy's that has no attributes to look into."""
    is_proxy = isinstance(value, types.MappingProxyType) and "__module__" not in value
    if is_proxy or isinstance(value, DICT_VIEWS):
        yield from gc.get_referents(value)
    elif isinstance(value, BUILTIN_METHODS):
        yield value.__self__


def asked_for_bytes(value: Any) -> Callable[[], Any] | None:
    """Return a function that tells an object's state if nothing can stand in for it, or None."""
    if isinstance(value, np.flatiter):
        return lambda: (value.index, value.base.tobytes())
    if isinstance(value, np.ndarray):
        is_others = type(value) is value.__class__ and not is_plain_array(value)
        return value.__reduce__ if is_others else None
    if isinstance(value, np.generic) and not isinstance(value, np.void):
        return None
    if isinstance(value, (bytes, bytearray, array)):
        return None
    try:  # as a memoryview, a number of ctypes, a record
        memoryview(value)
    except (TypeError, ValueError, BufferError):
        return None
    return lambda: memoryview(value).tobytes()


def original_of(value: Any) -> Any:
    """Return the object behind a weak proxy, or the object itself."""
    if type(value) not in weakref.ProxyTypes:
        return value
    try:
        return value.__init__.__self__
    except ReferenceError:
        return None


class Chance:
    """A source of random numbers that is not a `numpy.random.Generator`, and its state before."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.before = self.state()
        self.text = pickle.dumps(self.before)
        self.name = f"the state of a {type(source).__name__}, which is not a numpy.random.Generator"

    def state(self) -> Any:
        """Return the state."""
        if isinstance(self.source, random.Random):
            return self.source.getstate()
        if isinstance(self.source, np.random.RandomState):
            return self.source.get_state()
        if isinstance(self.source, np.random.BitGenerator):
            return self.source.state
        return self.source.n_children_spawned  # of a SeedSequence

    def has_changed(self) -> bool:
        """Tell whether numbers were drawn."""
        return pickle.dumps(self.state()) != self.text

    def put_back(self) -> None:
        """Draw the same numbers again; a SeedSequence cannot."""
        if isinstance(self.source, random.Random):
            self.source.setstate(self.before)
        elif isinstance(self.source, np.random.RandomState):
            self.source.set_state(self.before)
        elif isinstance(self.source, np.random.BitGenerator):
            self.source.state = self.before


def chance_of(value: Any) -> Chance | None:
    """Return what notices draws from an object, if it is a source of random numbers."""
    rngs = np.random
    kinds = random.Random, rngs.RandomState, rngs.SeedSequence, rngs.BitGenerator
    is_source = isinstance(value, kinds) and not isinstance(value, random.SystemRandom)
    return Chance(value) if is_source else None


def chances_of_all() -> list[Chance]:
    """Return what notices draws from the sources that everyone shares."""
    draws: Any = random.random, np.random.random
    return [Chance(draw.__self__) for draw in draws]
