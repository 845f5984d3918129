"""The dispatch: what a NumPy function does when it is called on tensors.

NumPy asks its operands whether they want to handle a call themselves. A tensor says yes, and this
file looks the function up in tables, which the folder ``vjps`` fills:

- `rules_of`, the engine's: a function with VJPs is called on the tensors' data, and the call is
  recorded;
- `formulas`: one that NumPy composes of other functions has a *formula* made of those. Its value is
  NumPy's own, its derivative is the formula's;
- `constant_functions`: one whose result is piecewise constant or not numeric returns a plain array.

Any other function is called on the data, and returns what NumPy returns; it is refused where a
gradient would be lost.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from . import checks
from .engine import Node, Rules, apply, defvjp, new_tensor, primitive, rules_of, unshared
from .grad_mode import grad_enabled
from .kinds import NUMPY_CLASSES, Array, Function, Value, Values
from .traced import is_traced

# --------------------------------------------------------------------------- tensors in arguments


def data_of(value: Any) -> Any:
    """Replace tensors with their data, also inside lists and tuples."""
    if isinstance(value, Node):
        return value._array
    if isinstance(value, (list, tuple)):
        return in_container(value, [data_of(item) for item in value])
    return value


def tensors_in(value: Any) -> Iterator[Node]:
    """Yield the tensors in `value`, also within lists and tuples."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def needs_recording(value: Any) -> bool:
    """Tell whether recording is on and a tensor in `value`, at any depth, requires a gradient."""
    return grad_enabled.get() and any(tensor._requires_grad for tensor in tensors_in(value))


# ---------------------------------------------------------------------------------- tables


class Formula:
    """How a NumPy function is composed of others."""

    __slots__ = ("accepts", "compose", "constant_results", "exact")

    def __init__(self, compose: Function, exact: bool, constant_results: tuple[int, ...]) -> None:
        self.compose = compose
        self.exact = exact
        self.constant_results = constant_results
        self.accepts = checks.Accepts(compose)


#: From a NumPy function, or a ufunc's method such as ``np.add.reduce``, to its formula.
formulas: dict[Function, Formula] = {}

#: NumPy functions whose results are piecewise constant, or not numeric.
constant_functions: set[Function] = set()

#: Those of them that are piecewise constant for real numbers only.
constant_for_reals: set[Function] = set()


def formula(
    *functions: Any, exact: bool = False, constant_results: tuple[int, ...] = ()
) -> Function:
    """Register how NumPy functions are composed of others; a decorator.

    Parameters
    ----------
    *functions
        NumPy functions or methods of ufuncs. One that NumPy 2.0 lacks is given by its name.
    exact
        The formula's value is NumPy's bit for bit, as it only moves elements or calls the same
        function, and it refuses what NumPy refuses. Then, where the call is recorded, only the
        formula is called. Not together with `constant_results`.
    constant_results
        Which of several results are piecewise constant, and stay plain arrays. The formula returns
        None in their place. They are named here, too, because the formula is not called where no
        call is recorded.
    """

    def register(compose: Function) -> Function:
        for function in functions:
            found = getattr(np, function, None) if isinstance(function, str) else function
            if found is not None:
                formulas[found] = Formula(compose, exact, constant_results)
        return compose

    return register


# ------------------------------------------------------------------------------ the decision


