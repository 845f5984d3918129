"""Which calls there is native code for, and what is written for elementwise functions."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np

from .calls import (
    CHECKS,
    IN_PLACE,
    UFUNC_OF,
    Call,
    Method,
    Variable,
    expect,
    is_contiguous,
    is_dense,
    is_plain_index,
)
from .passes import asks, draws
from .places import is_in_steps, is_placed_view, like

#: Up to this many float64 are added one after the other; NumPy adds more than that in pairs, which
#: is more exact. Sums of float32 are computed in float64.
MOST_TERMS = 1024

DTYPES = {np.dtype(name) for name in ("bool", "uint8", "int32", "int64", "float32", "float64")}

COMPARISONS = {
    np.less: "<",
    np.less_equal: "<=",
    np.greater: ">",
    np.greater_equal: ">=",
    np.equal: "==",
    np.not_equal: "!=",
}
#: What is written for an elementwise function. Its operands have been converted to its dtype.
FORMS: dict[Any, str] = {
    np.add: "{0} + {1}",
    np.subtract: "{0} - {1}",
    np.multiply: "{0} * {1}",
    np.true_divide: "{0} / {1}",
    np.negative: "-{0}",
    np.positive: "{0}",
    np.square: "{0} * {0}",
    np.maximum: "({0} if {0} >= {1} or {0} != {0} else {1})",
    np.minimum: "({0} if {0} <= {1} or {0} != {0} else {1})",
    np.bitwise_and: "{0} & {1}",
    np.bitwise_or: "{0} | {1}",
    np.bitwise_xor: "{0} ^ {1}",
    np.power: "{0} ** {1}",
    **{ufunc: f"{{0}} {sign} {{1}}" for ufunc, sign in COMPARISONS.items()},
    # Functions of our own, for float32 and float64, that are computed with vectors of numbers.
    **{ufunc: f"{ufunc.__name__}_{{dtype}}({{0}})" for ufunc in (np.exp, np.log, np.tanh)},
    **{
        ufunc: f"np.{ufunc.__name__}({{0}})"
        for ufunc in (
            *(np.absolute, np.sqrt, np.rint, np.sin, np.cos, np.tan, np.sinh, np.cosh),
            *(np.arcsin, np.arccos, np.arctan, np.log1p, np.expm1),
        )
    },
}
#: Of these, what is there for floats only: NumPy has other rules for integers.
OF_FLOATS = {np.power, np.maximum, np.minimum, np.absolute, np.true_divide}
COPIES = {np.copy, Method("copy")}
#: NumPy's functions and methods for reductions, and the ufuncs that these are of.
REDUCTIONS: dict[Any, Any] = {
    np.sum: np.add,
    np.max: np.maximum,
    np.min: np.minimum,
    Method("sum"): np.add,
    Method("max"): np.maximum,
    Method("min"): np.minimum,
}
#: What makes arrays, and what is in them.
MAKERS: dict[Any, Any] = {
    **dict.fromkeys((np.empty, np.empty_like)),
    **dict.fromkeys((np.zeros, np.zeros_like), "0"),
    **dict.fromkeys((np.ones, np.ones_like), "1"),
}


# ---------------------------------------------------------------------------- what is native


def ufunc_of(call: Call) -> Any:
    """Return the ufunc that a call stands for, if it does."""
    function = call.function
    if function is operator.pow:
        return np.power
    return IN_PLACE.get(function, UFUNC_OF.get(function, function))


def is_known(value: Any) -> bool:
    """Tell whether an argument is of a kind that native code takes."""
    if isinstance(value, Variable):
        if value.dtype is None:
            return value.kind in (float, int, bool)
        if value.is_array:
            return value.dtype in DTYPES and is_in_steps(value)
        return value.dtype in DTYPES and issubclass(value.kind, np.generic)
    if isinstance(value, np.generic):
        return value.dtype in DTYPES
    return type(value) in (float, int, bool)


def dtypes_of_loop(call: Call) -> Any:
    """Return the dtypes to which an elementwise function converts its operands and result."""
    ufunc = ufunc_of(call)
    given: list[Any] = []
    for arg in call.args[: ufunc.nin]:
        if isinstance(arg, (Variable, np.generic)) and arg.dtype is not None:
            given.append(arg.dtype)
        else:
            given.append(arg.kind if isinstance(arg, Variable) else type(arg))
    if all(isinstance(kind, type) for kind in given):
        return None  # Python's numbers stay Python's
    given = [np.dtype(bool) if kind is bool else kind for kind in given]
    integers = all(kind is int or getattr(kind, "kind", "f") in "biu" for kind in given)
    if ufunc in COMPARISONS and integers:
        return (np.dtype(np.int64),) * 2 + (np.dtype(bool),)
    variable_int = any(isinstance(a, Variable) and a.kind is int for a in call.args)
    if variable_int and integers:
        return None  # NumPy raises where it does not fit
    if "dtype" in call.kwargs:  # it is to be computed in a dtype of floats
        return (call.kwargs["dtype"],) * (ufunc.nin + ufunc.nout)
    try:
        dtypes = ufunc.resolve_dtypes((*given, *[None] * ufunc.nout))
    except TypeError:
        return None
    return dtypes if all(dtype in DTYPES for dtype in dtypes) else None


def is_native_elementwise(call: Call) -> bool:
    """Tell whether a call is an elementwise function with native code."""
    ufunc, result = ufunc_of(call), call.result
    if not isinstance(result, Variable) or not is_known(result) or result.dtype is None:
        return False
    if is_conversion(call):
        return True
    if call.function is np.clip:
        return is_native_clip(call)
    if not all(map(is_known, call.args)):
        return False
    if call.function in COPIES:
        return len(call.args) == 1 and not call.kwargs and isinstance(call.args[0], Variable)
    if call.function is np.where:
        return len(call.args) == 3 and isinstance(call.args[0], Variable)
    if not isinstance(ufunc, np.ufunc) or len(call.args) != ufunc.nin:
        return False
    if not call.kwargs.keys() <= {"dtype", "out"}:
        return False
    if call.kwargs.get("dtype", result.dtype) != result.dtype or (
        "dtype" in call.kwargs and (result.dtype.kind != "f" or ufunc in COMPARISONS)
    ):
        return False
    if ufunc is np.invert:
        return bool(result.dtype == bool)
    dtypes = dtypes_of_loop(call) if ufunc in FORMS else None
    if dtypes is None:
        return False
    if ufunc in OF_FLOATS and dtypes[0].kind != "f":
        return False
    if call.writes and (
        (call.function not in IN_PLACE and "out" not in call.kwargs)
        or call.writes != (result,)
        or result.dtype != dtypes[-1]
    ):
        return False
    return bool(dtypes[-1] == result.dtype)


def is_native_clip(call: Call) -> bool:
    """Tell whether a call clips floats to limits of their dtype."""
    x, dtype = call.args[0], call.result.dtype
    return (
        len(call.args) == 3
        and not call.kwargs
        and isinstance(x, Variable)
        and all(limit is None or is_known(limit) for limit in call.args)
        and dtype.kind == "f"
        and x.dtype == dtype
        and all(
            limit is None or type(limit) in (int, float) or getattr(limit, "dtype", None) == dtype
            for limit in call.args[1:]
        )
    )


def is_conversion(call: Call) -> bool:
    """Tell whether a call converts to floats, or from bool."""
    return (
        call.function == Method("astype")
        and len(call.args) == 2
        and not call.kwargs
        and isinstance(call.args[0], Variable)
        and is_known(call.args[0])
        and bool(call.result.dtype.kind == "f" or call.args[0].dtype == bool)
    )


def is_native_view(call: Call) -> bool:
    """Tell whether a call makes a view, for which native code does nothing."""
    if not is_placed_view(call) or not all(map(is_known, (call.args[0], call.result))):
        return False
    return call.function is not operator.getitem or is_plain_index(call.args[1])


def is_flat_copy(call: Call) -> bool:
    """Tell whether a call copies an array in the order of rows, to give it another shape."""
    source, result = call.args[0] if call.args else None, call.result
    return (
        call.function in (np.reshape, np.ravel, Method("reshape"), Method("ravel"))
        and isinstance(source, Variable)
        and source.is_array
        and is_known(source)
        and result.storage is not source.storage
        and result.dtype == source.dtype
        and is_contiguous(result)
        and call.kwargs.get("order", "C") == "C"
        and list(call.operands()) == [source]
    )


def is_element(call: Call) -> bool:
    """Tell whether a call takes one number out of an array."""
    if call.function is not operator.getitem or not is_plain_index(call.args[1]):
        return False
    result, source = call.result, call.args[0]
    return (
        isinstance(result, Variable)
        and not result.is_array
        and is_known(result)
        and (isinstance(source, Variable) and source.is_array)
    )


def is_choice(call: Call) -> bool:
    """Tell whether a call takes those numbers out of an array that a mask marks."""
    if call.function is not operator.getitem or not isinstance(call.args[1], Variable):
        return False
    (source, mask), result = call.args, call.result
    return (
        is_known(source)
        and source.is_array
        and mask.is_array
        and bool(mask.dtype == bool)
        and mask.shape == source.shape
        and is_contiguous(result)
    )


def is_product(call: Call) -> bool:
    """Tell whether a call is a product of matrices that BLAS can take as they are."""
    if call.function not in (np.dot, np.matmul, operator.matmul) or call.kwargs:
        return False
    result = call.result
    if len(call.args) != 2 or not all(isinstance(arg, Variable) for arg in call.args):
        return False
    if not isinstance(result, Variable) or not result.is_array or result in call.writes:
        return False
    ranks = [len(arg.shape) for arg in call.args]
    if ranks != [2, 2] and (call.function is np.dot or min(ranks) < 2):
        return False
    return is_contiguous(result) and all(
        arg.dtype == result.dtype
        and arg.dtype in DTYPES
        and arg.dtype.kind == "f"
        and 0 not in arg.shape
        and is_of_blas(arg)
        for arg in call.args
    )


def is_of_blas(matrix: Variable) -> bool:
    """Tell whether the elements of a matrix, or of many, lie one after the other in one axis."""
    *_, row, column = zip(matrix.shape, matrix.strides, strict=True)
    return any(
        (y[1] == matrix.dtype.itemsize or y[0] == 1)
        and (x[1] >= y[0] * matrix.dtype.itemsize or x[0] == 1)
        for x, y in ((row, column), (column, row))
    )


@dataclasses.dataclass(frozen=True)
class Reduction:
    """What a call computes of all elements along some axes.

    Attributes
    ----------
    kind
        The name of the ufunc, or ``"count"``.
    arrays
        What is reduced: one array, or several whose product is, of one shape.
    axes
        The axes along which it is; the others stay.
    """

    kind: str
    arrays: tuple[Variable, ...]
    axes: tuple[int, ...]


#: Functions of masks, and the kinds of reductions that they are.
OF_MASKS: dict[Any, str] = {
    np.count_nonzero: "count",
    np.any: "logical_or",
    np.all: "logical_and",
    Method("any"): "logical_or",
    Method("all"): "logical_and",
}


def reduction(call: Call) -> Reduction | None:
    """Return the reduction that a call is, if there is native code for it."""
    result = call.result
    if not isinstance(result, Variable) or not is_known(result) or result.dtype is None:
        return None
    if call.writes or (result.is_array and not is_contiguous(result)):
        return None
    found = of_einsum(call) if call.function is np.einsum else of_axes(call)
    if found is None or not all(map(is_known, found.arrays)) or 0 in found.arrays[0].shape:
        return None
    return found


def of_einsum(call: Call) -> Reduction | None:
    """Return the sum of products that an einsum is, if all its operands have all axes."""
    *given, kept = call.args
    arrays, axes = given[::2], given[1::2]
    if call.kwargs or len(given) % 2 or type(kept) is not list or not 0 < len(arrays) < 3:
        return None
    rank = len(axes[0])
    if axes[0] != [*range(rank)] or any(x != axes[0] for x in axes) or kept != sorted({*kept}):
        return None
    if any(not isinstance(x, Variable) or x.shape != arrays[0].shape for x in arrays):
        return None
    if any(x.dtype != call.result.dtype or x.dtype.kind != "f" for x in arrays):
        return None
    return Reduction("add", tuple(arrays), tuple([i for i in range(rank) if i not in kept]))


def of_axes(call: Call) -> Reduction | None:
    """Return the reduction of one array that a call is."""
    function, result = call.function, call.result
    source = call.args[0] if call.args else None
    if not isinstance(source, Variable) or not source.is_array or len(call.args) > 2:
        return None
    if function in OF_MASKS:
        kind = OF_MASKS[function]
        if source.dtype != bool or not call.kwargs.keys() <= {"axis", "keepdims"}:
            return None
    else:
        if reduced_by(function) not in REDUCTIONS.values():
            return None
        kind = reduced_by(function).__name__
        if not call.kwargs.keys() <= {"axis", "keepdims", "dtype"}:
            return None
        if source.dtype != result.dtype or source.dtype.kind != "f":
            return None
        if call.kwargs.get("dtype") not in (None, source.dtype):
            return None
    of_all = 0 if getattr(function, "__name__", "") == "reduce" else None
    axes: Any = call.args[1] if len(call.args) > 1 else call.kwargs.get("axis", of_all)
    rank = len(source.shape)
    if axes is None:
        axes = tuple(range(rank))
    elif type(axes) is int:
        axes = (axes,)
    if type(axes) is not tuple or not all(type(axis) is int for axis in axes):
        return None
    axes = tuple(sorted(axis % rank for axis in axes))
    terms = math.prod(source.shape[axis] for axis in axes)
    if kind == "add" and source.dtype == np.float64 and terms > MOST_TERMS:
        return None
    return Reduction(kind, (source,), axes)


def reduced_by(function: Any) -> Any:
    """Return the ufunc that a function reduces by, or None."""
    if getattr(function, "__name__", "") == "reduce":
        return function.__self__
    return REDUCTIONS.get(function)


def is_filling(call: Call) -> bool:
    """Tell whether a call writes numbers into a part of an array."""
    if call.function is not operator.setitem or not is_plain_index(call.args[1]):
        return False
    target, _, value = call.args
    if not (is_known(target) and is_known(value) and 0 not in target.shape):
        return False
    if isinstance(value, Variable) and value.is_array:
        rank = like(target)[call.args[1]].ndim
        fits = bool(value.dtype == target.dtype) and len(value.shape) <= rank
        return fits and not may_overlap(value, target)
    return True


def is_filling_of_itself(call: Call) -> bool:
    """Tell whether a call writes into a part of an array what is in the same memory."""
    if call.function is not operator.setitem or not is_plain_index(call.args[1]):
        return False
    target, _, value = call.args
    is_array = isinstance(value, Variable) and value.is_array
    return is_array and value.storage is target.storage and is_known(target) and is_known(value)


def is_native_check(call: Call) -> bool:
    """Tell whether a call is a check of one number that native code can make."""
    if call.function is not expect:
        return False
    convert, value, expected = call.args
    is_number = isinstance(value, Variable) and not value.is_array and value.dtype in DTYPES
    return convert in (bool, operator.index) and is_number and type(expected) in (bool, int)


def is_native(call: Call) -> bool:
    """Tell whether there is native code for a call."""
    if is_native_check(call):
        return True
    if call.function in CHECKS or draws(call) or asks(call):
        return False
    if call.function is operator.setitem:
        return is_filling(call)
    if is_native_view(call) or is_element(call):
        return True
    result = call.result
    if not isinstance(result, Variable):
        return False
    if result.is_array and result not in call.writes and not is_dense(result):
        return False
    if call.function in MAKERS:
        return is_known(result) and result.is_array and "subok" not in call.kwargs
    if is_native_elementwise(call):
        if call.writes:  # NumPy sees where what is read overlaps with what is written
            (target,) = call.writes
            return all(v is target or not may_overlap(v, target) for v in call.operands())
        return True
    return is_choice(call) or is_product(call) or is_flat_copy(call) or reduction(call) is not None


def may_overlap(x: Variable, y: Variable) -> bool:
    """Tell whether two arrays may lie in the same memory."""
    if not (x.is_array and y.is_array):
        return False
    return x.storage is y.storage or (x.storage.external and y.storage.external)
