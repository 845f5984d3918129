"""The table: NumPy's functions and their derivatives, one line each.

``defvjp(f, vjp_of_first_argument, ...)``: each VJP gets the cotangent ``g`` of the result, the
result ``out`` and the arguments, and returns the argument's cotangent, g times d out / d argument.
Broadcasting is undone by the engine. VJPs use NumPy functions only, so that they can themselves
be differentiated.

Conventions where no derivative exists: equal elements that compete (``max``, ``maximum``,
``sort``) share the gradient evenly; ``abs`` has 0 at 0, ``std`` 0 where all elements are equal,
``clip`` 1 at its bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .engine import defvjp, primitive
from .tensor import constant_functions, stand_ins, unwrap

# ----------------------------------------------- functions without a derivative: plain arrays

constant_functions.update(
    # comparisons and logic
    [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal, np.isclose],
    [np.logical_and, np.logical_or, np.logical_xor, np.logical_not, np.allclose, np.array_equal],
    [np.all, np.any, np.isnan, np.isinf, np.isfinite, np.signbit, np.isin, np.array_equiv],
    [np.isposinf, np.isneginf, np.iscomplex, np.isreal, np.iscomplexobj, np.isrealobj],
    # piecewise constant
    [np.floor, np.ceil, np.trunc, np.fix, np.rint, np.round, np.around, np.sign, np.heaviside],
    [np.floor_divide, np.spacing, np.digitize, np.searchsorted, np.histogram, np.bincount],
    [np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift],
    # positions and counts
    [np.argmax, np.argmin, np.nanargmax, np.nanargmin, np.argsort, np.argpartition, np.lexsort],
    [np.nonzero, np.flatnonzero, np.argwhere, np.count_nonzero],
    # shapes and types
    [np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.min_scalar_type],
    [np.zeros_like, np.ones_like, np.empty_like, np.full_like],
    [np.array_repr, np.array_str, np.array2string],
)
for ufunc in (np.logical_and, np.logical_or, np.logical_xor):
    constant_functions.update([(ufunc, method) for method in ("reduce", "accumulate", "outer")])

# ------------------------------------------------------------------- elementwise, one argument

LOG_2 = math.log(2.0)
LOG_10 = math.log(10.0)

defvjp(np.negative, lambda g, out, x: -g)
defvjp(np.positive, lambda g, out, x: g)
defvjp(np.absolute, lambda g, out, x: g * np.sign(x))
defvjp(np.fabs, lambda g, out, x: g * np.sign(x))
defvjp(np.square, lambda g, out, x: g * 2 * x)
defvjp(np.sqrt, lambda g, out, x: g / (2 * out))
defvjp(np.cbrt, lambda g, out, x: g / (3 * out**2))
defvjp(np.reciprocal, lambda g, out, x: -g * out**2)

defvjp(np.exp, lambda g, out, x: g * out)
defvjp(np.exp2, lambda g, out, x: g * out * LOG_2)
defvjp(np.expm1, lambda g, out, x: g * np.exp(x))
defvjp(np.log, lambda g, out, x: g / x)
defvjp(np.log2, lambda g, out, x: g / (x * LOG_2))
defvjp(np.log10, lambda g, out, x: g / (x * LOG_10))
defvjp(np.log1p, lambda g, out, x: g / (1 + x))

defvjp(np.sin, lambda g, out, x: g * np.cos(x))
defvjp(np.cos, lambda g, out, x: -g * np.sin(x))
defvjp(np.tan, lambda g, out, x: g * (1 + out**2))
defvjp(np.arcsin, lambda g, out, x: g / np.sqrt(1 - x**2))
defvjp(np.arccos, lambda g, out, x: -g / np.sqrt(1 - x**2))
defvjp(np.arctan, lambda g, out, x: g / (1 + x**2))
defvjp(np.sinh, lambda g, out, x: g * np.cosh(x))
defvjp(np.cosh, lambda g, out, x: g * np.sinh(x))
defvjp(np.tanh, lambda g, out, x: g * (1 - out**2))
defvjp(np.arcsinh, lambda g, out, x: g / np.sqrt(x**2 + 1))
defvjp(np.arccosh, lambda g, out, x: g / np.sqrt(x**2 - 1))
defvjp(np.arctanh, lambda g, out, x: g / (1 - x**2))

defvjp(np.deg2rad, lambda g, out, x: g * (math.pi / 180))
defvjp(np.radians, lambda g, out, x: g * (math.pi / 180))
defvjp(np.rad2deg, lambda g, out, x: g * (180 / math.pi))
defvjp(np.degrees, lambda g, out, x: g * (180 / math.pi))

# ------------------------------------------------------------------ elementwise, two arguments


def power_vjp_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``y x^(y-1)``, which is 0 for ``y = 0`` also at ``x = 0``, where 0 * x^-1 would be nan."""
    if isinstance(y, (int, float)):
        return g * (y * x ** (y - 1)) if y != 0 else g * np.zeros_like(x)
    return g * y * x ** np.where(y == 0, 1, y - 1)


