"""The dispatch: what a NumPy function does when it is called on tensors.

NumPy asks its operands whether they want to handle a call themselves. A tensor says yes, and this
file looks the function up in three tables:

- a function with VJPs is called on the tensors' data, and the call is recorded;
- one that NumPy composes of other functions has a *formula* made of those: its value is NumPy's
  own, its derivative is the formula's;
- one whose result is piecewise constant returns a plain array.

Any other function works as long as no gradient is lost.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from . import checks
from .engine import Node, apply, defvjp, new_tensor, primitive, rules_of, unshared
from .grad_mode import is_grad_enabled
from .kinds import Array, ArrayLike, DTypeLike, Function, Value, Values

# ---------------------------------------------------------------------------------- tables


#: What the tables know a function by: itself, or ``(ufunc, name)`` for a ufunc's method.
Key: TypeAlias = Any


class Formula:
    """How a NumPy function is composed of others."""

    __slots__ = ("accepts", "compose", "exact", "plain")

    def __init__(self, compose: Function, exact: bool, plain: tuple[int, ...]) -> None:
        self.compose = compose
        self.exact = exact
        self.plain = plain
        self.accepts = checks.Accepts(compose)


#: From a function's key to its formula.
formulas: dict[Key, Formula] = {}

#: NumPy functions with a derivative of zero or none at all.
constant_functions: set[Key] = set()


def formula(*functions: Any, exact: bool = False, plain: tuple[int, ...] = ()) -> Function:
    """Register how NumPy functions are composed of others; a decorator.

    Parameters
    ----------
    *functions
        NumPy functions, or keys of ufunc methods. One that NumPy 2.0 lacks is given by its name.
    exact
        Whether the formula's value is NumPy's to the bit, because it only moves elements or calls
        the same function. Then, where a gradient is recorded, only the formula is called.
    plain
        Which of several results are piecewise constant, and stay arrays. The formula returns None
        in their place.
    """

    def register(compose: Function) -> Function:
        for function in functions:
            key = getattr(np, function, None) if isinstance(function, str) else function
            if key is not None:
                formulas[key] = Formula(compose, exact, plain)
        return compose

    return register


# ------------------------------------------------------------------------------ the decision


def dispatch(function: Any, key: Key, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Values:
    """Call a NumPy function whose arguments hold tensors.

    The tables know the function as `key`.
    """
    kwargs = {
        name: copy_of_list(value)  # the graph keeps it
        for name, value in kwargs.items()
        if name != "out" or value is not None
    }
    checks.check_writes_into_no_tensor(function, args, kwargs)
    if "out" not in kwargs:
        if key in rules_of:
            args, kwargs = by_position(function, args, kwargs)
            return apply(key, as_operands(function, args, len(rules_of[key].vjps)), kwargs)
        if key in formulas and formulas[key].accepts.call(len(args), kwargs):
            args = tuple([as_operand(copy_of_list(x), ()) for x in args])
            kwargs = {name: as_operand(value, ()) for name, value in kwargs.items()}
            return by_formula(function, formulas[key], args, kwargs)
    if not is_constant(key, args) and records_gradient((args, tuple(kwargs.values()))):
        checks.refuse(function, key in formulas, args, kwargs)
    values = call_on_data(function, args, kwargs)
    tensors = tensors_in((args, tuple(kwargs.values())))
    parameters = [tensor._array for tensor in tensors if tensor._requires_grad]
    return all_unshared(values, parameters) if parameters and "out" not in kwargs else values


def call_on_data(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Values:
    """Call a function on the data of tensors."""
    return function(*unwrap(args), **{name: unwrap(value) for name, value in kwargs.items()})


def all_unshared(values: Values, parameters: Sequence[Array]) -> Values:
    """Copy the results of a function that are views of a parameter."""
    if isinstance(values, (tuple, list)):
        return in_container(values, [all_unshared(value, parameters) for value in values])
    return unshared(values, parameters) if isinstance(values, np.ndarray) else values


def is_constant(key: Key, args: tuple[Any, ...]) -> bool:
    """Tell whether a function is piecewise constant; the sign of a complex number is not."""
    if key is np.sign and isinstance(args[0], Node) and args[0]._array.dtype.kind == "c":
        return False
    return key in constant_functions


def by_position(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Move keyword arguments that are tensors, as in ``np.sum(a=x)``, to their positions."""
    if not any(isinstance(value, Node) for value in kwargs.values()):
        return args, kwargs
    if not isinstance(function, np.ufunc):  # ufuncs take their operands by position only
        bound = inspect.signature(function).bind(*args, **kwargs)
        args, kwargs = bound.args, bound.kwargs
    checks.check_keywords_have_no_gradient(function, kwargs, records_gradient)
    return args, {name: unwrap(value) for name, value in kwargs.items()}


