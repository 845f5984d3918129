"""What is refused, and what to do instead: every check of the engine, the dispatch and the tensor.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it. The other files call each in one line.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from .kinds import FLOAT_CLASSES, NUMPY_CLASSES, PLAIN_CLASSES, Array, Shape
from .traced import is_view

# ------------------------------------------------------------------------------ what things are


def is_tensor(value: Any) -> bool:
    """Tell whether `value` is a node of a graph; engine.py, which has the class, imports this."""
    return hasattr(value, "saved_version")


def is_integer(value: Any) -> bool:
    """Tell whether `value` is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def name_of(function: Any) -> str:
    """Name a function as its users write it: ``np.tanh``, ``np.add.at``, ``mymodule.f``."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, np.ufunc):
        return f"{name_of(owner)}.{function.__name__}"
    module = getattr(function, "__module__", None) or ""
    # A script's own need no module, and Python's in C are in such as _operator.
    module = "" if module == "__main__" else module.removeprefix("_")
    named = getattr(function, "__wrapped__", function)  # without a name, a primitive inherits none
    name = getattr(named, "__qualname__", getattr(named, "__name__", repr(named)))
    if isinstance(function, np.ufunc):  # which does not know its module
        for where, library in ("np", np), ("scipy.special", sys.modules.get("scipy.special")):
            if getattr(library, name, None) is function:
                return f"{where}.{name}"
    if module.split(".")[0] == "numpy":
        module = module.replace("numpy", "np", 1) if "." in module else "np"
    return f"{module}.{name}" if module else str(name)


class Accepts:
    """How many positional arguments a function written in Python takes, and which keywords.

    The first `ahead` positions are not counted.
    """

    __slots__ = ("keywords", "positions")

    def __init__(self, function: Any, ahead: int = 0) -> None:
        self.positions = sys.maxsize
        self.keywords: frozenset[str] | None = None  # any
        code = getattr(function, "__code__", None)
        if code is None:  # NumPy's own functions
            return
        if not code.co_flags & inspect.CO_VARARGS:
            self.positions = code.co_argcount - ahead
        if not code.co_flags & inspect.CO_VARKEYWORDS:
            named = code.co_argcount + code.co_kwonlyargcount
            self.keywords = frozenset(code.co_varnames[ahead:named])

    def call(self, positions: int, keywords: Any) -> bool:
        """Tell whether a call with so many positions and these keywords is accepted."""
        return positions <= self.positions and (
            self.keywords is None or all(name in self.keywords for name in keywords)
        )


# ------------------------------------------------------------------------------- the engine

#: In which a primitive's arguments are looked for tensors.
CONTAINERS = (list, tuple, dict)


def check_function(who: str, function: Any) -> None:
    """Raise if what should be a function is none."""
    if not callable(function):
        raise TypeError(f"{who} expects a function, got {function!r}")


def check_rules(function: Any, vjps: tuple[Any, ...], joint: Any) -> None:
    """Raise if `defvjp` was not given a function and its derivative."""
    if bool(vjps) == (joint is not None):
        raise TypeError(
            "defvjp expects either one VJP for each argument, or joint=...; "
            f"given {len(vjps)} VJPs and joint={joint!r}"
        )
    for rule in (function, *vjps, joint):
        if rule is not None and not callable(rule):
            raise TypeError(f"defvjp expects functions, got {rule!r}")


def accepted_by_vjps(vjps: tuple[Any, ...], joint: Any) -> Accepts:
    """Return which calls of a primitive its VJPs can differentiate, by the signature of one."""
    ahead = 2 if joint is None else 3  # g, out (and needed) stand before the arguments
    first = joint or next((vjp for vjp in vjps if vjp is not None), None)
    accepts = Accepts(first, ahead)
    if accepts.positions < 1:
        raise TypeError(
            "a VJP is called as vjp(g, out, *args, **kwargs), a joint one as "
            "joint(g, out, needed, *args, **kwargs); got one that takes "
            f"{accepts.positions + ahead} positional arguments"
        )
    return accepts


def check_keywords(function: Any, kwargs: Mapping[str, Any]) -> None:
    """Raise if a primitive was given a tensor by keyword."""
    for name, arg in kwargs.items():
        if is_tensor(arg) or holds_gradient(arg):
            raise TypeError(
                f"{name_of(function)} was given a tensor as the keyword argument {name!r}, or in "
                "it; give tensors to a primitive by position"
            )
    known = Accepts(function).keywords
    if known is not None:
        check_keywords_are_pytorchs(function, kwargs.keys() - known, known)
        check_keywords_are_numpys(function, kwargs.keys() - known)


def holds_gradient(arg: Any) -> bool:
    """Tell whether there is a tensor that requires a gradient in a container, at any depth."""
    if not isinstance(arg, CONTAINERS):
        return False
    for item in arg.values() if isinstance(arg, dict) else arg:
        if type(item) not in PLAIN_CLASSES and (
            getattr(item, "_requires_grad", False) or holds_gradient(item)
        ):
            return True
    return False


def check_sequence(function: Any, arg: Any) -> None:
    """Raise if a primitive was given a container of tensors, whose gradients would be lost."""
    if holds_gradient(arg):
        raise TypeError(
            f"{name_of(function)} was given a {type(arg).__name__} of tensors; give each "
            "tensor as an argument of its own, f(*tensors)"
        )


def check_derivative(
    function: Any, rules: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise now if a call could not be differentiated later."""
    if rules is None:
        raise TypeError(
            f"{name_of(function)} has no derivative; give it one with microgrand.defvjp, "
            "or take its argument out of the graph with .detach()"
        )
    accepts = rules.accepts
    if len(args) > accepts.positions:
        raise TypeError(
            f"{name_of(function)} is differentiable with at most {accepts.positions} positional "
            f"arguments, got {len(args)}; give the others by keyword"
        )
    if kwargs and not accepts.call(len(args), kwargs):
        unknown = ", ".join(sorted(kwargs.keys() - accepts.keywords))
        raise TypeError(
            f"{name_of(function)} is not differentiable when called with the argument "
            f"{unknown}; leave it out, or take the tensor out of the graph with .detach()"
        )
    vjps = rules.vjps
    if rules.joint is None and (len(args) > len(vjps) or None in vjps):
        for i, arg in enumerate(args):
            if (i >= len(vjps) or vjps[i] is None) and getattr(arg, "_requires_grad", False):
                raise TypeError(
                    f"{name_of(function)} has no derivative with respect to argument {i}; "
                    "give it one with microgrand.defvjp, or call it with .detach()"
                )


