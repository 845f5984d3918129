"""The engine: what an operation remembers, and the backward pass that differentiates it.

A computation is a chain of *primitives*, functions whose derivative we know:

    out = f(x, y)

Calling one on tensors runs it with NumPy and appends a `Node` that remembers ``f`` and its
arguments. The nodes form a directed acyclic graph. For a scalar ``loss`` at its end, the
*cotangent* of a value ``v`` is the derivative of the loss with respect to it,

    g_v = d loss / d v,        an array of v's shape.

If ``out = f(x, y)`` and ``g`` is the cotangent of ``out``, the chain rule gives what this use
of ``x`` contributes to the cotangent of ``x``: ``g`` times the Jacobian of ``f`` in ``x``, a
*vector-Jacobian product* (VJP). `defvjp` keeps one VJP for each argument in a table, and
`backpropagate` walks the graph from the loss to the leaves and adds the contributions up.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from contextvars import ContextVar
from typing import Any, ClassVar, TypeVar

import numpy as np

# ---------------------------------------------------------------- is the graph being recorded?

# A context variable rather than a global: it holds for one thread or asyncio task only.
_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)


def is_grad_enabled() -> bool:
    """Tell whether operations are being recorded in this thread or task.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    """
    return _grad_enabled.get()


Function = TypeVar("Function", bound=Callable[..., Any])


class GradMode:
    """What `no_grad` and `enable_grad` have in common: a block, or a decorator of a function."""

    enabled: ClassVar[bool]

    def __init__(self, *misplaced: Any) -> None:
        if misplaced:
            name = type(self).__name__
            raise TypeError(
                f"{name} was given {misplaced[0]!r}; it takes no argument: write `with {name}():`, "
                f"or `@{name}()` with parentheses"
            )

        self.before: list[bool] = []  # a list, as one object may be entered within itself

    def __enter__(self) -> None:
        self.before.append(_grad_enabled.get())
        _grad_enabled.set(self.enabled)

    def __exit__(self, *exception: Any) -> None:
        _grad_enabled.set(self.before.pop())

    def __call__(self, function: Function) -> Function:
        """Return `function` with its whole body inside such a block."""
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & 0x2A0:
            # A generator's or a coroutine's body runs after the call, outside the block.
            raise TypeError(
                f"@{type(self).__name__}() has no effect on the generator or coroutine "
                f"{name_of(function)}; write `with {type(self).__name__}():` inside it"
            )

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # it is called as `function` is


class no_grad(GradMode):
    """Record nothing inside the block; also a decorator, ``@no_grad()``.

    Holds for the current thread or asyncio task only, as evaluation in one thread must not
    switch off training in another.

    >>> from microgrand import Tensor
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad():
    ...     (2 * w).requires_grad
    False
    """

    enabled = False


class enable_grad(GradMode):
    """Record again inside the block, also within `no_grad`; also a decorator.

    >>> from microgrand import Tensor
    >>> w = Tensor([1.0, 2.0], requires_grad=True)
    >>> with no_grad(), enable_grad():
    ...     (2 * w).requires_grad
    True
    """

    enabled = True


# ------------------------------------------------------------------------------- the graph

NO_KEYWORDS: Mapping[str, Any] = {}  # never written to
#: The classes of NumPy's scalars, which 0-d results are, of real and complex floating point.
FLOAT_SCALARS = frozenset(np.dtype(code).type for code in np.typecodes["AllFloat"])


class Node:
    """A value and how it came to be: ``value = primitive(*args, **kwargs)``.

    A leaf, a value that nothing computed, has ``primitive = None``. The arguments are kept as
    they were given: an argument that is a `Node` is a parent in the graph, anything else is a
    constant. References only ever point from results to arguments, so there are no cycles and
    reference counting alone frees a graph.
    """

    __slots__ = (
        "__weakref__",
        "args",  # what the primitive was called with; None for a leaf and after freeing
        "gradient",  # d loss / d value, accumulated by `backward`; None until then
        "kwargs",
        "primitive",
        "retains_grad",  # should a computed value keep its gradient, too?
        "saved_version",  # the arguments' versions, added up, when this was computed
        "tracked",  # does a leaf that requires a gradient lie upstream, or is this one?
        "value",  # an array, or a NumPy scalar as NumPy returns for 0-d results
        "version",  # how often `value` was changed in place; only leaves ever are
    )

    #: The class of computed values: `Tensor`, which tensor.py builds on this one.
    result_class: ClassVar[type[Node]]

    args: tuple[Any, ...] | None
    gradient: Any
    kwargs: Mapping[str, Any]
    primitive: Callable[..., Any] | None
    retains_grad: bool
    saved_version: int
    tracked: bool
    value: Any
    version: int


def new_node(
    cls: type[Node],
    value: Any,
    tracked: bool = False,
    primitive: Callable[..., Any] | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] = NO_KEYWORDS,
    saved_version: int = 0,
) -> Any:
    """Make a node of class `cls`, by default a leaf, without any check."""
    node = object.__new__(cls)
    node.value = value
    node.tracked = tracked
    node.primitive = primitive
    node.args = args
    node.kwargs = kwargs
    node.saved_version = saved_version
    node.gradient = None
    node.retains_grad = False
    node.version = 0
    return node


def apply(
    primitive: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] = NO_KEYWORDS,
    equivalent: Callable[..., Any] | None = None,
) -> Any:
    """Call `primitive` on the arguments' values and record the call if a gradient may flow.

    Without a node among `args` this is the plain call. All operations that may have a gradient come
    through here, but for the few that `record` is for, so this function is short on purpose: it
    costs about 0.8 microseconds. What is called may be a faster `equivalent` of the primitive.
    """
    values = []
    found = False
    tracked_up_to = version = 0
    for arg in args:
        if isinstance(arg, Node):
            values.append(arg.value)
            found = True
            version += arg.version
            if arg.tracked:
                tracked_up_to = len(values)  # no argument after these needs a gradient
        else:
            values.append(arg)
    recorded = tracked_up_to > 0 and _grad_enabled.get()
    if recorded:
        rules = rules_of.get(primitive)
        if (
            rules is None
            or kwargs
            or tracked_up_to > rules.without_gap
            or len(args) > rules.most_args
        ):
            check_rules(primitive, args, kwargs)
    # An empty ** costs 0.25 us, a quarter of a small operation.
    function = equivalent or primitive
    value = function(*values, **kwargs) if kwargs else function(*values)
    if not found:
        return value
    cls = value.__class__
    if cls is np.ndarray:
        if recorded and value.dtype.kind not in "fc":
            check_result(primitive, value, True)
    elif cls not in FLOAT_SCALARS:
        check_result(primitive, value, recorded)
    if recorded:
        return new_node(Node.result_class, value, True, primitive, args, kwargs, version)
    if tracked_up_to and (getattr(value, "base", None) is not None or value is values[0]):
        # A view of a parameter, or its array itself as np.real gives it, taken under no_grad:
        # it must not change in the next step.
        value = value.copy()
    return new_node(Node.result_class, value)


def record(function: primitive, args: tuple[Any, ...], value: Any, version: int) -> Any:
    """Record a call whose value, ``function(*args)`` with arrays, has been computed already.

    As `apply`, but without its checks: for primitives of the library's own, which have a VJP for
    every argument that may be a tensor. `version` is the sum of the arguments' versions from before
    the value was computed, as another thread may change one meanwhile.
    """
    if _grad_enabled.get():
        for arg in args:
            if isinstance(arg, Node) and arg.tracked:
                cls, called = Node.result_class, function.undifferentiated
                return new_node(cls, value, True, called, args, NO_KEYWORDS, version)
    return new_node(Node.result_class, value)


def check_result(primitive: Callable[..., Any], value: Any, tracked: bool) -> None:
    """Raise TypeError if `value` is not an array, or one through which no gradient can flow."""
    if isinstance(value, Node):
        raise TypeError(
            f"{name_of(primitive)} computed with a tensor that is not among its arguments, whose "
            "gradient would be lost; make it an argument, or take its .detach().numpy()"
        )
    if isinstance(value, np.ndarray) and not isinstance(value, np.memmap):
        if type(value) is not np.ndarray:
            raise TypeError(
                f"{name_of(primitive)} returned a {type(value).__name__}, whose operations are not "
                "those of arrays: derivatives would be wrong; convert it with np.array first"
            )
    elif not hasattr(value, "dtype"):
        raise TypeError(
            f"{name_of(primitive)} returned {value!r:.60}, expected an array; what is called on "
            "tensors has one array as its result"
        )
    if tracked and value.dtype.kind not in "fc":
        raise TypeError(
            f"{name_of(primitive)} gave a result of dtype {value.dtype}, and only floating-point "
            "results have gradients; give it float arguments, or take the tensor out of the graph "
            "with .detach()"
        )


# ------------------------------------------------------------------- primitives and their VJPs

VJP = Callable[..., Any]


class Rules:
    """The derivative of one primitive: a VJP for each argument, or one joint VJP for all."""

    __slots__ = ("joint", "keywords", "most_args", "new_arrays", "vjps", "without_gap")

    def __init__(
        self, vjps: tuple[VJP | None, ...], joint: VJP | None, new_arrays: bool = False
    ) -> None:
        self.vjps = vjps
        self.joint = joint
        self.new_arrays = new_arrays
        # So many arguments from the first on have a VJP, or all that there may be with a joint one.
        # If the last that needs a gradient is among them, `apply` need not look at each.
        self.without_gap = (*vjps, None).index(None) if joint is None else sys.maxsize
        # What the VJPs' own signatures accept, so that a call with an argument that they do
        # not know is refused when it is made, not when its gradient is wanted.
        self.keywords: Set[str] | None = None
        self.most_args = sys.maxsize
        ahead = 2 if joint is None else 3  # g, out (and needed) stand before the arguments
        first = joint or next((vjp for vjp in vjps if vjp is not None), None)
        code = getattr(first, "__code__", None)
        if code is not None:
            named = code.co_argcount + code.co_kwonlyargcount
            if not code.co_flags & 0x08:  # no **kwargs
                self.keywords = frozenset(code.co_varnames[ahead:named])
            if not code.co_flags & 0x04:  # no *args
                self.most_args = code.co_argcount - ahead
                if self.most_args < 1:
                    raise TypeError(
                        "a VJP is called as vjp(g, out, *args, **kwargs), a joint one as "
                        "joint(g, out, needed, *args, **kwargs); got one that takes "
                        f"{code.co_argcount} positional arguments"
                    )


#: The table: from a NumPy function or one of our own to its derivative.
rules_of: dict[Callable[..., Any], Rules] = {}


def defvjp(
    function: Callable[..., Any],
    *vjps: VJP | None,
    joint: VJP | None = None,
    new_arrays: bool = False,
) -> None:
    """Give a NumPy function or a `primitive` its derivative.

    Parameters
    ----------
    function
        A NumPy function or ufunc, or what `primitive` returned.
    *vjps
        One for each positional argument, ``None`` where there is no derivative. Each is called
        as ``vjp(g, out, *args, **kwargs)`` with the cotangent ``g`` of the result, the result
        ``out`` and what the function was called with, and returns the argument's cotangent.
        Where NumPy broadcast the argument, the engine sums the cotangent back to its shape.
    joint
        Instead of `vjps`, for functions of any number of arguments: one function, called as
        ``joint(g, out, needed, *args, **kwargs)``, that returns a sequence with a cotangent for
        each argument. ``needed`` holds a bool for each: where it is False, return ``None``.
    new_arrays
        Promise that each VJP always returns an array that it has made, that can be written to and
        that nothing else refers to. `backward` then makes it a leaf's ``grad`` as it is, without a
        copy: for a weight of 1024x1024 this saves a tenth of a training step.

    Notes
    -----
    Write VJPs with NumPy functions only. They run on arrays in `backward`, and on tensors when
    the derivative is itself differentiated: so the same line serves every order. A VJP must not
    write into ``g``, ``out`` or the arguments, as others use them, too.

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
    if bool(vjps) == (joint is not None):
        raise TypeError("defvjp expects either one VJP for each argument, or joint=...; "
                        f"given {len(vjps)} VJPs and joint={joint!r}")  # fmt: skip
    for rule in (function, *vjps, joint):
        if rule is not None and not callable(rule):
            raise TypeError(f"defvjp expects functions, got {rule!r}")
    rules_of[getattr(function, "undifferentiated", function)] = Rules(vjps, joint, new_arrays)