def as_operands(function: Any, args: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """Turn lists among the first `count` arguments, which are operands, into arrays.

    VJPs compute with them: that of `numpy.power` needs ``y - 1``. Tuples too, but only for ufuncs;
    elsewhere a tuple is a shape or a set of axes. Other lists are copied: the graph keeps them.
    """
    sequences = (list, tuple) if isinstance(function, np.ufunc) else (list,)
    return tuple(
        [as_operand(x, sequences) if i < count else copy_of_list(x) for i, x in enumerate(args)]
    )


def as_operand(x: Any, sequences: tuple[type, ...] = (list, tuple)) -> Any:
    """Turn `sequences`, and tables of other libraries, into arrays; leave the rest as it is.

    The operators of such tables match rows by their labels, those of arrays by position.
    """
    if isinstance(x, sequences) or (
        hasattr(type(x), "__array__")
        and not hasattr(type(x), "__array_function__")
        and not hasattr(x, "recorded_as_array")  # a number that `compile` records
    ):
        return np.asarray(x)
    return x


def copy_of_list(x: Any) -> Any:
    """Copy a list, and the lists in it."""
    return [copy_of_list(item) for item in x] if isinstance(x, list) else x


def as_array(x: ArrayLike, dtype: DTypeLike = None) -> Array:
    """Make an array of a number or a list; a value that `compile` records knows how."""
    return x.recorded_as_array(dtype) if hasattr(x, "recorded_as_array") else np.asarray(x, dtype)


def library_of(x: Any) -> Any:
    """Return what ``like=`` takes, so that a new array is made where the numbers of `x` are.

    None for NumPy's own, also those that `compile` records, and for numbers.
    """
    array = unwrap(x)
    is_foreign = array.__class__ not in checks.PLAIN and hasattr(array, "__array_function__")
    return array if is_foreign and not hasattr(array, "recorded_call") else None


# ------------------------------------------------------------------------------- formulas


def by_formula(
    function: Any, formula: Formula, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Values:
    """Return NumPy's own value with the derivative of a formula.

    The formula may round differently, overflow elsewhere or know fewer options. So unless it is
    exact, its value is not used, and NumPy itself refuses a wrong call.
    """
    kwargs.pop("overwrite_input", None)  # only a permission
    tensors = list(tensors_in((args, tuple(kwargs.values()))))
    requires_grad = any(tensor._requires_grad for tensor in tensors)
    recorded = requires_grad and is_grad_enabled()
    if formula.exact and (recorded or any(map(callable, args))):  # what is called may record
        return formula.compose(*args, **kwargs)
    values = call_on_data(function, args, kwargs)
    if not recorded:
        parameters = [tensor._array for tensor in tensors] if requires_grad else []
        return as_tensors(values, parameters, formula.plain)
    with np.errstate(all="ignore"):  # NumPy's call has given its warnings
        return with_values(formula.compose(*args, **kwargs), values)


def with_values(results: Values, values: Values) -> Values:
    """Give each result of a formula NumPy's value; None stands for a plain result."""
    if results is None:
        return values
    if isinstance(values, (tuple, list)):
        pairs = zip(results, values, strict=True)
        return in_container(values, [with_values(result, value) for result, value in pairs])
    if isinstance(results, Node) and results._requires_grad:
        values = values if hasattr(values, "dtype") else np.asarray(values)
        if values.dtype.kind in "fc":
            return with_value(results, values)
    return as_tensors(values)


@primitive
def with_value(x: Value, value: Array) -> Value:
    """Return `value`, with the derivative of `x`."""
    return value


defvjp(with_value, lambda g, out, x, value: g)


def as_tensors(
    values: Values, parameters: Sequence[Array] = (), plain: tuple[int, ...] = ()
) -> Values:
    """Turn the floating-point arrays in a NumPy result into tensors outside the graph.

    A view of a parameter is copied: the next step must not change it.
    """
    if isinstance(values, (tuple, list)):
        items = [
            value if i in plain else as_tensors(value, parameters) for i, value in enumerate(values)
        ]
        return in_container(values, items)
    if not hasattr(values, "dtype") or values.dtype.kind not in "fc":
        return values
    return new_tensor(unshared(values, parameters) if parameters else values)


def in_container(like: Values, items: list[Value]) -> Values:
    """Put items into a list, tuple or named tuple of the same kind."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


# --------------------------------------------------------------------------- tensors in arguments


def unwrap(value: Any) -> Any:
    """Replace tensors with their data, also inside lists and tuples."""
    if isinstance(value, Node):
        return value._array
    if isinstance(value, (list, tuple)):
        return in_container(value, [unwrap(item) for item in value])
    return value


def look(value: Value) -> Array:
    """Return the numbers themselves, for code that branches on them or raises.

    All such code asks here, so that `compile` sees what depends on values.
    """
    array = unwrap(value)
    return array.looked_at() if hasattr(array, "looked_at") else array


def may_be(condition: Any) -> bool:
    """Tell whether a condition holds, or may hold in a later run of what is being recorded."""
    return hasattr(condition, "looked_at") or bool(condition)


def in_one_call(function: Function) -> Function:
    """Let `compile` record a function that looks at many values as one call; a decorator."""

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        for arg in args:
            if hasattr(arg, "recorded_call"):
                return arg.recorded_call(function, args)
        return function(*args)

    return called


def tensors_in(value: Any) -> Iterator[Node]:
    """Yield the tensors in `value`, also within lists and tuples."""
    if isinstance(value, Node):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def records_gradient(value: Any) -> bool:
    """Tell whether `value` holds, at any depth, a tensor whose gradient is being recorded."""
    return is_grad_enabled() and any(tensor._requires_grad for tensor in tensors_in(value))