def check_result(function: Any, data: Any, recorded: bool) -> None:
    """Raise if `data` is not an array, or one through which no gradient can flow."""
    if type(data) in FLOAT_CLASSES:
        return
    if type(data) not in NUMPY_CLASSES:
        check_is_array(function, data)
    if recorded and data.dtype.kind not in "fc":
        raise TypeError(
            f"{name_of(function)} gave a result of dtype {data.dtype}, and only floating-point "
            "results have gradients; give it float arguments, or take the tensor out of the graph "
            "with .detach()"
        )


def check_is_array(function: Any, data: Any) -> None:
    """Raise if what a primitive returned is not one array, whose operations are NumPy's."""
    if is_tensor(data):
        raise TypeError(
            f"{name_of(function)} computed with a tensor that is not among its arguments, whose "
            "gradient would be lost; make it an argument, or take its .detach().numpy()"
        )
    is_traced = data.__class__ in NUMPY_CLASSES  # `compile` puts others in the place of arrays
    if isinstance(data, np.ndarray) and not isinstance(data, np.memmap) and not is_traced:
        raise TypeError(
            f"{name_of(function)} returned a {type(data).__name__}, whose operations are not "
            "those of arrays: derivatives would be wrong; convert it with np.array first"
        )
    if hasattr(data, "__array__") and not hasattr(data, "__array_function__"):
        raise TypeError(
            f"{name_of(function)} returned a {type(data).__name__}, whose operations may match "
            "labels: derivatives would be wrong; convert its arguments with np.asarray"
        )
    if not hasattr(data, "dtype"):
        raise TypeError(
            f"{name_of(function)} returned {data!r:.60}, expected an array; what is called on "
            "tensors has one array as its result"
        )


def refuse_freed() -> NoReturn:
    """Raise: the arguments this node saved have been freed."""
    raise RuntimeError(
        "backward through a graph that has been freed: an earlier backward() freed the values "
        "it had saved. Call the first one with retain_graph=True, or recompute the loss. If "
        "the freed part is a state that is carried from one batch to the next, cut it off with "
        "state = state.detach()"
    )


def refuse_changed(node: Any) -> NoReturn:
    """Raise: a value that this node saved has changed since."""
    raise RuntimeError(
        f"an argument of {name_of(node.primitive)} was changed in place after the "
        "call (by an optimizer's step, say), or has begun to require a gradient since, so the "
        "gradients would be wrong; call backward() before the change, or recompute the loss"
    )


def check_views_are_unchanged(nodes: Iterable[Any]) -> None:
    """Raise if a value that shares the array of a tensor has changed with it since.

    The backward pass checks the arguments of the nodes that it visits. These are the others, and
    those at which it ends.
    """
    for node in nodes:
        tensors = [arg for arg in node.args or () if is_tensor(arg)]
        may_share = is_view(node._array) or any(node._array is arg._array for arg in tensors)
        if tensors and may_share and sum(arg.version for arg in tensors) != node.saved_version:
            refuse_changed(node)


