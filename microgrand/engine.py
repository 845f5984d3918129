"""The engine: what an operation remembers, and the backward pass that differentiates it.

A computation is composed of *primitives*, functions whose derivative we know:

    out = f(x, y)

Calling one on tensors runs it with NumPy and returns a new tensor. Every tensor is a `Node`. Where
a gradient may flow, the call is *recorded*: the new node remembers ``f`` and the arguments. The
nodes form a directed acyclic graph. For a scalar ``loss`` at its end, the *cotangent* of a value
``v`` is the derivative of the loss with respect to it,

    g_v = d loss / d v,        an array of v's shape.

If ``out = f(x, y)`` and ``g`` is the cotangent of ``out``, the chain rule gives what this use
of ``x`` contributes to the cotangent of ``x``: ``g`` times the Jacobian of ``f`` with respect to
``x``, a *vector-Jacobian product* (VJP). `defvjp` keeps one VJP for each argument in a table, and
`backpropagate` walks the graph from the loss to the leaves and adds the contributions up.

The loss is a real number, but values on the way may be complex. The cotangent ``g`` of a complex
``z`` is defined by ``d loss = Re(sum(g dz))``, without a conjugate: then the VJP of a function that
is differentiable in the complex plane is the one for real numbers. Where a complex cotangent
arrives at a real value, whose ``dz`` is real, the engine keeps its real part. Leaves that require a
gradient are real.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence, Set
from contextvars import ContextVar
from typing import Any, ClassVar

import numpy as np

from .checks import (
    accepted_by_vjps,
    check_cotangent,
    check_derivative,
    check_function,
    check_joint,
    check_keywords,
    check_result,
    check_rules,
    check_sequence,
    check_views_are_unchanged,
    refuse_changed,
    refuse_freed,
)
from .grad_mode import grad_enabled
from .kinds import (
    FLOAT_CLASSES,
    NUMPY_CLASSES,
    PLAIN_CLASSES,
    Array,
    Axis,
    DTypeLike,
    Function,
    Value,
)
from .traced import is_view

# ------------------------------------------------------------------------------- the graph

NO_KEYWORDS: Mapping[str, Any] = {}  # never written to


class Node:
    """A value and how it was computed: ``data = primitive(*args, **kwargs)``.

    A leaf is a value that no recorded operation computed: its ``primitive`` is None. The arguments
    are kept as they were given: an argument that is a `Node` is a parent in the graph, anything
    else is a constant. References point only from results to arguments, so there are no cycles,
    and reference counting alone frees a graph. All nodes are Tensors: this class is what the engine
    needs of one.

    Only updates of a leaf, such as an optimizer step, may write into its array or replace it; they
    increment `version`. Recorded results may be views of the array: the backward pass notices the
    new version and refuses to run. Nothing checks plain arrays and tensors outside the graph. Where
    they could share the array of a leaf that requires a gradient, they get a copy when they are
    created (`unshared`, ``detach``). A leaf shares the array it was constructed from, so a step
    writes into the caller's array, too, until the leaf's data is replaced or it begins to require a
    gradient.
    """

    #: `Tensor.data`: an array, or a NumPy scalar as NumPy returns for 0-d results. (Not ``_data``,
    #: which `numpy.ma` reads from whatever it is given.)
    _array: Array
    _grad: Array | None  # the gradient that `Tensor.backward` has accumulated; None until then
    _requires_grad: bool  # is this a leaf that requires a gradient, or is one upstream?
    primitive: Function | None
    args: tuple[Any, ...] | None  # what it was called with; None for a leaf and after freeing
    kwargs: Mapping[str, Any]
    retains_grad: bool  # does `backward` store the gradient of this computed value, too?
    version: int  # of a leaf: counts the changes that put earlier results out of date
    #: Sum of the arguments' versions at the call. Versions only grow, so changes cannot cancel: an
    #: equal sum means that no argument has changed.
    saved_version: int
    line: str  # where it was computed; set inside `detect_anomaly` only

    __slots__ = (
        "__weakref__",
        "_array",
        "_grad",
        "_requires_grad",
        "args",
        "kwargs",
        "line",
        "primitive",
        "retains_grad",
        "saved_version",
        "version",
    )

    #: The class of computed values: `Tensor`, which tensor.py builds on this one.
    result_class: ClassVar[type[Node]]


def new_tensor(
    data: Array,
    primitive: Function | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] = NO_KEYWORDS,
    saved_version: int = 0,
) -> Any:
    """Make the tensor of a recorded call, or a leaf that requires no gradient.

    It sets the attributes that ``Tensor.__init__`` sets, without its checks.
    """
    node = object.__new__(Node.result_class)
    node._array = data
    node._grad = None
    node._requires_grad = primitive is not None
    node.primitive = primitive
    node.args = args
    node.kwargs = kwargs
    node.retains_grad = False
    node.saved_version = saved_version
    node.version = 0
    return node


#: If set, called with each node that is recorded, by any thread; what it returns takes its place.
on_record: Callable[[Node], Node] | None = None


def apply(
    function: Function,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] = NO_KEYWORDS,
    compute: Function | None = None,
) -> Value:
    """Call a primitive on its arguments' data, and record the call if a gradient may flow.

    Without tensors among the arguments, the result is an array. The derivative is that of
    `function`; `compute`, if given, computes the value. For an operator, it is Python's own.
    """
    operands = []
    version = 0
    has_tensors = requires_grad = False
    for arg in args:
        if type(arg) in PLAIN_CLASSES:
            operands.append(arg)
        elif isinstance(arg, Node):
            has_tensors = True
            operands.append(arg._array)
            version += arg.version
            requires_grad |= arg._requires_grad
        else:
            check_sequence(function, arg)
            operands.append(arg)
    recorded = requires_grad and grad_enabled.get()
    if recorded:
        check_derivative(function, rules_of.get(function), args, kwargs)
    call = compute or function
    data = call(*operands, **kwargs) if kwargs else call(*operands)
    if not has_tensors:
        return data
    check_result(function, data, recorded)
    if recorded:
        node = new_tensor(data, function, args, kwargs, version)
        return node if on_record is None else on_record(node)
    return new_tensor(unshared(data, operands) if requires_grad else data)


def unshared(data: Array, operands: Sequence[Any]) -> Array:
    """Copy a result outside the graph if it may share an operand's array; see `Node`."""
    may_share = is_view(data) or any(data is operand for operand in operands)
    return data.copy() if may_share else data


