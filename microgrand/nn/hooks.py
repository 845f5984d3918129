"""Hooks: functions that are called when a module is called, and when it is differentiated.

A module without hooks knows nothing of them. The first hook gives the module its own attribute
``forward``, which takes precedence over its class's and calls the hooks around that; the last hook
that is removed takes it away again.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..flatten_util import as_one
from ..tensor import Tensor
from . import module_checks as checks

Hook = Callable[..., Any]

numbers = itertools.count()


class RemovableHandle:
    """Removes a hook: ``handle.remove()``."""

    def __init__(self, module: Any, kind: str, number: int) -> None:
        self.module = module
        self.kind = kind
        self.number = number

    def remove(self) -> None:
        """Remove the hook; calling it again does nothing."""
        attributes = vars(self.module)
        hooks = attributes.get("_hooks", {})
        hooks.get(self.kind, {}).pop(self.number, None)
        if hooks and not any(hooks.values()):
            del attributes["_hooks"], attributes["forward"]


def register(module: Any, kind: str, hook: Hook) -> RemovableHandle:
    """Add a hook to a module: "before" its call, "after" it, or in the "backward" pass."""
    checks.check_hook(module, hook)
    attributes = vars(module)
    if "_hooks" not in attributes:
        attributes["_hooks"] = {"before": {}, "after": {}, "backward": {}}
        attributes["forward"] = functools.partial(call_with_hooks, module)
    number = next(numbers)
    attributes["_hooks"][kind][number] = hook
    return RemovableHandle(module, kind, number)


def call_with_hooks(module: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Compute a module's output, and call its hooks before and after."""
    hooks = vars(module)["_hooks"]
    for hook in list(hooks["before"].values()):
        changed = hook(module, args)
        if changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
    gates = Gates(module) if hooks["backward"] else None
    if gates is not None:
        args = gates.enter(args)
    output = type(module).forward(module, *args, **kwargs)
    for hook in list(hooks["after"].values()):
        changed = hook(module, args, output)
        if changed is not None:
            output = changed
    return output if gates is None else gates.leave(output)


# ------------------------------------------------------------------------- the backward pass


class Gates:
    """What the graph passes where one call of a module begins and ends.

    Each is a node whose derivative is the identity, and which tells the hooks what passes. It takes
    the elements of several tensors as one vector, so that all gradients arrive at once.
    """

    def __init__(self, module: Any) -> None:
        self.module = module
        self.outer: Any = None  # the cotangents of the output
        self.outer_of: Callable[[Any], Any] = tuple  # splits them
        self.places: list[int] = []  # of the arguments that gradients are wanted of
        self.count = 0  # of arguments
        self.split: Callable[[Any], Any] = list  # of the cotangents of these

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Pass the arguments through the gate where the backward pass ends."""
        self.count = len(args)
        self.places = [i for i, arg in enumerate(args) if wants_gradient(arg)]
        if not self.places:
            return args
        tensors = [args[i] for i in self.places]
        passed, self.split = through(end_of_backward, tensors, self)
        new = dict(zip(self.places, passed, strict=True))
        return tuple([new.get(i, arg) for i, arg in enumerate(args)])

    def leave(self, output: Any) -> Any:
        """Pass the output through the gate where the backward pass begins."""
        items = list(output) if isinstance(output, (list, tuple)) else [output]
        checks.check_output_has_gates(self.module, items)
        places = [i for i, item in enumerate(items) if wants_gradient(item)]
        if not places:
            return output
        count = len(items)
        passed, split = through(begin_of_backward, [items[i] for i in places], self)
        self.outer_of = lambda g: spread(split(g), places, count)
        for i, item in zip(places, passed, strict=True):
            items[i] = item
        if not isinstance(output, (list, tuple)):
            return items[0]
        return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)

    def begin(self, g: Any) -> Any:
        """Keep the cotangents of the output; without arguments to wait for, call the hooks."""
        self.outer = self.outer_of(g)
        if not self.places:
            self.call_hooks((None,) * self.count)
        return g

    def end(self, g: Any) -> Any:
        """Call the hooks with all cotangents; return those to propagate further."""
        inner = self.call_hooks(spread(self.split(g), self.places, self.count))
        parts = [inner[i] for i in self.places]
        return as_one(parts)[0]

    def call_hooks(self, inner: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let each hook see the cotangents, and change those of the arguments."""
        hooks = vars(self.module).get("_hooks", {"backward": {}})["backward"]
        for hook in list(hooks.values()):
            changed = hook(self.module, inner, self.outer)
            if changed is not None:
                inner = checks.checked_gradients(changed, inner)
        return inner


def wants_gradient(item: Any) -> bool:
    """Tell whether something is a tensor in the graph."""
    return isinstance(item, Tensor) and item.requires_grad


def spread(parts: Any, places: list[int], count: int) -> tuple[Any, ...]:
    """Put parts in their places; the other places are None."""
    table = dict(zip(places, parts, strict=True))
    return tuple([table.get(i) for i in range(count)])


def through(gate: Any, tensors: list[Any], gates: Gates) -> tuple[list[Any], Any]:
    """Pass tensors through a gate; also return what splits its cotangent."""
    one, split = as_one(tensors)
    return split(gate(one, gates=gates)), split


@primitive
def begin_of_backward(x: Any, gates: Gates) -> Any:
    """Return the output as it is; its cotangent is the first that the module sees."""
    return np.positive(x)


@primitive
def end_of_backward(x: Any, gates: Gates) -> Any:
    """Return the input as it is; its cotangent is the last that the module sees."""
    return np.positive(x)


defvjp(begin_of_backward, lambda g, out, x, gates: gates.begin(g))
defvjp(end_of_backward, lambda g, out, x, gates: gates.end(g))