class primitive:
    """Make a function that works on arrays callable on tensors; a decorator.

    Inside the function the tensors are plain arrays, and nothing is recorded but the one call.
    Its derivative is given by `defvjp`. Tensors must be positional arguments.

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

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"primitive expects a function, got {function!r}")
        # What has a derivative, a function of NumPy's or one that is a primitive already, keeps it.
        known = function in rules_of
        self.undifferentiated = functools.partial(function) if known else function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function; record the call if an argument is a tensor."""
        if kwargs:
            for name, arg in kwargs.items():
                if isinstance(arg, Node):
                    raise TypeError(
                        f"{name_of(self)} was given a tensor as the keyword argument {name!r}; "
                        "give tensors to a primitive by position"
                    )
        on_tensors = False
        for arg in args:
            if isinstance(arg, Node):
                on_tensors = True
            elif (arg.__class__ is list or arg.__class__ is tuple) and any(
                isinstance(item, Node) for item in arg
            ):
                raise TypeError(
                    f"{name_of(self)} was given a {type(arg).__name__} of tensors; give each "
                    "tensor as an argument of its own, f(*tensors)"
                )
        if on_tensors:
            return apply(self.undifferentiated, args, kwargs)
        return self.undifferentiated(*args, **kwargs)

    def __reduce__(self) -> str:
        return str(self.__wrapped__.__qualname__)  # copied and pickled as functions are: by name