def check_joint(function: Any, contributions: Any, args: Sequence[Any]) -> None:
    """Raise if a joint VJP did not return a cotangent for each argument."""
    if not isinstance(contributions, (list, tuple)) or len(contributions) != len(args):
        raise TypeError(
            f"the joint VJP of {name_of(function)} returned {contributions!r:.60}, expected a "
            f"list of {len(args)}, one cotangent for each argument"
        )


def check_one_dtype(outputs: Sequence[Any]) -> None:
    """Raise if a function of `remat` returns tensors that do not fit into one vector."""
    dtypes = {output.dtype for output in outputs}
    if len(dtypes) > 1:
        raise TypeError(
            f"remat's function returned tensors of several dtypes, {sorted(map(str, dtypes))}; "
            "convert them to one with .astype"
        )


def check_same_again(function: Any, data: Any, before: Any) -> None:
    """Raise if a function of `remat` has computed something else than the first time."""
    if not {type(before), type(data)} <= NUMPY_CLASSES:  # of a recorder, or another library
        return
    if data.shape != before.shape or not np.array_equal(data, before, equal_nan=True):
        raise RuntimeError(
            f"remat: {name_of(function)} computed other values in the backward pass than before; "
            "what it depends on has changed, or it draws numbers of its own: draw them outside, "
            "and give them as arguments"
        )


def check_constants_are_unchanged(function: Any, constants: Iterable[tuple[Any, int]]) -> None:
    """Raise if a tensor that a function of `remat` has used is another one by now."""
    for reference, version in constants:
        tensor = reference()
        if tensor is not None and tensor.version != version:
            raise RuntimeError(
                f"remat: a tensor that {name_of(function)} used was changed in place after the "
                "call, so the gradients would be wrong; call backward() before the change, or "
                "recompute the loss"
            )


def check_same_tensors(function: Any, others: Iterable[Any]) -> None:
    """Raise if a function of `remat` has used tensors at one time and not at the other."""
    if any(True for _ in others):
        raise RuntimeError(
            f"remat: {name_of(function)} used other tensors in the backward pass than before, so "
            "gradients would be lost; a parameter has been replaced since, or a variable of a loop "
            "names another layer by now: write remat(layer), or `lambda x, layer=layer: layer(x)`"
        )


def check_cotangent(cotangent: Any, data: Array, node: Any, i: int) -> None:
    """Raise if what a VJP returned cannot be the cotangent of argument `i` of a computed node."""
    if not hasattr(cotangent, "dtype"):
        raise TypeError(
            f"the VJP of {name_of(node.primitive)} returned {cotangent!r} for argument {i}, "
            f"expected an array of shape {data.shape}"
        )
    shape, out = cotangent.shape, node._array.shape
    if shape != data.shape and not (
        broadcasts(data.shape, shape) and is_broadcast_by(data.shape, shape, out)
    ):
        raise ValueError(
            f"the VJP of {name_of(node.primitive)} returned a cotangent of shape {shape} for an "
            f"argument of shape {data.shape}, expected that shape; an axis along which the "
            f"argument was broadcast to the result, of shape {out}, may have the result's length"
        )
    if cotangent.dtype.kind not in "fc":
        raise TypeError(
            f"the VJP of {name_of(node.primitive)} returned a cotangent of dtype "
            f"{cotangent.dtype} for an argument of dtype {data.dtype}"
        )


def is_broadcast_by(shape: Shape, to: Shape, out: Shape) -> bool:
    """Tell whether the axes along which `to` is longer than `shape` are those of a result."""
    shape, out = ((1,) * (len(to) - len(known)) + known for known in (shape, out))
    return all(n in (m, k) for n, m, k in zip(to, shape, out[len(out) - len(to) :], strict=True))


def broadcasts(shape: Shape, to: Shape) -> bool:
    """Tell whether an array of `shape` can be broadcast to the shape `to`."""
    last = to[len(to) - len(shape) :]
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape, last, strict=True))


# ---------------------------------------------------------------------------------- grad mode


def check_no_argument(mode: Any, misplaced: tuple[Any, ...]) -> None:
    """Raise if a grad mode was given something, such as the function that it should decorate."""
    if misplaced:
        name = type(mode).__name__
        raise TypeError(
            f"{name} was given {misplaced[0]!r}; it takes no argument: write `with {name}():`, "
            f"or `@{name}()` with parentheses"
        )


def check_runs_in_its_call(mode: Any, function: Any) -> None:
    """Raise if a function's body runs after the call, outside the block that decorates it."""
    later = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
    if getattr(getattr(function, "__code__", None), "co_flags", 0) & later:
        name = type(mode).__name__
        raise TypeError(
            f"@{name}() has no effect on the generator or coroutine {name_of(function)}; write "
            f"`with {name}():` inside it"
        )