def power_vjp_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``x^y log x``, which is taken as 0 for ``x = 0``, where 0 * log 0 would be nan."""
    return g * out * np.log(np.where(x == 0, 1, x))


def share_ties(g: Any, wins: Any, ties: Any) -> Any:
    """Give `g` to the winners of a comparison, and half of it where there is a tie."""
    return np.where(ties, g / 2, np.where(wins, g, 0))


defvjp(np.add, lambda g, out, x, y: g, lambda g, out, x, y: g)
defvjp(np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g)
defvjp(np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)
defvjp(np.true_divide, lambda g, out, x, y: g / y, lambda g, out, x, y: -g * out / y)
defvjp(np.power, power_vjp_base, power_vjp_exponent)
defvjp(np.float_power, power_vjp_base, power_vjp_exponent)
defvjp(np.remainder, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.floor_divide(x, y))
defvjp(np.fmod, lambda g, out, x, y: g, lambda g, out, x, y: -g * np.trunc(x / y))
# maximum and minimum are nan where either argument is: a nan wins.
defvjp(
    np.maximum,
    lambda g, out, x, y: share_ties(g, np.greater(x, y) | np.isnan(x), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.greater(y, x) | np.isnan(y), np.equal(x, y)),
)
defvjp(
    np.minimum,
    lambda g, out, x, y: share_ties(g, np.less(x, y) | np.isnan(x), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.less(y, x) | np.isnan(y), np.equal(x, y)),
)
# fmax and fmin pass over a nan, unless both are.
defvjp(
    np.fmax,
    lambda g, out, x, y: share_ties(g, np.greater(x, y) | np.isnan(y), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.greater(y, x) | np.isnan(x), np.equal(x, y)),
)
defvjp(
    np.fmin,
    lambda g, out, x, y: share_ties(g, np.less(x, y) | np.isnan(y), np.equal(x, y)),
    lambda g, out, x, y: share_ties(g, np.less(y, x) | np.isnan(x), np.equal(x, y)),
)
defvjp(np.hypot, lambda g, out, x, y: g * x / out, lambda g, out, x, y: g * y / out)
defvjp(
    np.arctan2,
    lambda g, out, y, x: g * x / (x**2 + y**2),
    lambda g, out, y, x: -g * y / (x**2 + y**2),
)
defvjp(
    np.logaddexp,
    lambda g, out, x, y: g * np.exp(x - out),
    lambda g, out, x, y: g * np.exp(y - out),
)
defvjp(
    np.logaddexp2,
    lambda g, out, x, y: g * np.exp2(x - out),
    lambda g, out, x, y: g * np.exp2(y - out),
)
defvjp(
    np.copysign,
    lambda g, out, x, y: g * np.sign(x) * np.copysign(1.0, unwrap(y)),
    lambda g, out, x, y: np.zeros_like(g),
)
defvjp(np.ldexp, lambda g, out, x, exponent: np.ldexp(g, exponent))

# ------------------------------------------------------------------------------- reductions


def expand(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Put back the axes that a reduction of `x` over `axis` removed, as axes of length 1."""
    if keepdims or axis is None:
        return np.reshape(g, g.shape if keepdims else (1,) * x.ndim)
    return np.expand_dims(g, axis)


