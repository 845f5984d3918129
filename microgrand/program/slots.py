"""The places where state stands: attributes, items, variables of closures and modules."""

from __future__ import annotations

import functools
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

MISSING = object()


class Slot:
    """A place where something stands: an item of a dict or list, a variable of a closure."""

    __slots__ = ("holder", "key", "name")

    def __init__(self, holder: Any, key: Any, name: str) -> None:
        self.holder = holder
        self.key = key
        self.name = name

    @property
    def place(self) -> tuple[int, Any]:
        """What all slots for this place have in common."""
        return id(self.holder), self.key

    def get(self) -> Any:
        """Return what stands there."""
        holder, key = self.holder, self.key
        if isinstance(holder, dict):  # as most are
            return holder.get(key, MISSING)
        if isinstance(holder, types.CellType):
            return holder.cell_contents
        if isinstance(holder, ContextVar):
            return value_of_context(holder)
        if isinstance(holder, type):  # not what a base class has
            return vars(holder).get(key, MISSING)
        if isinstance(holder, (list, deque)):
            return holder[key] if key < len(holder) else MISSING
        return getattr(holder, key, MISSING)

    def set(self, value: Any) -> None:
        """Put something there."""
        holder, key = self.holder, self.key
        if isinstance(holder, types.CellType):
            holder.cell_contents = value
        elif isinstance(holder, ContextVar):
            holder.set(value)
        elif isinstance(holder, type):
            type.__setattr__(holder, key, value)
        elif isinstance(holder, dict):  # even if its class checks what is assigned
            dict.__setitem__(holder, key, value)
        elif isinstance(holder, (list, deque)):
            holder[key] = value
        elif isinstance(holder, threading.local):
            setattr(holder, key, value)
        elif isinstance(holder, functools.partial):
            own = {"func": holder.func, "args": holder.args, self.key: value}
            state = own["func"], own["args"], holder.keywords, vars(holder)
            holder.__setstate__(state)  # type: ignore[attr-defined]
        else:  # even if its class forbids it
            object.__setattr__(holder, key, value)

    def code(self, bind: Callable[[Any], str]) -> str:
        """Write `get` as Python."""
        holder = self.holder
        if isinstance(holder, types.CellType):
            return f"{bind(holder)}.cell_contents"
        if isinstance(holder, ContextVar):
            return f"{bind(holder)}.get()"
        if isinstance(holder, type):
            return f"{bind(vars(holder))}[{self.key!r}]"
        if isinstance(holder, (dict, list, deque)):
            key = repr(self.key) if type(self.key) in (bool, int, str) else bind(self.key)
            return f"{bind(holder)}[{key}]"
        return f"{bind(holder)}.{self.key}"


def value_of_context(variable: ContextVar[Any]) -> Any:
    """Return what a context variable is in this thread or task."""
    try:
        return variable.get()
    except LookupError:
        return MISSING


def put_items_back(holder: Any, items: Any) -> None:
    """Make a container hold again what it held."""
    if isinstance(holder, set):
        holder.intersection_update(items)
        holder.update(items)
    elif isinstance(holder, dict):
        if [*holder] != [*items]:
            holder.clear()
        if any(holder.get(key, MISSING) is not item for key, item in items.items()):
            holder.update(items)
    elif len(holder) != len(items) or any(a is not b for a, b in zip(holder, items, strict=True)):
        if isinstance(holder, deque):
            holder.clear()
            holder.extend(items)
        else:
            holder[:] = items


def slotted(value: Any, kinds: Iterable[type]) -> dict[str, Any]:
    """Return an object's attributes that some of its classes keep outside of its dict."""
    found: dict[str, Any] = {}
    for kind in kinds:
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType) and not name.startswith("__"):
                with suppress(AttributeError):
                    found[name] = member.__get__(value, kind)
    return found


def dotted(name: str, key: Any) -> str:
    """Return the name of something inside something else."""
    return f"{name}.{key}" if name else str(key)