# ---------------------------------------------------------------------------------- anomalies


def check_forward_anomaly(node: Any, kind: str, before: Sequence[str]) -> None:
    """Raise if a result holds a nan, or an infinity that no argument held before."""
    if kind == "nan" and "nan" in before:
        raise FloatingPointError(
            f"argument {before.index('nan')} of {name_of(node.primitive)} holds nan, in the call "
            f"at {node.line}, and no operation before has recorded it; look for it in your data, "
            "parameters and constants, np.isnan(x).any()"
        )
    if kind == "nan" or not any(before):
        held = "infinities" if any(before) else "finite numbers"
        raise FloatingPointError(
            f"{name_of(node.primitive)} gave {kind} for arguments of {held}, in the call at "
            f"{node.line}; look at its arguments there, and keep them in the function's domain and "
            "range, with np.clip or a smaller learning rate, say"
        )


def refuse_backward_anomaly(kind: str, guilty: Sequence[Any], began_here: bool) -> NoReturn:
    """Raise, as a cotangent holds a nan or an infinity that VJPs gave, or that it began with."""
    if not guilty:
        raise FloatingPointError(
            f"the backward pass began with a gradient that holds {kind}; give finite numbers"
            if began_here
            else f"the cotangents of several uses of a value added up to {kind}, beyond the range "
            "of their dtype; scale the loss, or use a longer dtype"
        )
    node, i = guilty[0]
    line = getattr(node, "line", "a line outside `with detect_anomaly():`, which must hold it, too")
    raise FloatingPointError(
        f"the VJP of {name_of(node.primitive)} gave {kind} for argument {i} of the call at {line}; "
        "keep its arguments away from where the derivative is infinite or undefined, as in "
        "np.sqrt(x + 1e-12)"
    )


# -------------------------------------------------------------------------------- the dispatch

#: NumPy functions that write into their first argument.
WRITERS: set[Any] = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}


