"""`remat`: functions whose intermediate values are computed again in the backward pass.

A graph keeps all values that its VJPs need, so memory grows with the depth of a net. A function
that is wrapped in `remat` is one node of the graph: it keeps its arguments, and its VJP calls it
again, with the same dropout masks, to have its graph for just that moment.
"""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import checks, engine
from .dispatch import data_of
from .engine import NO_KEYWORDS, Node, backpropagate, defvjp, new_tensor, primitive
from .flatten_util import as_one
from .grad_mode import enable_grad, is_grad_enabled
from .nn.dropout.replay import DropoutMasks
from .nn.module import Module
from .tensor import Tensor
from .transforms import leaves_of, map_tree
from .watching import watch_recording


def remat(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function keep only its arguments for the backward pass; a decorator.

    What it computes on the way is computed once more in ``backward``: memory is saved for time. A
    net of many blocks, each wrapped, keeps what is between the blocks, and the inside of one block
    at a time (Chen, Xu, Zhang, Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost").
    The name is that of JAX, the idea that of ``torch.utils.checkpoint``.

    Parameters
    ----------
    function
        A function or module. It takes tensors, also in lists, tuples and dicts, and returns one or
        several. It may use parameters and other tensors from elsewhere, which get their gradients.

    Returns
    -------
    function
        It returns the same values, with the same derivatives of any order.

    Raises
    ------
    RuntimeError
        In the backward pass, if the function gives other values the second time: if it draws
        numbers of its own, or depends on something that has changed.
    TypeError
        If `function` cannot be called, or returns tensors of several dtypes.

    Notes
    -----
    The second time, dropout has the masks of the first, which are kept, and the buffers of modules
    are put back as they were, if the function is a module, or a method or function that refers to
    one.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor, nn, remat
    >>> block = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4))
    >>> blocks = [remat(block) for _ in range(3)]
    >>> x = Tensor(np.ones((2, 4), np.float32), requires_grad=True)
    >>> y = x
    >>> for block in blocks:
    ...     y = block(y)
    >>> y.sum().backward()
    >>> x.grad.shape
    (2, 4)
    """
    checks.check_function("remat", function)

    @functools.wraps(function, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        if not is_grad_enabled():
            return function(*args, **kwargs)
        return Call(function, args, kwargs).first_time()

    return call


#: The calls that are being computed in this thread, one within the other.
open_calls: ContextVar[tuple[Call, ...]] = ContextVar("open_calls", default=())
#: What stands for a result in a nest of outputs.
RESULT = object()


class Call:
    """One call of a function that is to be computed again."""

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        self.function = function
        self.arguments = args, kwargs
        self.masks = DropoutMasks()
        self.given = variables_in(self.arguments)
        self.captured: list[Any] = []  # what the function uses besides its arguments
        self.inside: set[Node] = set()  # the values that it computes
        self.data: Any = None

    def first_time(self) -> Any:
        """Compute the function; return its output as that of one node of the graph."""
        copies = [alias_of(tensor) for tensor in self.given]
        tree = self.compute(copies)
        outputs = variables_in(tree)
        if not outputs:
            return tree
        checks.check_one_dtype(outputs)
        self.captured = self.find_captured(outputs, set(copies))
        self.inside.clear()
        one, split = as_one(outputs)
        self.data = one._array
        tree = map_tree(lambda leaf: RESULT if is_variable(leaf) else leaf, tree)
        # With these, the graph of the call and its memory are freed.
        del outputs, one, copies
        node = remat_output(*self.given, *self.captured, call=self)
        self.data = None
        parts = iter(split(node))
        return map_tree(lambda leaf: next(parts) if leaf is RESULT else leaf, tree)

    def second_time(self, g: Any, out: Any, needed: Any) -> list[Any]:
        """Compute the function again, and its VJP on the new graph."""
        create_graph = isinstance(out, Node)
        token = engine.observer.set(None)  # what observes this backward pass knows one node only
        try:
            copies = [alias_of(tensor) for tensor in self.given]
            with buffers_kept([self.function, self.arguments]):
                output, _ = as_one(variables_in(self.compute(copies)))
            self.inside.clear()
            checks.check_same_again(self.function, output._array, data_of(out))
            sources = [*copies, *self.captured]
            found = backpropagate(output, g, set(sources), create_graph)
        finally:
            engine.observer.reset(token)
        return [
            found.get(source, np.zeros_like(source._array)) if is_needed else None
            for source, is_needed in zip(sources, needed, strict=True)
        ]

    def compute(self, copies: list[Any]) -> Any:
        """Call the function on other tensors than those that it was given, with the same masks."""
        left = iter(copies)
        args, kwargs = map_tree(
            lambda leaf: next(left) if is_variable(leaf) else leaf, self.arguments
        )
        token = open_calls.set((*open_calls.get(), self))
        try:
            with enable_grad(), self.masks, watch_recording(self.watch):
                return self.function(*args, **kwargs)
        finally:
            open_calls.reset(token)

    def watch(self, node: Node) -> Node:
        """Note a value that is computed in this call."""
        if self in open_calls.get():
            self.inside.add(node)
        return node

    def find_captured(self, outputs: list[Any], copies: set[Any]) -> list[Any]:
        """List the tensors that the function has used besides its arguments: parameters, say."""
        found = []
        seen = set(outputs)
        stack = list(outputs)
        while stack:
            node = stack.pop()
            if node not in self.inside:
                found += [node] * (node not in copies)
                continue
            for arg in node.args:
                if isinstance(arg, Node) and arg._requires_grad and arg not in seen:
                    seen.add(arg)
                    stack.append(arg)
        return found


@primitive
def remat_output(*tensors: Any, call: Call) -> Any:
    """Return what a call has computed from these tensors."""
    return call.data


defvjp(
    remat_output,
    joint=lambda g, out, needed, *tensors, call: call.second_time(g, out, needed),
)


def is_variable(leaf: Any) -> bool:
    """Tell whether something requires a gradient."""
    return isinstance(leaf, Tensor) and leaf.requires_grad


def variables_in(tree: Any) -> list[Any]:
    """List the tensors in a nest that want a gradient."""
    return [leaf for leaf in leaves_of(tree) if is_variable(leaf)]


def alias_of(tensor: Any) -> Any:
    """Make a tensor of the same array that is computed from another one: the graph's way out."""
    return new_tensor(tensor._array, np.positive, (tensor,), NO_KEYWORDS, tensor.version)


@contextlib.contextmanager
def buffers_kept(places: Any) -> Iterator[None]:
    """Put the buffers of modules back as they are now: running statistics count a batch once."""
    modules = [module for place in places for module in modules_in(place)]
    buffers = dict.fromkeys(buffer for module in modules for buffer in module.buffers())
    before = [(buffer, buffer._array, buffer._array.copy(), buffer.version) for buffer in buffers]
    try:
        yield
    finally:
        for buffer, array, values, version in before:
            array[...] = values
            buffer._array, buffer.version = array, version


def modules_in(place: Any) -> Iterator[Module]:
    """Yield the modules that a function refers to."""
    if isinstance(place, Module):
        yield place
    elif isinstance(place, (list, tuple)):
        for item in place:
            yield from modules_in(item)
    elif isinstance(place, dict):
        yield from modules_in(list(place.values()))
    elif isinstance(place, functools.partial):
        yield from modules_in((place.func, place.args, place.keywords))
    elif isinstance(place, types.MethodType):
        yield from modules_in(place.__self__)
    elif isinstance(place, types.FunctionType):
        for cell in place.__closure__ or ():
            with contextlib.suppress(ValueError):  # it has no value yet
                yield from modules_in(cell.cell_contents)