# ------------------------------------------------------------------- primitives and their VJPs


class Rules:
    """The derivative of one primitive: a VJP for each argument, or one joint VJP for all."""

    __slots__ = ("accepts", "joint", "vjps")

    def __init__(self, vjps: tuple[Function | None, ...], joint: Function | None) -> None:
        self.vjps = vjps
        self.joint = joint
        #: Which calls have a derivative, as the VJPs' signatures tell: for `check_derivative`,
        #: which refuses others when they are made, not when the gradient is wanted.
        self.accepts = accepted_by_vjps(vjps, joint)


#: The table: from a NumPy function or one of our own to its derivative.
rules_of: dict[Function, Rules] = {}


def defvjp(function: Function, *vjps: Function | None, joint: Function | None = None) -> None:
    """Give a NumPy function or a `primitive` its derivative.

    Parameters
    ----------
    function
        A NumPy function or ufunc, or what `primitive` returned.
    *vjps
        One for each positional argument, ``None`` where there is no derivative; Nones at the end
        may be left out. Each is called as ``vjp(g, out, *args, **kwargs)`` with the cotangent ``g``
        of the result, the result ``out`` and what the function was called with, and returns what
        this use contributes to the argument's cotangent. Where NumPy broadcast the argument, the
        engine sums the contribution back to the argument's shape.
    joint
        Instead of `vjps`, where these would share work or arguments vary in number: one, called as
        ``joint(g, out, needed, *args, **kwargs)``, that returns a sequence with a contribution to
        each argument's cotangent. ``needed`` holds a bool for each: where it is False, return
        ``None``.

    Raises
    ------
    TypeError
        If no VJP is given, or both kinds are, or if one cannot take these arguments.

    Notes
    -----
    Write VJPs with NumPy functions only. They run on arrays in `backward`, and on tensors when
    the derivative is itself differentiated, so the same line serves every order. A VJP must not
    write into ``g``, ``out`` or the arguments: they are shared.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor, defvjp, primitive
    >>> softplus = primitive(lambda x: np.logaddexp(0.0, x))
    >>> defvjp(softplus, lambda g, out, x: g / (1 + np.exp(-x)))
    >>> x = Tensor(0.0, requires_grad=True)
    >>> softplus(x).backward()
    >>> x.grad
    array(0.5)
    """
    check_rules(function, vjps, joint)
    rules_of[function] = Rules(vjps, joint)