def count(x: Any, axis: Any) -> int:
    """Count the elements of `x` that one result of a reduction over `axis` is made of."""
    if axis is None:
        return int(x.size)
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[a] for a in axes)


def extremum_vjp(g: Any, out: Any, x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Share the cotangent evenly among the elements that equal the largest or smallest."""
    winners = np.equal(x, unwrap(expand(out, x, axis, keepdims))) | np.isnan(x)  # nan wins
    ties = np.sum(winners, axis=axis, keepdims=True, dtype=g.dtype)
    return np.where(winners, expand(g, x, axis, keepdims) / ties, 0)


def var_vjp(
    g: Any, out: Any, x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    """Differentiate: d var / d x = 2 (x - mean) / (n - ddof)."""
    centered = x - np.mean(x, axis=axis, keepdims=True)
    return expand(g, x, axis, keepdims) * 2 * centered / (count(x, axis) - ddof)


def std_vjp(
    g: Any, out: Any, x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False
) -> Any:
    """Differentiate: d std / d x = (x - mean) / ((n - ddof) std); 0 where all are equal."""
    spread = expand(out, x, axis, keepdims)
    centered = x - np.mean(x, axis=axis, keepdims=True)
    slope = centered / ((count(x, axis) - ddof) * np.where(spread == 0, 1, spread))
    return expand(g, x, axis, keepdims) * slope


def cumsum_vjp(g: Any, out: Any, x: Any, axis: Any = None) -> Any:
    """Sum from the end: an element is part of its own and of all later sums."""
    along = -1 if axis is None else axis
    total = np.flip(np.cumsum(np.flip(g, along), along), along)
    return np.reshape(total, x.shape)


defvjp(
    np.sum,
    lambda g, out, x, axis=None, dtype=None, *, keepdims=False: np.broadcast_to(
        expand(g, x, axis, keepdims), x.shape
    ),
)
defvjp(
    np.mean,
    lambda g, out, x, axis=None, dtype=None, *, keepdims=False: np.broadcast_to(
        expand(g, x, axis, keepdims) / count(x, axis), x.shape
    ),
)
defvjp(np.max, extremum_vjp)
defvjp(np.min, extremum_vjp)
defvjp(np.var, var_vjp)
defvjp(np.std, std_vjp)
defvjp(np.cumsum, cumsum_vjp)

# ------------------------------------------------------------------- products of matrices


def matmul_vjp_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``g y^T``; a 1-D operand is a row on the left and a column on the right."""
    if y.ndim == 1:
        return g * y if x.ndim == 1 else np.expand_dims(g, -1) * y
    if x.ndim == 1:
        return np.squeeze(y @ np.expand_dims(g, -1), -1)
    return g @ np.swapaxes(y, -1, -2)


def matmul_vjp_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    """``x^T g``; a 1-D operand is a row on the left and a column on the right."""
    if x.ndim == 1:
        return g * x if y.ndim == 1 else np.expand_dims(x, -1) * np.expand_dims(g, -2)
    if y.ndim == 1:
        return np.squeeze(np.swapaxes(x, -1, -2) @ np.expand_dims(g, -1), -1)
    if y.ndim == 2:  # one product for the whole batch, instead of a stack of them to be summed
        rows = math.prod(x.shape[:-1])
        return np.reshape(x, (rows, x.shape[-1])).T @ np.reshape(g, (rows, g.shape[-1]))
    return np.swapaxes(x, -1, -2) @ g


defvjp(np.matmul, matmul_vjp_left, matmul_vjp_right)


def einsum_vjp(
    g: Any, out: Any, needed: Any, *operands: Any, subscripts: str, optimize: Any = False
) -> list[Any]:
    """Another einsum each: swap the operand's subscripts with those of the result.

    With ``out_ij = x_ik y_kj``, the cotangent of x is ``g_x_ik = g_ij y_kj``. A subscript that
    only this operand has was summed over, so its cotangent is the same along it: that takes a
    vector of ones. One that it has twice ran along the diagonal: that takes an identity matrix.
    """
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    cotangents: list[Any] = [None] * len(operands)
    for i, operand in enumerate(operands):
        if not needed[i]:
            continue
        others = [j for j in range(len(operands)) if j != i]
        factors = [g, *(operands[j] for j in others)]
        letters = [output, *(terms[j] for j in others)]
        wanted = ""
        for axis, letter in enumerate(terms[i]):
            length = operand.shape[axis]
            if letter in wanted:
                twin = next(c for c in LETTERS if c not in subscripts + wanted)
                factors.append(np.eye(length, dtype=g.dtype))
                letters.append(letter + twin)
                letter = twin
            elif not any(
                letter in term and factor.shape[term.index(letter)] == length
                for term, factor in zip(letters, factors, strict=True)
            ):  # in none of the others, or in those of length 1 that are broadcast
                factors.append(np.ones(length, dtype=g.dtype))
                letters.append(letter)
            wanted += letter
        cotangents[i] = np.einsum(f"{','.join(letters)}->{wanted}", *factors, optimize=optimize)
    return cotangents


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@primitive
def einsum(*operands: Any, subscripts: str, optimize: Any = False) -> Any:
    """Einsum with explicit subscripts: a letter for each axis, and those of the result."""
    return np.einsum(subscripts, *operands, optimize=optimize)


defvjp(einsum, joint=einsum_vjp)


def explicit_subscripts(subscripts: str, shapes: list[tuple[int, ...]]) -> str:
    """Write out an ellipsis and an implicit result: ``"...i,i"`` becomes ``"ai,i->a"``."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum {subscripts!r} has {len(terms)} terms, got {len(shapes)} arrays")
    free = "".join(c for c in LETTERS if c not in subscripts)  # the last ones name "..." axes
    most = 0
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        if "..." in term:
            axes = len(shape) - len(term) + 3
            if axes < 0:
                raise ValueError(f"einsum term {term!r} does not fit an array of shape {shape}")
            most = max(most, axes)
            terms[i] = term.replace("...", free[-axes:] if axes else "")
        elif len(term) != len(shape):
            raise ValueError(f"einsum term {term!r} does not fit an array of shape {shape}")
    batch = free[-most:] if most else ""
    if arrow:
        output = output.replace("...", batch)
    else:
        joined = "".join(terms)
        output = batch + "".join(
            c for c in sorted(set(joined)) if joined.count(c) == 1 and c not in batch
        )
    return ",".join(terms) + "->" + output


# -------------------------------------------------------------------- shapes and selections

defvjp(np.reshape, lambda g, out, x, shape, order="C": np.reshape(g, x.shape, order=order))
defvjp(np.expand_dims, lambda g, out, x, axis: np.reshape(g, x.shape))
defvjp(np.squeeze, lambda g, out, x, axis=None: np.reshape(g, x.shape))
defvjp(np.swapaxes, lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2))
defvjp(np.moveaxis, lambda g, out, x, source, destination: np.moveaxis(g, destination, source))
defvjp(
    np.transpose,
    lambda g, out, x, axes=None: np.transpose(
        g, None if axes is None else np.argsort([axis % x.ndim for axis in axes])
    ),
)
defvjp(np.broadcast_to, lambda g, out, x, shape: g)
defvjp(np.copy, lambda g, out, x, order="K": g)
defvjp(
    np.where,
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
)


@primitive
def pick(x: Any, numbers: Any) -> Any:
    """Pick elements of `x` by their number, counted from 1 in C order; number 0 is a zero."""
    return np.concatenate([np.zeros_like(x, shape=1), np.ravel(x)])[numbers]


@primitive
def put_back(g: Any, numbers: Any, shape: tuple[int, ...]) -> Any:
    """Add up what was picked from each element: the transpose of `pick`."""
    total = np.zeros_like(g, shape=math.prod(shape) + 1)
    np.add.at(total, np.ravel(numbers), np.ravel(g))
    return np.reshape(total[1:], shape)


defvjp(pick, lambda h, out, g, numbers: put_back(h, numbers, g.shape))
defvjp(put_back, lambda h, out, g, numbers, shape: pick(h, numbers))


def selection_vjp(function: Callable[..., Any]) -> Callable[..., Any]:
    """Differentiate any function that only moves, repeats or drops elements of its argument.

    Called on the numbers of the elements instead of their values, the function itself tells
    where each element of its result came from, or, where it is 0, that it is a constant zero.
    """

    def vjp(g: Any, out: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        numbers = function(np.reshape(np.arange(1, x.size + 1), x.shape), *args, **kwargs)
        return put_back(g, numbers, x.shape)

    return vjp


SELECTIONS: list[Callable[..., Any]] = [
    *(np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.rollaxis),
    *(np.repeat, np.tile, np.resize, np.take, np.take_along_axis, np.delete),
    *(np.diag, np.diagflat, np.diagonal, np.tril, np.triu),
]
for selection in SELECTIONS:
    defvjp(selection, selection_vjp(selection))


def sort_vjp(g: Any, out: Any, x: Any, axis: int = -1, kind: Any = None) -> Any:
    """Send each cotangent to where its element came from."""
    shape = x.shape
    if axis is None:
        x, axis = np.reshape(x, -1), 0
    order = np.argsort(x, axis=axis, kind="stable")
    shared = average_over_ties(g, unwrap(out), axis)
    return np.reshape(np.take_along_axis(shared, np.argsort(order, axis=axis), axis=axis), shape)


@primitive
def average_over_ties(g: Any, ordered: Any, axis: int) -> Any:
    """Replace the cotangents of each run of equal elements in `ordered` by their mean."""
    ordered = np.moveaxis(ordered, axis, -1)
    starts = np.ones_like(ordered, dtype=bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    if np.all(starts):
        return g
    run = np.cumsum(starts) - 1
    along = np.moveaxis(g, axis, -1)
    mean = np.bincount(run, weights=np.ravel(along)) / np.bincount(run)
    return np.moveaxis(np.reshape(mean[run], along.shape), -1, axis).astype(g.dtype)


defvjp(np.sort, sort_vjp)
defvjp(average_over_ties, lambda h, out, g, ordered, axis: average_over_ties(h, ordered, axis))


@primitive
def clip(x: Any, low: Any, high: Any) -> Any:
    """Limit `x` to ``[low, high]``; either may be None."""
    return np.clip(x, low, high)


def clip_vjp_low(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """The lower limit shows where `x` is below it, unless the upper one is lower still."""
    shows = np.less(x, low) if high is None else np.less(x, low) & np.less_equal(low, high)
    return np.where(shows, g, 0)


def clip_vjp_high(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """The upper limit shows where `x`, or the lower limit, is above it."""
    shows = np.greater(x, high) if low is None else np.greater(np.maximum(x, low), high)
    return np.where(shows, g, 0)


def clip_vjp(g: Any, out: Any, x: Any, low: Any, high: Any) -> Any:
    """Inside and at the limits, the result is `x` itself."""
    below = False if low is None else np.less(x, low)
    above = False if high is None else np.greater(x, high)
    return np.where(np.logical_or(below, above), 0, g)


defvjp(clip, clip_vjp, clip_vjp_low, clip_vjp_high)


def concatenate_vjp(g: Any, out: Any, needed: Any, *arrays: Any, axis: int = 0) -> list[Any]:
    """Cut the cotangent where the arrays were joined."""
    before = (slice(None),) * (axis % g.ndim)
    cotangents = []
    start = 0
    for array in arrays:
        end = start + array.shape[axis]
        cotangents.append(g[(*before, slice(start, end))])
        start = end
    return cotangents


@primitive
def concatenate(*arrays: Any, axis: int = 0) -> Any:
    """Join arrays along an existing axis."""
    return np.concatenate(arrays, axis)


defvjp(concatenate, joint=concatenate_vjp)

# --------------------------------------------- functions built from others: called in their stead


def stands_in_for(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what is called on tensors instead of NumPy functions; a decorator."""

    def register(stand_in: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            stand_ins[function] = stand_in
        return stand_in

    return register


stand_ins[np.amax] = np.max
stand_ins[np.amin] = np.min


@stands_in_for(np.concatenate)
def _concatenate(arrays: Any, axis: int | None = 0) -> Any:
    if axis is None:
        return concatenate(*[np.reshape(array, -1) for array in arrays])
    return concatenate(*[as_array(array) for array in arrays], axis=axis)


def as_array(value: Any) -> Any:
    """Make lists and numbers arrays; leave tensors and arrays as they are."""
    return value if hasattr(value, "__array_function__") else np.asarray(value)


@stands_in_for(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Any:
    arrays = [as_array(array) for array in arrays]
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(
            "np.stack needs arrays of one shape, got "
            + (", ".join(str(array.shape) for array in arrays) or "no arrays")
        )
    return np.concatenate([np.expand_dims(array, axis) for array in arrays], axis)


@stands_in_for(np.vstack)
def _vstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_2d(array) for array in tup], 0)


@stands_in_for(np.hstack)
def _hstack(tup: Any) -> Any:
    arrays = [np.atleast_1d(array) for array in tup]
    return np.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@stands_in_for(np.dstack)
def _dstack(tup: Any) -> Any:
    return np.concatenate([np.atleast_3d(array) for array in tup], 2)


@stands_in_for(np.column_stack)
def _column_stack(tup: Any) -> Any:
    arrays = [as_array(array) for array in tup]
    return np.concatenate([a if a.ndim >= 2 else np.reshape(a, (-1, 1)) for a in arrays], 1)


@stands_in_for(np.append)
def _append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return np.concatenate([arr, values], axis)


def at_least(ndim: int) -> Callable[..., Any]:
    """Make ``np.atleast_1d`` and its siblings, which take one array or several."""

    def single(x: Any) -> Any:
        x = as_array(x)
        if x.ndim >= ndim:
            return x
        if ndim == 3 and x.ndim == 2:
            return np.expand_dims(x, 2)
        return np.reshape(x, {1: (1,), 2: (1, -1), 3: (1, -1, 1)}[ndim])

    def several(*arys: Any) -> Any:
        return single(arys[0]) if len(arys) == 1 else tuple(single(x) for x in arys)

    return several


stand_ins[np.atleast_1d] = at_least(1)
stand_ins[np.atleast_2d] = at_least(2)
stand_ins[np.atleast_3d] = at_least(3)


@stands_in_for(np.ravel)
def _ravel(a: Any, order: Any = "C") -> Any:
    return np.reshape(a, -1, order=order)


def split_like(splitter: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that splits a tensor where `splitter` splits the numbers of its rows."""

    def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
        before = (slice(None),) * (axis % ary.ndim)
        parts = []
        for rows in splitter(np.arange(ary.shape[axis]), indices_or_sections):
            start = int(rows[0]) if rows.size else 0
            parts.append(ary[(*before, slice(start, start + rows.size))])
        return parts

    return split


stand_ins[np.split] = split_like(np.split)
stand_ins[np.array_split] = split_like(np.array_split)


@stands_in_for(np.hsplit)
def _hsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@stands_in_for(np.vsplit)
def _vsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 0)


@stands_in_for(np.dsplit)
def _dsplit(ary: Any, indices_or_sections: Any) -> Any:
    return np.split(ary, indices_or_sections, 2)


@stands_in_for(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return clip(a, a_min if min is None else min, a_max if max is None else max)


@stands_in_for(np.prod)
def _prod(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    # Multiplying pairs, then pairs of pairs, ... has the exact derivative of every order also
    # at zeros, where out / x would be 0 / 0.
    if axis is None:
        axis = tuple(range(a.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for ax in axes:
        a = np.moveaxis(a, ax, 0)
        while len(a) > 1:
            half = len(a) // 2
            pairs = a[:half] * a[half : 2 * half]
            a = pairs if len(a) % 2 == 0 else np.concatenate([pairs, a[-1:]])
        if len(a) == 0:
            a = np.concatenate([a, np.ones((1, *a.shape[1:]), a.dtype)])
        a = np.moveaxis(a, 0, ax)
    return a if keepdims else np.squeeze(a, axes)


@stands_in_for(np.cumprod)
def _cumprod(a: Any, axis: int | None = None) -> Any:
    # After the k-th step each element is the product of the last 2^k elements up to it.
    a = np.reshape(a, -1) if axis is None else np.moveaxis(a, axis, 0)
    step = 1
    while step < len(a):
        a = np.concatenate([a[:step], a[step:] * a[:-step]])
        step *= 2
    return a if axis is None else np.moveaxis(a, 0, axis)


@stands_in_for(np.ptp)
def _ptp(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


@stands_in_for(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    a = np.moveaxis(a, axis, 0)
    for _ in range(n):
        a = a[1:] - a[:-1]
    return np.moveaxis(a, 0, axis)


@stands_in_for(np.dot)
def _dot(a: Any, b: Any) -> Any:
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    if a.ndim <= 2 and b.ndim <= 2:
        return np.matmul(a, b)
    return np.tensordot(a, b, (-1, max(b.ndim - 2, 0)))


@stands_in_for(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    # Bring the axes that are summed over to the end of a and the beginning of b.
    a, b = as_array(a), as_array(b)
    if isinstance(axes, int):
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    a_axes, b_axes = [
        [axis % x.ndim for axis in ([part] if isinstance(part, int) else part)]
        for x, part in zip((a, b), axes, strict=True)
    ]
    a_free = [axis for axis in range(a.ndim) if axis not in a_axes]
    b_free = [axis for axis in range(b.ndim) if axis not in b_axes]
    if [a.shape[axis] for axis in a_axes] != [b.shape[axis] for axis in b_axes]:
        raise ValueError(
            f"tensordot cannot sum over axes {a_axes} of shape {a.shape} and axes {b_axes} of "
            f"shape {b.shape}: their lengths differ"
        )
    shared = math.prod(a.shape[axis] for axis in a_axes)
    a_shape, b_shape = [a.shape[axis] for axis in a_free], [b.shape[axis] for axis in b_free]
    rows = np.reshape(np.transpose(a, a_free + a_axes), (math.prod(a_shape), shared))
    columns = np.reshape(np.transpose(b, b_axes + b_free), (shared, math.prod(b_shape)))
    return np.reshape(rows @ columns, (*a_shape, *b_shape))


@stands_in_for(np.inner)
def _inner(a: Any, b: Any) -> Any:
    a, b = as_array(a), as_array(b)
    return a * b if a.ndim == 0 or b.ndim == 0 else np.tensordot(a, b, (-1, -1))


@stands_in_for(np.outer)
def _outer(a: Any, b: Any) -> Any:
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


@stands_in_for(np.vdot)
def _vdot(a: Any, b: Any) -> Any:
    return np.matmul(np.reshape(a, -1), np.reshape(b, -1))


@stands_in_for(np.trace)
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1)


@stands_in_for(np.einsum)
def _einsum(*operands: Any, optimize: Any = False) -> Any:
    if not isinstance(operands[0], str):
        raise TypeError(
            "np.einsum on tensors takes its subscripts as a string, "
            "np.einsum('ij,jk->ik', x, y), not as lists of numbers"
        )
    arrays = [as_array(operand) for operand in operands[1:]]
    subscripts = explicit_subscripts(operands[0], [array.shape for array in arrays])
    return einsum(*arrays, subscripts=subscripts, optimize=optimize)


# ------------------------------------------------------------------------ methods of ufuncs


def reduce_with(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for ``ufunc.reduce``, whose axis is 0 where the function's is None."""

    def reduce(array: Any, axis: Any = 0, *, keepdims: bool = False) -> Any:
        return function(array, axis=axis, keepdims=keepdims)

    return reduce


def accumulate_with(function: Callable[..., Any]) -> Callable[..., Any]:
    """Stand in for ``ufunc.accumulate``, whose axis is 0 where the function's is None."""

    def accumulate(array: Any, axis: int = 0) -> Any:
        return function(array, axis=axis)

    return accumulate


stand_ins[(np.add, "reduce")] = reduce_with(np.sum)
stand_ins[(np.multiply, "reduce")] = reduce_with(np.prod)
stand_ins[(np.maximum, "reduce")] = reduce_with(np.max)
stand_ins[(np.minimum, "reduce")] = reduce_with(np.min)
stand_ins[(np.add, "accumulate")] = accumulate_with(np.cumsum)
stand_ins[(np.multiply, "accumulate")] = accumulate_with(np.cumprod)