def dispatch(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Values:
    """Call a NumPy function whose arguments hold tensors."""
    kwargs = {
        name: copy_of_list(value)  # the graph keeps it, and the caller may change it
        for name, value in kwargs.items()
        if name != "out" or value is not None
    }
    checks.check_writes_into_no_tensor(function, args, kwargs)
    if "out" not in kwargs:
        if function in rules_of:
            args, kwargs = tensors_by_position(function, args, kwargs)
            operands = as_operands(function, args, rules_of[function])
            return apply(function, operands, kwargs)
        if function in formulas and formulas[function].accepts.call(len(args), kwargs):
            args = tuple([without_labels(copy_of_list(x)) for x in args])
            kwargs = {name: without_labels(value) for name, value in kwargs.items()}
            return call_with_formula(function, formulas[function], args, kwargs)
    # Everything else, and every call with `out`, runs on plain data and is not recorded.
    given = args, tuple(kwargs.values())
    if not is_constant(function, args) and needs_recording(given):
        checks.refuse(function, args, kwargs, has_formula=function in formulas)
    values = call_on_data(function, args, kwargs)
    protected = protected_arrays(given)
    if not protected or "out" in kwargs:  # with `out`, the result is the caller's own array
        return values
    return all_unshared(values, protected)


def call_on_data(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Values:
    """Call a function on the data of tensors."""
    return function(*data_of(args), **{name: data_of(value) for name, value in kwargs.items()})


def protected_arrays(given: Any) -> list[Array]:
    """Return the arrays of tensors that require a gradient: results must not share them."""
    return [tensor._array for tensor in tensors_in(given) if tensor._requires_grad]


def all_unshared(values: Values, protected: Sequence[Array]) -> Values:
    """Copy those of a function's results that may share protected arrays; see `Node`."""
    if isinstance(values, (tuple, list)):
        return in_container(values, [all_unshared(value, protected) for value in values])
    return unshared(values, protected) if isinstance(values, np.ndarray) else values


def is_constant(function: Function, args: tuple[Any, ...]) -> bool:
    """Tell whether a function is piecewise constant for these arguments."""
    if function in constant_for_reals:
        return not any(tensor._array.dtype.kind == "c" for tensor in tensors_in(args))
    return function in constant_functions


def tensors_by_position(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move keyword arguments that are tensors, as in ``np.sum(a=x)``, to their positions."""
    if not any(isinstance(value, Node) for value in kwargs.values()):
        return args, kwargs
    if not isinstance(function, np.ufunc):  # ufuncs take their operands by position only
        bound = inspect.signature(function).bind(*args, **kwargs)
        args, kwargs = bound.args, bound.kwargs
    check_no_gradient(function, kwargs)
    return args, {name: data_of(value) for name, value in kwargs.items()}


def check_no_gradient(function: Any, options: Mapping[str, Any]) -> None:
    """Refuse a keyword argument that would need a VJP: only operands have one."""
    for name, value in options.items():
        if needs_recording(value):
            checks.refuse_gradient_of(function, name)


def as_operands(function: Any, args: tuple[Any, ...], rules: Rules) -> tuple[Any, ...]:
    """Turn lists among the operands, the arguments with VJPs, into arrays.

    VJPs compute with them: that of `numpy.power` needs ``y - 1``. Tuples are converted for ufuncs
    only; elsewhere a tuple is a shape or a set of axes. Other lists are copied: the graph keeps
    them, and the caller may change them.
    """
    sequences = (list, tuple) if isinstance(function, np.ufunc) else (list,)
    count = len(args) if rules.joint else len(rules.vjps)
    return tuple(
        [
            as_operand(x, args, sequences) if i < count else copy_of_list(x)
            for i, x in enumerate(args)
        ]
    )


def as_operand(x: Any, others: tuple[Any, ...], sequences: tuple[type, ...] = (list, tuple)) -> Any:
    """Make lists and tuples arrays of the library of `others`; take the labels off labelled data.

    `sequences` says which of lists and tuples count as operands.
    """
    if isinstance(x, sequences):
        return np.asarray(x, like=library_of(*others))
    return without_labels(x)


def without_labels(x: Any) -> Any:
    """Make an array of a pandas object and the like; leave the rest as it is.

    Their operators match rows by labels, those of arrays by position: derivatives would be wrong.
    """
    if isinstance(x, np.generic):  # it has `__array__`, too, but no labels
        return x
    cls = type(x)
    has_labels = hasattr(cls, "__array__") and not hasattr(cls, "__array_function__")
    return np.asarray(x) if has_labels and not is_traced(x) else x


def copy_of_list(x: Any) -> Any:
    """Copy a list, and the lists in it."""
    return [copy_of_list(item) for item in x] if isinstance(x, list) else x


def library_of(*values: Any) -> Any:
    """Return the array to pass as ``like=``, which makes a new one in the library of the values.

    None means NumPy: all values are its arrays, or no arrays at all.
    """
    for value in values:
        array = data_of(value)
        if array.__class__ not in NUMPY_CLASSES and hasattr(array, "__array_function__"):
            return array
    return None


# ------------------------------------------------------------------------------- formulas


def call_with_formula(
    function: Any, entry: Formula, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Values:
    """Return NumPy's own value with the derivative of a formula.

    The formula may round differently, overflow elsewhere or know fewer options. So unless it is
    exact, its value is not used, and NumPy itself refuses a wrong call.
    """
    kwargs.pop("overwrite_input", None)  # it would let `np.median` overwrite a tensor's data
    given = args, tuple(kwargs.values())
    recorded = needs_recording(given)
    # A function among the arguments, as in `numpy.apply_along_axis`, may use tensors of its own.
    if entry.exact and (recorded or any(map(callable, args))):
        return entry.compose(*args, **kwargs)
    values = call_on_data(function, args, kwargs)
    if not recorded:
        return as_tensors(values, protected_arrays(given), entry.constant_results)
    with np.errstate(all="ignore"):  # NumPy's call has given its warnings
        return attach_derivatives(entry.compose(*args, **kwargs), values)


def attach_derivatives(composed: Values, values: Values) -> Values:
    """Give NumPy's `values` the derivatives of `composed`, a formula's results.

    Where `composed` is None, the value is constant and stays a plain array.
    """
    if composed is None:
        return values
    if isinstance(values, (tuple, list)):
        pairs = zip(composed, values, strict=True)
        return in_container(values, [attach_derivatives(x, value) for x, value in pairs])
    if isinstance(composed, Node) and composed._requires_grad:
        values = values if hasattr(values, "dtype") else np.asarray(values)
        if values.dtype.kind in "fc":
            return with_derivative_of(composed, values)
    return as_tensors(values)


@primitive
def with_derivative_of(x: Value, value: Array) -> Value:
    """Return `value`, with the derivative of `x`."""
    return value


defvjp(with_derivative_of, lambda g, out, x, value: g)


def as_tensors(
    values: Values, protected: Sequence[Array] = (), constant_results: tuple[int, ...] = ()
) -> Values:
    """Turn the floating-point arrays in a result into tensors outside the graph; see `Node`."""
    if isinstance(values, (tuple, list)):
        items = [
            value if i in constant_results else as_tensors(value, protected)
            for i, value in enumerate(values)
        ]
        return in_container(values, items)
    if not hasattr(values, "dtype") or values.dtype.kind not in "fc":
        return values
    return new_tensor(unshared(values, protected) if protected else values)


def in_container(like: Values, items: list[Value]) -> Values:
    """Put items into a list, tuple or named tuple of the same kind."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)
