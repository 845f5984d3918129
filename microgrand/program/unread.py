"""Which attributes of a user's object a function cannot read: their changes mean nothing to it.

An object that code only asks for attributes by name gives away only those. As soon as it may be
handed on, as an argument, an operand, a result or in a container, all its attributes count as read.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import dataclasses
import functools
import reprlib
import types
import typing
from collections.abc import Iterator
from typing import Any

from .. import grad_mode
from .libraries import in_library
from .names import passed_on
from .slots import Slot

#: Base classes of Python's without methods that read attributes unasked.
PLAIN_BASES = (
    *(object, types.SimpleNamespace, argparse.Namespace, abc.ABC),
    *(typing.Generic, typing.Protocol),
)
#: Methods that Python calls when an attribute is asked for.
ATTRIBUTE_METHODS = {"__getattribute__", "__getattr__", "__setattr__", "__delattr__"}
#: Descriptors that give an attribute and do nothing else.
PLAIN_DESCRIPTORS = (
    *(classmethod, staticmethod, type),
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
)
#: Names in code that may look into any object.
LOOKING_AROUND = {
    *("__dict__", "__self__", "__func__", "__closure__", "cell_contents", "__globals__"),
    *("__getattribute__", "__getstate__", "__reduce__", "__reduce_ex__"),
    *("_getframe", "currentframe", "f_locals", "_get_kwargs"),
    *("get_objects", "get_referrers", "get_referents", "deepcopy", "dump", "dumps"),
}
#: Functions of Python's that look around. Only as global names: nets have a method `eval`.
GLOBALS_LOOKING_AROUND = {"locals", "globals", "eval", "exec"}
#: The files of decorators that do nothing but call the function within a block.
BLOCKS = {grad_mode.__file__, contextlib.__file__}


class Unread:
    """The objects of which only those attributes count whose names occur in the code."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self.by_attributes: dict[int, int] = {}  # by the ids of their attributes
        self.scopes: set[int] = set()  # the dicts of global names
        self.held: dict[int, set[str]] = {}  # the names under which they are found
        self.handed_on: set[int] = set()
        self.codes: list[Any] = []  # those of the functions, until they are looked at
        self.passed: set[str] = set()  # the names of what code hands on
        self.global_names: set[str] = set()  # in the code
        self.methods: dict[int, list[Any]] = {}  # bound methods that were found

    def add(self, value: Any, attributes: dict[str, Any]) -> None:
        """Look only at some of the attributes of an object."""
        self.objects[id(value)] = value
        self.by_attributes[id(attributes)] = id(value)

    def note(self, parent: Any, found: Any, value: Any) -> None:
        """Note where a value is found: code asks for it by a name, or it may go anywhere."""
        holder = found.holder if isinstance(found, Slot) else None
        if isinstance(parent, types.MethodType) and value is parent.__self__:
            self.methods.setdefault(id(value), []).append(parent.__func__)
        elif isinstance(holder, types.CellType) and not in_library(parent):
            self.held.setdefault(id(value), set()).add(found.name)
        elif id(holder) in self.scopes or id(holder) in self.by_attributes:
            self.held.setdefault(id(value), set()).add(found.key)
        else:
            self.handed_on.add(id(value))

    def revealed(self, named: set[str]) -> Iterator[Any]:
        """Take out the objects that may be handed on, and yield them."""
        if not self.objects:
            return
        while self.codes:
            self.passed |= passed_on(self.codes.pop())
        is_any = bool(named & LOOKING_AROUND or self.global_names & GLOBALS_LOOKING_AROUND)
        for key, value in list(self.objects.items()):
            if is_any or self.may_be_handed_on(value, named):
                del self.objects[key]
                self.by_attributes = {a: x for a, x in self.by_attributes.items() if x != key}
                self.handed_on.update(map(id, vars(value).values()))
                yield value

    def may_be_handed_on(self, value: Any, named: set[str]) -> bool:
        """Tell whether code may do more with an object than ask for attributes by name."""
        if id(value) in self.handed_on or self.passed & self.held.get(id(value), set()):
            return True
        methods = self.methods.get(id(value), [])
        return any(map(hands_on_itself, methods)) or any(
            hands_on_itself(attribute)
            for base in type(value).__mro__
            if base not in PLAIN_BASES
            for key, attribute in vars(base).items()
            if key in ATTRIBUTE_METHODS or (key in named and not is_special(key))
        )


def can_be_partly_read(value: Any) -> bool:
    """Tell whether an object has a class of the user's, or none that reads attributes unasked."""
    kind = type(value)
    return type(kind) in (type, abc.ABCMeta) and all(
        base in PLAIN_BASES
        or not (in_library(base) or isinstance(vars(base).get("__dict__"), property))
        for base in kind.__mro__
    )


def hands_on_itself(method: Any) -> bool:
    """Tell whether a method or the like may do more with its object than ask for attributes."""
    if isinstance(method, property):
        return bool(method.fset or method.fdel) or hands_on_itself(method.fget)
    if isinstance(method, functools.cached_property):
        return hands_on_itself(method.func)
    if isinstance(method, PLAIN_DESCRIPTORS) or not hasattr(type(method), "__get__"):
        return False
    while is_block(method):
        method = method.__wrapped__
    if not isinstance(method, types.FunctionType) or not method.__code__.co_argcount:
        return True
    code = method.__code__
    return in_library(method) or code.co_varnames[0] in passed_on(code)


def is_block(method: Any) -> bool:
    """Tell whether a method is one of the user's in a block, or compiled."""
    if type(method).__module__.startswith(__package__):
        return hasattr(method, "__wrapped__")
    is_function = isinstance(method, types.FunctionType) and hasattr(method, "__wrapped__")
    return is_function and method.__code__.co_filename in BLOCKS


def is_of_dataclass(kind: Any, method: Any) -> bool:
    """Tell whether a dataclass has made a method: it reads all fields, if it is given the object.

    Such as ``__eq__`` and ``__repr__``; ``__init__`` makes attributes.
    """
    if "__dataclass_fields__" not in vars(kind) or not isinstance(method, types.FunctionType):
        return False
    file = method.__code__.co_filename
    names, files = ("__eq__", "__repr__", "_replace"), ("<string>", dataclasses.__file__)
    return method.__name__ in names and file in (*files, reprlib.__file__)


def is_special(name: str) -> bool:
    """Tell whether Python itself asks for a method."""
    return name.startswith("__") and name.endswith("__")