def primitive(function: Function) -> Function:
    """Let a function of arrays take tensors; a decorator.

    Inside the function, tensors are plain arrays; only the call itself is recorded. `defvjp` gives
    it its derivative; that of the original function, if it has one, stays as it is. Tensors must be
    positional arguments. The original function is kept as ``__wrapped__``.

    Raises
    ------
    TypeError
        When called with a tensor that requires a gradient in an argument without a VJP.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor, defvjp, primitive
    >>> @primitive
    ... def cube(x):
    ...     return x * x * x
    >>> defvjp(cube, lambda g, out, x: 3 * g * x**2)
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> cube(x).sum().backward()
    >>> x.grad
    array([ 3., 12.])
    """
    check_function("primitive", function)

    @functools.wraps(function)
    def on_tensors(*args: Any, **kwargs: Any) -> Value:
        if kwargs:
            check_keywords(function, kwargs)
        return apply(on_tensors, args, kwargs, compute=function)

    return on_tensors


# -------------------------------------------------------------------------- the backward pass

#: If set, called as ``observer(node, cotangent)`` when a node's cotangent is complete.
observer: ContextVar[Callable[[Node, Array], None] | None] = ContextVar("observer", default=None)


def backpropagate(
    output: Node,
    cotangent: Value,
    ends: Set[Node] = frozenset(),
    create_graph: bool = False,
) -> dict[Node, Value]:
    """Carry the cotangent of `output` back through its graph; return the cotangents of its ends.

    Each node is visited once, when all its uses have added to its cotangent: before the last one,
    the sum is incomplete. A VJP is linear in ``g``, so one call on the sum does what a call for
    each path would do. That matters: repeating ``x = x * x`` twenty times makes twenty nodes but a
    million paths.

    Parameters
    ----------
    output, cotangent
        Where to begin, and its cotangent: an array of its shape.
    ends
        The nodes whose cotangents are wanted, by default the leaves that require a gradient. The
        pass does not go beyond an end: one upstream of another gets only what reaches it along
        other paths. Nodes with ``retains_grad`` on the way are returned, too.
    create_graph
        Run the VJPs on tensors rather than arrays, so that the results have a graph, too.
    """
    uses = count_uses(output, ends)  # of the nodes to visit; a visit counts its arguments' down
    if ends:
        # Visit only nodes that depend on an end. Whatever uses such a node depends on the end, too,
        # so the node's count stays right.
        visited = dependents(ends, uses)
        # The loop checks the arguments of the nodes that it leaves; of the others, check the views.
        check_views_are_unchanged((uses.keys() - visited) | ends)
        uses = {node: uses[node] for node in visited}
    observe = observer.get()
    cotangents = {output: cotangent}
    # The nodes that have their whole cotangent; none if the output does not depend on an end.
    ready = [output] if output in uses else []
    found = {}
    while ready:
        node = ready.pop()
        g = cotangents.pop(node)
        if observe is not None:
            observe(node, g)
        if node.primitive is None or node in ends:
            found[node] = g
            continue
        if node.retains_grad:
            found[node] = g

        args, needed, operands = inputs_of_vjps(node, uses, create_graph)
        out = node if create_graph else node._array
        rules = rules_of[node.primitive]
        if rules.joint:
            contributions = rules.joint(g, out, needed, *operands, **node.kwargs)
            check_joint(node.primitive, contributions, args)
        for i, arg in enumerate(args):
            if not needed[i]:
                continue
            if rules.joint:
                contribution = contributions[i]
            else:  # one at a time, so that each is freed as soon as it has been added
                contribution = rules.vjps[i](g, out, *operands, **node.kwargs)  # type: ignore[misc]
            contribution = unbroadcast(contribution, arg._array, node, i)
            if arg in cotangents:  # not +=, as VJPs may return g or an operand itself
                contribution = cotangents[arg] + contribution
            cotangents[arg] = contribution
            uses[arg] -= 1
            if uses[arg] == 0:
                ready.append(arg)
    return found


def inputs_of_vjps(
    node: Node, uses: Mapping[Node, int], create_graph: bool
) -> tuple[tuple[Any, ...], list[bool], list[Any]]:
    """Return a node's arguments, which of them need a contribution, and what its VJPs are given.

    Raise if the arguments have been freed, or one has changed since the call.
    """
    args = saved_args(node)
    needed = []
    operands = []
    version = 0
    for arg in args:
        if isinstance(arg, Node):
            needed.append(arg in uses)
            operands.append(arg if create_graph else arg._array)
            version += arg.version
        else:
            needed.append(False)
            operands.append(arg)
    if version != node.saved_version:
        refuse_changed(node)
    return args, needed, operands


