"""`remat`: functions whose intermediate values are computed again in the backward pass.

A graph keeps all values that its VJPs need, so memory grows with the depth of a net. A function
that is wrapped in `remat` is one node of the graph: it keeps its arguments, and its VJP calls it
again, with the same dropout masks, to have its graph for just that moment.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from . import checks, engine
from .dispatch import data_of, tensors_in
from .engine import NO_KEYWORDS, Node, backpropagate, defvjp, new_tensor, primitive
from .flatten_util import as_one
from .grad_mode import enable_grad, is_grad_enabled
from .nn.dropout.replay import DropoutMasks
from .nn.module import Module
from .tensor import Tensor
from .transforms import computing_again, is_left_over, leaves_of, map_tree
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
        To be found as part of another module, a module must be held there by itself, too.

    Returns
    -------
    function
        It returns the same values, with the same derivatives of any order.

    Raises
    ------
    RuntimeError
        In the backward pass, if the function gives other values the second time, or uses other
        tensors that require a gradient: if it draws numbers of its own, or depends on something
        that has changed.
    TypeError
        If `function` cannot be called, or returns tensors of several dtypes.

    Notes
    -----
    The second time, dropout has the masks of the first, which are kept, and the buffers of modules
    are put back as they were, if the function is a module, or one refers to a module: by an
    argument, an attribute of the object whose method it is, its closure, a default or a global
    name.

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
    if not isinstance(function, types.FunctionType):
        return functools.partial(call_for_now, function)  # in which copies, and modules, find it

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return call_for_now(function, *args, **kwargs)

    return call


def call_for_now(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function that is to be computed again in the backward pass, if there will be one."""
    if not is_grad_enabled():
        return function(*args, **kwargs)
    return Call(function, args, kwargs).first_time()


#: The calls that are being computed in this thread, one within the other.
open_calls: ContextVar[tuple[Call, ...]] = ContextVar("open_calls", default=())
#: What stands in a nest for a tensor that wants a gradient: it may want none the second time.
PLACE = object()


class Call:
    """One call of a function that is to be computed again."""

    def __init__(self, function: Any, args: Any, kwargs: Any) -> None:
        self.function = function
        self.arguments = with_places((args, kwargs))
        self.given = variables_in((args, kwargs))
        self.is_result: list[bool] = []  # for each leaf of the output
        self.masks = DropoutMasks()
        self.captured: list[Any] = []  # what the function uses besides its arguments
        self.constants: list[tuple[Any, int]] = []  # without gradients, weakly, and their versions
        self.data: Any = None

    def first_time(self) -> Any:
        """Compute the function; return its output as that of one node of the graph."""
        copies = [alias_of(tensor) for tensor in self.given]
        inside = set(copies)
        tree = self.compute(copies, inside)
        outputs = variables_in(tree)
        if not outputs:
            return tree
        checks.check_one_dtype(outputs)
        self.captured, constants = find_used(outputs, copies, inside)
        self.constants = [(weakref.ref(tensor), tensor.version) for tensor in constants]
        one, split = as_one(outputs)
        self.data = one._array
        self.is_result = [is_variable(leaf) for leaf in leaves_of(tree)]
        tree = with_places(tree)
        # With these, the graph of the call and its memory are freed.
        del outputs, one, copies, inside, constants
        node = remat_output(*self.given, *self.captured, call=self)
        self.data = None
        parts = iter(split(node))
        return map_tree(lambda leaf: next(parts) if leaf is PLACE else leaf, tree)

    def second_time(self, g: Any, out: Any, needed: Any) -> list[Any]:
        """Compute the function again, and its VJP on the new graph."""
        if not any(needed):  # a parameter has been frozen since
            return [None for _ in needed]
        create_graph = isinstance(out, Node)
        checks.check_constants_are_unchanged(self.function, self.constants)
        token = engine.observer.set(None)  # what observes this backward pass knows one node only
        again = computing_again.set(True)
        try:
            copies = [alias_of(tensor) for tensor in self.given]
            inside = set(copies)
            with buffers_kept([self.function, self.arguments]):
                leaves = leaves_of(self.compute(copies, inside))
            outputs = list(itertools.compress(leaves, self.is_result))
            captured, _ = find_used(outputs, copies, inside)
            output, _ = as_one(outputs)
            checks.check_same_again(self.function, output._array, data_of(out))
            wanted = {tensor for tensor in self.captured if tensor._requires_grad}
            others = wanted.symmetric_difference(captured)
            checks.check_same_tensors(self.function, itertools.filterfalse(is_left_over, others))
            sources = [*copies, *self.captured]
            found = backpropagate(output, g, set(sources), create_graph)
        finally:
            computing_again.reset(again)
            engine.observer.reset(token)
        return [
            found.get(source, np.zeros_like(source._array)) if is_needed else None
            for source, is_needed in zip(sources, needed, strict=True)
        ]

    def compute(self, copies: list[Any], inside: set[Any]) -> Any:
        """Call the function on other tensors than those that it was given, with the same masks.

        What it computes is added to `inside`, where the copies are.
        """
        left = iter(copies)
        args, kwargs = map_tree(lambda leaf: next(left) if leaf is PLACE else leaf, self.arguments)

        def watch(node: Node) -> Node:
            # Another thread's, too, if it is computed from these.
            if self in open_calls.get() or any(arg in inside for arg in tensors_in(node.args)):
                inside.add(node)
            return node

        token = open_calls.set((*open_calls.get(), self))
        try:
            with enable_grad(), self.masks, watch_recording(watch):
                return self.function(*args, **kwargs)
        finally:
            open_calls.reset(token)