def check_writes_into_no_tensor(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Raise if a call would write into a tensor."""
    out = kwargs.get("out")
    written = out if isinstance(out, tuple) else (out,)
    writes = function in WRITERS or function.__name__ == "at"  # np.add.at and so on
    if function is np.nan_to_num:
        writes = not (args[1] if len(args) > 1 else kwargs.get("copy", True))
    if writes:
        written += args[:1] or tuple(kwargs.get(name) for name in ("dst", "a", "arr", "x"))
    if any(is_tensor(array) for array in written):
        called = calling_function()
        if called in INSTEAD:
            raise TypeError(
                f"np.{called} takes a number there, and was given a Tensor; {instead_of(called)}"
                "call it with .item()"
            )
        raise TypeError(
            f"{name_of(function)} cannot write into a Tensor, as graphs may have saved its values; "
            "use a result instead, y = f(x) or np.where(mask, new, x)"
        )


def refuse_gradient_of(function: Any, name: str) -> NoReturn:
    """Raise: a keyword that is no operand holds a tensor whose gradient is recorded."""
    raise TypeError(
        f"{name_of(function)} is not differentiable with respect to its argument {name}; "
        f"{instead_of(function.__name__)}call it with .detach()"
    )


def refuse(
    function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, has_formula: bool
) -> NoReturn:
    """Raise: the call would lose a gradient; say why."""
    name = name_of(function)
    if "out" in kwargs:
        raise TypeError(
            f"{name} with out= would lose the gradient of its argument: an array "
            "has no graph. Leave out= away, or call it with .detach()"
        )
    if has_formula:
        raise TypeError(
            f"{name} is not differentiable when called with these arguments, "
            f"{len(args)} by position and {', '.join(kwargs) or 'none'} by name; leave the "
            "rarer ones out, or take the tensor out of the graph with .detach()"
        )
    if function is np.sign:
        raise TypeError(
            "np.sign of complex numbers is not constant, and not supported on a Tensor that "
            "requires a gradient; write z / np.abs(z)"
        )
    if function in WRITERS:
        called = calling_function() or function.__name__
        raise TypeError(
            f"np.{called} would write a Tensor that requires a gradient into an array, which has "
            f"no graph; {instead_of(called)}call it with .detach()"
        )
    raise TypeError(
        f"{name} is not supported on a Tensor that requires a gradient; "
        f"{instead_of(function.__name__)}give it a derivative with microgrand.defvjp, or call it "
        "with .detach()"
    )


#: What to write for calls of NumPy that take numbers only; t is the tensor.
INSTEAD = {
    "full": "t * np.ones(shape) or np.broadcast_to(t, shape)",
    "full_like": "t * np.ones_like(a) or np.broadcast_to(t, a.shape)",
    "nan_to_num": "np.where(np.isnan(x), t, x), likewise with np.isposinf and np.isneginf",
    "unwrap": "t * np.unwrap(x / t, period=1)",
    "clip": "np.clip(a, low, high)",
    "logspace": "base ** np.linspace(start, stop, num)",
    "geomspace": "np.exp(np.linspace(np.log(start), np.log(stop), num))",
    "select": "np.where(condition, x, t)",
    "pad": "np.concatenate([t * np.ones(width), x])",
    **dict.fromkeys(
        ["copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis"],
        "np.where(mask, t, a)",
    ),
}


def instead_of(name: str | None) -> str:
    """Say what to write for a call of NumPy's function `name`, if there is a way."""
    return f"for np.{name} write {INSTEAD[name]}, or " if name in INSTEAD else ""


def calling_function() -> str | None:
    """Name the function of NumPy that the user has called, if this is inside one."""
    frame: Any = sys._getframe(1)
    name = None
    while frame is not None:
        module = frame.f_globals.get("__name__", "").split(".")[0]
        if module == "numpy":
            name = frame.f_code.co_name
        elif module != __name__.split(".")[0]:
            break
        frame = frame.f_back
    return name


# ---------------------------------------------------------------------------------- the tensor


def check_is_no_tensor(data: Any) -> None:
    """Raise if `data` is already a tensor, or an array subclass with its own operators."""
    if is_tensor(data):
        raise TypeError(
            "Tensor() was given a Tensor; use it as it is, or data.detach() for one that "
            "has its values but is not part of its graph"
        )
    if isinstance(data, np.ndarray) and data.__class__ not in (np.ndarray, np.memmap):
        raise TypeError(
            f"Tensor() takes plain arrays, got a {type(data).__name__}, whose operators mean "
            "other things; convert it with np.asarray(data)"
        )


def check_speaks_protocols(data: Any) -> None:
    """Raise if `data` is an array of a library whose functions NumPy's calls do not reach."""
    is_array = hasattr(type(data), "__array_namespace__") or hasattr(type(data), "requires_grad")
    if is_array and not isinstance(data, np.generic):
        library = type(data).__module__.split(".")[0].removesuffix("lib")
        raise TypeError(
            f"Tensor() takes arrays that speak NumPy's protocols, got a {type(data).__name__} of "
            f"{library}; those of NumPy, CuPy and Dask do, by __array_ufunc__ and "
            "__array_function__. Convert it: np.asarray(x), or on a device cupy.from_dlpack(x)"
        )


def check_numbers(data: Array) -> None:
    """Raise if an array does not hold numbers: but objects, strings, records or dates."""
    if data.dtype.kind not in "biufc":
        raise TypeError(f"Tensor() expects numbers, got {data!r:.60} of dtype {data.dtype}")


def check_differentiable_dtype(dtype: Any) -> None:
    """Raise for a dtype that has no derivatives here."""
    if dtype.kind != "f":
        mend = (
            "keep the real and the imaginary part in tensors"
            if dtype.kind == "c"
            else "give dtype=float"
        )
        raise TypeError(f"requires_grad needs floating-point data, got dtype {dtype}; {mend}")


def check_becomes_an_array(tensor: Any) -> None:
    """Raise if a plain array would lose the graph."""
    if tensor.requires_grad:
        called = calling_function()
        method = "" if called else ", np.dot(a, t) for a.dot(t), as for all methods of arrays"
        raise TypeError(
            "a Tensor that requires a gradient cannot become a plain array, as its graph "
            f"would be lost; {instead_of(called)}use .detach() for the values, np.stack to join "
            f"tensors{method}. (To grad and other transforms, a list is several arguments: give "
            "np.array)"
        )


def check_becomes_a_number(tensor: Any, kind: str, *, recorded: bool) -> None:
    """Raise if a Python number would lose the graph, as ``array[i] = tensor`` does unseen."""
    if recorded:
        raise TypeError(
            f"{kind}() of a Tensor that requires a gradient: a Python number has no graph, so the "
            "gradient would be lost. Use .item() for the number; np.exp, not math.exp; np.stack to "
            "collect tensors, not array[i] = tensor"
        )


def check_leaf(tensor: Any, what: str, instead: str) -> None:
    """Raise if something that only a leaf may have done to it is done to a computed value."""
    if tensor.primitive is not None:
        raise RuntimeError(
            f"{what}, and this tensor was computed by "
            f"{name_of(tensor.primitive)}; use .detach() for {instead}"
        )


def check_replacement(tensor: Any, new: Array) -> None:
    """Raise if new data is of another shape or dtype."""
    if new.shape != tensor.shape or new.dtype != tensor.dtype:
        raise ValueError(
            f"data of shape {new.shape} and dtype {new.dtype} cannot replace data of shape "
            f"{tensor.shape} and dtype {tensor.dtype}"
        )


def check_change_in_place(*, recorded: bool) -> None:
    """Raise if a leaf whose gradient is recorded is to be changed in place."""
    if recorded:
        raise RuntimeError(
            "in-place change of a leaf that requires a gradient; update parameters inside "
            "`with no_grad():`, or write x = x + y for a new tensor"
        )


def check_gradient(tensor: Any, new: Any) -> None:
    """Raise if what is assigned to ``grad`` is neither None nor an array like the tensor."""
    if new is None:
        return
    dtype = getattr(new, "dtype", None)
    if is_tensor(new) or dtype is None or dtype.kind not in "fiu":
        raise TypeError(
            "grad is None or an array of real numbers, got "
            f"{type(new).__name__} {new!r:.60}; write x.grad = None to clear it"
        )
    if new.shape != tensor.shape:
        raise ValueError(f"grad of shape {new.shape} does not fit shape {tensor.shape}")


def check_one_element(tensor: Any) -> None:
    """Raise if a tensor is no single number."""
    if tensor.size != 1:
        raise ValueError(
            f"only a tensor of one element is a number, this one has shape {tensor.shape}; "
            "use .tolist(), or reduce it first"
        )


def check_has_gradient_to_retain(tensor: Any) -> None:
    """Raise if a tensor will have no gradient."""
    if not tensor.requires_grad:
        raise RuntimeError("a tensor that does not require a gradient has none to retain")


def check_backward_begins_here(tensor: Any, gradient: Any) -> None:
    """Raise if a backward pass cannot begin at a tensor."""
    if not tensor._requires_grad:
        raise RuntimeError(
            "backward() on a tensor without a graph: nothing it was computed from has "
            "requires_grad=True, or it was computed under no_grad()"
        )
    data = tensor._array
    if data.dtype.kind == "c":
        raise RuntimeError(
            f"backward() begins at real numbers, and this tensor is of dtype {data.dtype}; "
            "take np.real, np.imag or np.abs of it first"
        )
    if gradient is None and data.size != 1:
        raise RuntimeError(
            f"backward() begins at a scalar loss, and this tensor has shape {data.shape}; "
            "reduce it with .sum() or .mean(), or give gradient= of that shape"
        )


def check_first_cotangent(tensor: Any, gradient: Array) -> None:
    """Raise if what backward() was given is no cotangent of the tensor."""
    if gradient.dtype.kind not in "fiu":
        raise TypeError(
            f"gradient has dtype {gradient.dtype}, expected real numbers of shape {tensor.shape}"
        )
    if gradient.shape != tensor.shape:
        raise ValueError(
            f"gradient has shape {gradient.shape}, expected {tensor.shape}, the shape of "
            "the tensor that backward() is called on"
        )


def check_no_modulus(modulus: Any) -> None:
    """Raise for ``pow(x, y, modulus)``."""
    if modulus is not None:
        raise TypeError("pow() of a Tensor takes no modulus; write (x ** y) % modulus")


def check_is_no_swap(tensor: Any, axes: tuple[Any, ...]) -> None:
    """Raise if two axes are given of more, as PyTorch's method swaps them."""
    if len(axes) == 2 < tensor.ndim:
        raise ValueError(
            f"transpose takes the order of all {tensor.ndim} axes, got {axes}; to swap two, write "
            f"x.swapaxes{axes}"
        )


def check_joins_all_axes(order: Any) -> None:
    """Raise if flatten is given an axis to begin with, as PyTorch's method takes."""
    if isinstance(order, int):
        raise TypeError(
            f"flatten joins all axes and takes NumPy's order, such as 'C', got {order}; to begin "
            f"with an axis, write nn.Flatten({order})(x) or x.reshape(len(x), -1)"
        )


def check_has_an_axis(tensor: Any, what: str) -> None:
    """Raise for what a 0-d tensor does not have."""
    if tensor.ndim == 0:
        raise TypeError(f"{what} a 0-d tensor, which has no axis; take x.ravel(), or x.item()")


def refuse_to_round() -> NoReturn:
    """Raise for ``round(x)``, which makes a Python number of one element only."""
    raise TypeError(
        "round() makes a Python number, and a Tensor is none: write np.round(x, decimals), or "
        "round(x.item())"
    )


def refuse_item_assignment() -> None:
    """Raise for ``x[i] = y``."""
    raise TypeError(
        "a Tensor does not support item assignment, as saved values must not change; build "
        "the new value with np.where(mask, new, x), or change a parameter outside any graph, "
        "p.data[i] = y"
    )


def check_can_be_copied(tensor: Any) -> None:
    """Raise if a tensor is no leaf, whose graph a copy would share or lose."""
    if tensor.primitive is not None:
        raise RuntimeError(
            f"this tensor was computed by {name_of(tensor.primitive)}, and copy, pickle or a plot "
            "would keep its values without its graph; give them x.detach(), or call x.copy() for a "
            "copy in the graph"
        )


# ------------------------------------------------------------------ names that others have

#: What PyTorch's tensors, or NumPy's arrays, call what is written otherwise here.
WRITE_INSTEAD = {
    "view": "x.reshape(shape)",
    "view_as": "x.reshape(y.shape)",
    "unsqueeze": "np.expand_dims(x, axis)",
    "permute": "x.transpose(axes)",
    "t": "x.T",
    "expand": "np.broadcast_to(x, shape)",
    "expand_as": "np.broadcast_to(x, y.shape)",
    "movedim": "np.moveaxis(x, source, destination)",
    "unflatten": "microgrand.nn.Unflatten(dim, sizes)(x)",
    "repeat_interleave": "x.repeat(repeats, axis)",
    "unbind": "list(x)",
    "clone": "x.copy()",
    "numel": "x.size",
    "nelement": "x.size",
    "dim": "x.ndim",
    "matmul": "x @ y",
    "mm": "x @ y",
    "bmm": "x @ y",
    "mv": "x @ y",
    "norm": "np.linalg.norm(x)",
    "pow": "x ** y",
    "sub": "x - y",
    "mul": "x * y",
    "div": "x / y",
    "neg": "-x",
    "eq": "x == y",
    "ne": "x != y",
    "lt": "x < y",
    "le": "x <= y",
    "gt": "x > y",
    "ge": "x >= y",
    "amax": "x.max(axis)",
    "amin": "x.min(axis)",
    "rsqrt": "1 / np.sqrt(x)",
    "sigmoid": "microgrand.nn.functional.sigmoid(x)",
    "softmax": "microgrand.nn.functional.softmax(x)",
    "log_softmax": "microgrand.nn.functional.log_softmax(x)",
    "logsumexp": "microgrand.nn.functional.logsumexp(x, dim)",
    "gather": "np.take_along_axis(x, indices, axis)",
    "index_select": "np.take(x, indices, axis)",
    "masked_fill": "np.where(mask, value, x)",
    "masked_select": "x[mask]",
    "chunk": "np.split(x, how_many, axis)",
    "split": "np.split(x, how_many, axis), which takes the number of parts, not their length",
    "where": "np.where(condition, x, y)",
    "topk": "np.sort(x)[..., -k:], and np.argsort(x)[..., -k:] for the places",
    "clamp": "x.clip(low, high)",
    "float": "x.astype(np.float32)",
    "double": "x.astype(np.float64)",
    "half": "x.astype(np.float16)",
    "long": "x.astype(np.int64)",
    "int": "x.astype(np.int32)",
    "bool": "x.astype(bool)",
    "type_as": "x.astype(y.dtype)",
    "new_zeros": "np.zeros(shape, x.dtype)",
    "new_ones": "np.ones(shape, x.dtype)",
    "type": "x.astype(dtype)",
    "to": "x.astype(dtype); there are no devices",
    "cpu": "x itself: there are no devices",
    "cuda": "x itself: there are no devices",
    "device": "x itself: there are no devices",
    "contiguous": "x as it is",
    "detach_": "x.detach()",
    "zero_": "x.data = np.zeros_like(x.data)",
    "zero_grad": "x.grad = None",
    "register_hook": "(x * 1).retain_grad()",
    "grad_fn": "x.primitive",
    "flat": "x.ravel()",
    "strides": "x.data.strides",
    "flags": "x.data.flags",
    "base": "x.data.base",
    "tobytes": "x.detach().numpy().tobytes()",
    "fill": "x.data = np.full_like(x.data, value)",
    "itemset": "np.where(mask, value, x)",
    "put": "np.where(mask, value, x)",
    "resize": "np.resize(x, shape)",
    "partition": "np.partition(x, kth)",
    "sort": "np.sort(x), as an array's own sort() changes it in place",
}


#: Functions of NumPy that are methods in PyTorch.
NUMPY_FUNCTIONS = (
    "abs absolute exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal sign floor ceil trunc "
    "sin cos tan sinh cosh tanh arcsin arccos arctan arcsinh arccosh arctanh arctan2 hypot "
    "maximum minimum fmax fmin add subtract multiply divide power logaddexp isnan isinf isfinite "
    "isclose allclose outer inner cross kron tensordot flip fliplr flipud roll rot90 tile "
    "diff diag tril triu median quantile nanmean nansum unique bincount logical_and "
    "logical_or logical_not count_nonzero concatenate stack broadcast_to moveaxis expand_dims"
)
#: Methods with which PyTorch changes a tensor in place, beside those above.
IN_PLACE = (
    "add_ sub_ mul_ div_ pow_ neg_ exp_ sqrt_ abs_ clamp_ copy_ fill_ uniform_ normal_ relu_ "
    "masked_fill_ scatter_ scatter_add_ index_add_ unsqueeze_ squeeze_ transpose_"
)


class Missing:
    """An attribute Tensor lacks; accessing it says what to write instead.

    Not ``__getattr__``, which would slow every other lookup.
    """

    def __init__(self, message: str) -> None:
        self.message = message

    def __get__(self, instance: Any, owner: Any) -> NoReturn:
        raise AttributeError(self.message)


def explain_missing_attributes(tensor: type) -> None:
    """Let the attributes that a class of tensors does not have say what to write."""
    messages = {
        **{name: f"call NumPy's function, np.{name}(x)" for name in NUMPY_FUNCTIONS.split()},
        **dict.fromkeys(IN_PLACE.split(), "a tensor is not changed in place: write x = f(x)"),
        **{name: f"write {instead}" for name, instead in WRITE_INSTEAD.items()},
    }
    for name, message in messages.items():
        if not hasattr(tensor, name):
            setattr(tensor, name, Missing(f"a Tensor has no {name}; {message}"))


#: What PyTorch's namespace has, and neither NumPy's nor `nn.functional`.
ELSEWHERE = {
    "cat": "np.concatenate(tensors, axis)",
    "rand": "np.random.default_rng().random(shape)",
    "randn": "np.random.default_rng().standard_normal(shape)",
    "randint": "np.random.default_rng().integers(low, high, shape)",
    "randperm": "np.random.default_rng().permutation(n)",
    "from_numpy": "Tensor(array)",
    "FloatTensor": "Tensor(values, dtype=np.float32)",
    "LongTensor": "np.array(values)",
    "bmm": "x @ y",
    "mm": "x @ y",
    "save": "microgrand.checkpoint.save(path, model=model)",
    "load": "microgrand.checkpoint.load(path, model=model)",
    "cuda": "nothing: there are no devices",
    "device": "nothing: there are no devices",
    "inference_mode": "microgrand.no_grad()",
    "set_grad_enabled": "microgrand.no_grad() or microgrand.enable_grad()",
    "autograd": "microgrand.grad(function), or microgrand.defvjp for a function of your own",
    "Variable": "Tensor(data, requires_grad=True)",
    "utils": "microgrand.data.batches(x, labels, batch_size=32, rng=rng) for a DataLoader",
    "gradcheck": "microgrand.testing.gradcheck(function, x)",
    **{name: f"from microgrand import {name}" for name in ("distributed", "testing", "visual")},
}


def missing_from_package(name: str, modules: Sequence[Any]) -> str:
    """Tell that the package has no attribute, and where one of this name of PyTorch's is."""
    home = next((module.__name__ for module in modules if name in module.__all__), None)
    if name in ELSEWHERE:
        hint = f"; write {ELSEWHERE[name]}"
    elif home:
        hint = f"; it is {home}.{name}"
    else:
        hint = f"; NumPy's works on tensors: np.{name}" if hasattr(np, name) else ""
    return f"module 'microgrand' has no attribute {name!r}{hint}"


class TensorModule(ModuleType):
    """The module tensor.py, which has the name of PyTorch's function that makes tensors."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise, as a module makes no tensor."""
        raise TypeError(
            f"{self.__name__} is a module, and was called as PyTorch's function of that name; "
            "write microgrand.Tensor(data), with requires_grad=True for one with a gradient"
        )


#: What PyTorch and NumPy call the same argument.
SAME_ARGUMENTS = (("dim", "axis"), ("keepdim", "keepdims"), ("unbiased", "ddof"))


def check_keywords_are_pytorchs(
    function: Any, names: Container[str], known: Container[str]
) -> None:
    """Raise for NumPy's keywords of a function that has PyTorch's, which say the same."""
    for theirs, numpys in SAME_ARGUMENTS:
        if numpys in names and theirs in known:
            raise TypeError(
                f"{name_of(function)} has no argument {numpys}; PyTorch calls it {theirs}, as in "
                f"{function.__name__}(x, {theirs}=...)"
            )


def check_keywords_are_numpys(function: Any, names: Container[str]) -> None:
    """Raise for PyTorch's keywords, which say the same."""
    for theirs, ours in SAME_ARGUMENTS:
        if theirs in names:
            name = name_of(function)
            example = name if name.startswith("np.") else function.__name__
            raise TypeError(
                f"{name} has no argument {theirs}; NumPy calls it {ours}, "
                f"as in {example}(x, {ours}=...)"
            )