def check_rules(
    primitive: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise TypeError now if the call could not be differentiated later."""
    rules = rules_of.get(primitive)
    if rules is None:
        raise TypeError(
            f"{name_of(primitive)} has no derivative; give it one with microgrand.defvjp, "
            "or take its argument out of the graph with .detach()"
        )
    if kwargs and rules.keywords is not None and not kwargs.keys() <= rules.keywords:
        unknown = ", ".join(sorted(kwargs.keys() - rules.keywords))
        raise TypeError(
            f"{name_of(primitive)} is not differentiable when called with the argument "
            f"{unknown}; leave it out, or take the tensor out of the graph with .detach()"
        )
    if len(args) > rules.most_args:
        raise TypeError(
            f"{name_of(primitive)} is differentiable with at most {rules.most_args} positional "
            f"arguments, got {len(args)}; give the others by keyword"
        )
    if rules.joint is not None:
        return
    vjps = rules.vjps
    if len(vjps) < len(args) or None in vjps:
        for i, arg in enumerate(args):
            if (i >= len(vjps) or not vjps[i]) and isinstance(arg, Node) and arg.tracked:
                raise TypeError(
                    f"{name_of(primitive)} has no derivative with respect to argument {i}; "
                    "give it one with microgrand.defvjp, or call it with .detach()"
                )


def name_of(function: Callable[..., Any]) -> str:
    """Name a function as its users write it: ``np.tanh``, ``np.add.at``, ``mymodule.f``."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{name_of(owner)}.{function.__name__}"
    module = getattr(function, "__module__", None) or ""
    if isinstance(function, np.ufunc) or module.split(".")[0] == "numpy":
        module = module.replace("numpy", "np", 1) if "." in module else "np"
    name = getattr(function, "__qualname__", getattr(function, "__name__", repr(function)))
    return f"{module}.{name}" if module else str(name)


# -------------------------------------------------------------------------- the backward pass


def count_uses(output: Node, wanted: Set[Node] | None = None) -> dict[Node, int]:
    """Count how often each node is an argument of those that the backward pass visits.

    A node's cotangent is complete once all its uses have added to it, so this is what the
    backward pass must know beforehand. It visits what requires a gradient upstream of `output`;
    with `wanted` nodes, only what lies between: it ends at them. A stack instead of recursion: a
    chain of a million operations is no problem.
    """
    uses = {output: 0}
    stack = [output]
    while stack:
        node = stack.pop()
        if node.primitive is None or (wanted is not None and node in wanted):
            continue
        if node.args is None:
            raise freed_graph()
        version = 0
        for arg in node.args:
            if isinstance(arg, Node):
                version += arg.version
                if arg.tracked:
                    if arg in uses:
                        uses[arg] += 1
                    else:
                        uses[arg] = 1
                        stack.append(arg)
        if version != node.saved_version:
            raise RuntimeError(
                f"an argument of {name_of(node.primitive)} was changed in place after the "
                "call (by an optimizer's step, say), so its gradient would be wrong; call "
                "backward() before the change, or compute the loss anew"
            )
    if wanted is None:
        return uses
    return {node: uses[node] for node in downstream(wanted, uses)}


def downstream(wanted: Set[Node], nodes: Mapping[Node, int]) -> set[Node]:
    """Return those of a graph's nodes that depend on a wanted one, and the wanted ones."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        if node.primitive is None or node in wanted:
            continue
        if node.args is None:  # another thread has been here meanwhile
            raise freed_graph()
        for arg in node.args:
            if isinstance(arg, Node):
                users.setdefault(arg, []).append(node)
    stack = [node for node in wanted if node in nodes]
    found = set(stack)
    while stack:
        for user in users.get(stack.pop(), ()):
            if user not in found:
                found.add(user)
                stack.append(user)
    return found


def freed_graph() -> RuntimeError:
    """Make the error of a second backward pass through one graph."""
    return RuntimeError(
        "backward through a graph that has been freed: an earlier backward() freed the values it "
        "had saved. Call the first one with retain_graph=True, or compute the loss anew"
    )


def backpropagate(
    output: Node,
    cotangent: Any,
    wanted: Set[Node] | None = None,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> dict[Node, Any]:
    """Carry the cotangent of `output` back through its graph.

    Each computed node is visited once, after all its uses have added to its cotangent; a leaf's
    gradient is complete with its last use. A VJP is computed only for arguments that need one.

    Parameters
    ----------
    output, cotangent
        Where to begin, and with what: an array of the output's shape.
    wanted
        The nodes whose cotangents are returned. By default the gradient is added to
        ``gradient`` of every leaf, and of the nodes with ``retains_grad``.
    create_graph
        Run the VJPs on tensors rather than arrays, so that the results have a graph, too. It
        contains this one, which is therefore kept.
    retain_graph
        Keep what the graph saved. By default it is freed on the way.
    """
    uses = count_uses(output, wanted)
    if output not in uses:  # it does not depend on anything wanted
        return {}
    keep = retain_graph or create_graph
    cotangents = {output: cotangent}
    found: dict[Node, Any] = {}
    ready = [output]  # to be visited next, as all their uses have been
    while ready:
        node = ready.pop()
        g = cotangents.pop(node)
        primitive = node.primitive
        if wanted is not None:
            if node in wanted:
                found[node] = g
                continue
        elif primitive is None or node.retains_grad:
            accumulate(node, g, unshared=False)  # g is still needed, or the caller's
        if primitive is None:  # the output itself is a leaf
            continue

        args = node.args
        if args is None:  # another thread has been here meanwhile
            raise freed_graph()
        kwargs = node.kwargs
        rules = rules_of[primitive]
        out: Any
        given: Sequence[Any]
        if create_graph:
            out, given = node, args
        else:
            out, given = node.value, []
            for arg in args:  # a comprehension would be a function call more, 0.2 us
                given.append(arg.value if isinstance(arg, Node) else arg)
        shares = None
        if rules.joint is not None:
            needed = [isinstance(arg, Node) and arg in uses for arg in args]
            shares = rules.joint(g, out, needed, *given, **kwargs)
            if not isinstance(shares, (list, tuple)) or len(shares) != len(args):
                raise TypeError(
                    f"the joint VJP of {name_of(primitive)} returned {shares!r:.60}, expected a "
                    f"list of {len(args)}, one cotangent for each argument"
                )
        for i, arg in enumerate(args):
            if not isinstance(arg, Node) or arg not in uses:
                continue
            if shares is not None:
                share = shares[i]
            else:
                vjp: Any = rules.vjps[i]
                share = vjp(g, out, *given, **kwargs) if kwargs else vjp(g, out, *given)
            value = arg.value
            # The look at dtype and shape takes 0.2 us, and scalars need none.
            cls = share.__class__
            if not (cls in FLOAT_SCALARS and cls is value.__class__) and (
                getattr(share, "dtype", None) is not value.dtype or share.shape != value.shape
            ):
                share = fit(share, value, primitive, i)
            total = cotangents.pop(arg, None)  # what other uses have contributed
            # A sum is a new array; a single share is one that nothing else refers to if promised.
            unshared = rules.new_arrays or total is not None
            total = share if total is None else total + share
            # Out of `uses` with the last one, which must not keep the node's values alive.
            left = uses.pop(arg) - 1
            if left:
                uses[arg], cotangents[arg] = left, total
            elif wanted is None and arg.primitive is None:
                accumulate(arg, total, unshared)  # at once, which saves 0.4 us for each leaf
            else:
                cotangents[arg] = total
                ready.append(arg)
        if not keep:
            node.args = None
    return found


def fit(cotangent: Any, value: Any, primitive: Callable[..., Any], i: int) -> Any:
    """Undo broadcasting and casting: bring `cotangent` to the shape and dtype of `value`.

    Broadcasting copies a value along new leading axes and along axes of length 1. A value
    used many times receives the sum of its uses' cotangents: so sum over those axes.
    """
    shape = value.shape
    if not hasattr(cotangent, "dtype"):
        raise TypeError(
            f"the VJP of {name_of(primitive)} returned {cotangent!r} for argument {i}, expected "
            f"an array of shape {shape}"
        )
    new_axes = cotangent.ndim - len(shape)
    if cotangent.shape != shape:
        stretched = tuple(
            new_axes + axis
            for axis, length in enumerate(shape)
            if length == 1 and new_axes >= 0 and cotangent.shape[new_axes + axis] != 1
        )
        axes = tuple(range(new_axes)) + stretched
        if axes:
            wider = accumulator(cotangent, axes)
            cotangent = np.add.reduce(cotangent, axis=axes, dtype=wider, keepdims=True)
            cotangent = np.reshape(cotangent, cotangent.shape[max(new_axes, 0) :])
        if cotangent.shape != shape:
            raise ValueError(
                f"the VJP of {name_of(primitive)} returned a cotangent of shape "
                f"{cotangent.shape} for an argument of shape {shape}"
            )
    if cotangent.dtype != value.dtype:
        if cotangent.dtype.kind == "c" and value.dtype.kind == "f":
            # Of a complex z, a cotangent g means d loss = Re(g dz); this argument's dz is real.
            cotangent = np.real(cotangent)
        if cotangent.dtype.kind not in "fc":
            raise TypeError(
                f"the VJP of {name_of(primitive)} returned a cotangent of dtype "
                f"{cotangent.dtype} for an argument of dtype {value.dtype}"
            )
        cotangent = cotangent.astype(value.dtype)
    return cotangent


#: The dtypes in which many numbers of few digits are added up.
WIDER = {np.dtype(np.float16): np.float32, np.dtype(np.float32): np.float64,
         np.dtype(np.complex64): np.complex128}  # fmt: skip
#: A sum of so many float32 has lost three of its seven digits, where one term after the other is
#: added, as NumPy does along all axes but the last.
MANY = 1024


def accumulator(x: Any, axes: tuple[int, ...]) -> Any:
    """Return the dtype in which to sum `x` over some axes without loss; None for its own."""
    if x.dtype == np.float16 or math.prod([x.shape[axis] for axis in axes]) > MANY:
        return WIDER.get(x.dtype)
    return None


# Threads may share parameters; without the lock, two that add at once would lose one gradient.
_accumulating = threading.Lock()


def accumulate(node: Node, cotangent: Any, unshared: bool) -> None:
    """Add a cotangent to the node's own gradient array, which shares memory with nothing.

    The first one becomes that array if it is `unshared`, of the value's dtype, and laid out by rows
    as users expect of a gradient. Otherwise it is copied into a new one, which has the value's
    layout.
    """
    with _accumulating:
        if node.gradient is not None:
            node.gradient += cotangent
        elif (
            unshared
            and isinstance(cotangent, np.ndarray)
            and cotangent.flags.c_contiguous
            and cotangent.dtype is node.value.dtype  # a sum is in the processor's byte order
        ):
            node.gradient = cotangent
        else:
            node.gradient = np.empty_like(node.value)
            node.gradient[...] = cotangent