def saved_args(node: Node) -> tuple[Any, ...]:
    """Return what a computed node was called with, unless that has been freed."""
    args = node.args  # once: another thread may free them meanwhile
    if args is None:
        refuse_freed()
    return args


def count_uses(output: Node, ends: Set[Node] = frozenset()) -> dict[Node, int]:
    """Count each node's uses: how often it is an argument of `output` or of a node upstream of it.

    Only what requires a gradient is counted, and nothing upstream of `ends`. A stack, not
    recursion, so that a chain of a million operations is no problem.
    """
    uses = {output: 0}
    stack = [output]
    while stack:
        node = stack.pop()
        if node.primitive is None or node in ends:
            continue
        for arg in saved_args(node):
            if isinstance(arg, Node):
                if arg in uses:
                    uses[arg] += 1
                elif arg._requires_grad:
                    uses[arg] = 1
                    stack.append(arg)
    return uses


def dependents(ends: Set[Node], nodes: Mapping[Node, int]) -> set[Node]:
    """Return the nodes of a graph that depend on an end, and the ends themselves."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        if node.primitive is not None and node not in ends:
            for arg in saved_args(node):
                if isinstance(arg, Node):
                    users.setdefault(arg, []).append(node)
    stack = [node for node in ends if node in nodes]
    found = set(stack)
    while stack:
        for user in users.get(stack.pop(), ()):
            if user not in found:
                found.add(user)
                stack.append(user)
    return found


def free(output: Node) -> None:
    """Drop the arguments that a value's graph has saved."""
    stack = [output]
    while stack:
        node = stack.pop()
        for arg in node.args or ():
            if isinstance(arg, Node) and arg.args:
                stack.append(arg)
        node.args = None
        node.kwargs = NO_KEYWORDS


#: From a short dtype to the one in which many of its numbers are added up.
WIDER_DTYPES = {
    np.dtype(np.float16): np.float32,
    np.dtype(np.float32): np.float64,
    np.dtype(np.complex64): np.complex128,
}
#: NumPy sums pairwise only along a contiguous axis; elsewhere, a float32 sum of more terms may lose
#: three digits.
MANY_TERMS = 1024


def wider(dtype: DTypeLike, count: int) -> Any:
    """Return a dtype wide enough to add `count` numbers with little rounding; None for their own.

    A sum of even a few float16 numbers may leave their range.
    """
    return WIDER_DTYPES.get(dtype) if count > MANY_TERMS or dtype == np.float16 else None


def sum_of(x: Value, axis: Axis, **options: Any) -> Value:
    """Sum as `numpy.sum` does; for NumPy's own arrays by the ufunc's method, which is faster."""
    # What `compile` traces has the `__class__` of an array, but a type of its own.
    return (np.add.reduce if x.__class__ in NUMPY_CLASSES else np.sum)(x, axis, **options)


def unbroadcast(cotangent: Value, data: Array, node: Node, i: int) -> Value:
    """Undo broadcasting and casting: bring `cotangent` to the shape and dtype of `data`.

    Broadcasting copies a value along new leading axes and along axes of length 1. A value used
    many times gets the sum of its uses' cotangents, so this sums over those axes. Errors name
    the primitive of `node`, and its argument `i`.
    """
    if type(cotangent) is type(data) and (
        type(data) in FLOAT_CLASSES  # a NumPy scalar's class tells its dtype
        or (cotangent.shape == data.shape and cotangent.dtype == data.dtype)
    ):
        return cotangent  # the usual case: there is nothing to undo
    check_cotangent(cotangent, data, node, i)
    if cotangent.shape != data.shape:
        new_axes = cotangent.ndim - data.ndim
        stretched = [
            new_axes + axis
            for axis, length in enumerate(data.shape)
            if length == 1 and cotangent.shape[new_axes + axis] != 1
        ]
        axes = (*range(new_axes), *stretched)
        count = math.prod([cotangent.shape[axis] for axis in axes])
        dtype = wider(cotangent.dtype, count)
        cotangent = sum_of(cotangent, axis=axes, dtype=dtype)
        cotangent = np.reshape(cotangent, data.shape)
    if cotangent.dtype != data.dtype:
        if data.dtype.kind != "c":
            cotangent = np.real(cotangent)  # this argument's dz is real
        cotangent = cotangent.astype(data.dtype)
    return cotangent