@primitive
def remat_output(*tensors: Any, call: Call) -> Any:
    """Return what a call has computed from these tensors."""
    return call.data


defvjp(
    remat_output,
    joint=lambda g, out, needed, *tensors, call: call.second_time(g, out, needed),
)


def find_used(
    outputs: list[Any], copies: list[Any], inside: set[Any]
) -> tuple[list[Any], list[Any]]:
    """List the tensors that the function has used besides its arguments: parameters, say.

    Those that require no gradient are the second list.
    """
    captured = []
    constants = []
    seen = {*outputs, *copies}
    stack = [output for output in outputs if output not in set(copies)]
    while stack:
        node = stack.pop()
        if not node._requires_grad:
            constants.append(node)
        elif node not in inside:
            captured.append(node)
        else:
            for arg in tensors_in(node.args):
                if arg not in seen:
                    seen.add(arg)
                    stack.append(arg)
    return captured, constants


def is_variable(leaf: Any) -> bool:
    """Tell whether something requires a gradient."""
    return isinstance(leaf, Tensor) and leaf.requires_grad


def variables_in(tree: Any) -> list[Any]:
    """List the tensors in a nest that want a gradient."""
    return [leaf for leaf in leaves_of(tree) if is_variable(leaf)]


def with_places(tree: Any) -> Any:
    """Return a nest with nothing but places where there were tensors that want a gradient."""
    return map_tree(lambda leaf: PLACE if is_variable(leaf) else leaf, tree)


def alias_of(tensor: Any) -> Any:
    """Make a tensor of the same array that is computed from another one: the graph's way out."""
    return new_tensor(tensor._array, np.positive, (tensor,), NO_KEYWORDS, tensor.version)


@contextlib.contextmanager
def buffers_kept(places: Any) -> Iterator[None]:
    """Put the buffers of modules back as they are now: running statistics count a batch once."""
    modules = modules_in(places, set())
    buffers = dict.fromkeys(buffer for module in modules for buffer in module.buffers())
    before = [(buffer, buffer._array, buffer._array.copy(), buffer.version) for buffer in buffers]
    try:
        yield
    finally:
        for buffer, array, values, version in before:
            if getattr(array.flags, "writeable", True):
                array[...] = values
            buffer._array, buffer.version = array, version


def modules_in(place: Any, seen: set[int]) -> Iterator[Module]:
    """Yield the modules that a function refers to."""
    if isinstance(place, Module):
        yield place
    elif id(place) not in seen:
        seen.add(id(place))
        for part in parts_of(place):
            yield from modules_in(part, seen)


def parts_of(place: Any) -> Iterable[Any]:
    """List what a container holds, or what a function refers to."""
    if isinstance(place, (list, tuple)):
        return place
    if isinstance(place, dict):
        return list(place.values())
    if isinstance(place, functools.partial):
        return place.func, place.args, place.keywords
    if isinstance(place, types.MethodType):
        owner = place.__self__
        return place.__func__, owner if isinstance(owner, Module) else attributes_of(owner)
    if isinstance(place, types.FunctionType):
        return referred_to(place)
    return [attributes_of(place)] if callable(place) else ()


def attributes_of(owner: Any) -> dict[str, Any]:
    """Return an object's attributes by name."""
    return getattr(owner, "__dict__", {})


def referred_to(function: types.FunctionType) -> Iterator[Any]:
    """Yield what a function refers to: by its closure, its defaults, and global names."""
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it has no value yet
            yield cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    codes = [function.__code__]
    for code in codes:  # and those of functions that it makes
        codes += [inner for inner in code.co_consts if isinstance(inner, types.CodeType)]
        for name in code.co_names:
            value = function.__globals__.get(name)
            if not isinstance(value, types.FunctionType):  # which may lead through the whole file
                yield value
