"""Functions that move elements: reshape, select, repeat, join and split.

A function that only moves, repeats or drops elements has one VJP, whichever it is: run it on the
numbers of the elements, see where each one went, and bring its cotangent back (`selection_vjp`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..dispatch import data_of, formula, library_of, needs_recording
from ..engine import defvjp, primitive
from ..kinds import (
    NUMPY_CLASSES,
    Array,
    ArrayLike,
    Axis,
    DTypeLike,
    Function,
    Index,
    Option,
    Shape,
    Value,
    Values,
)
from ..tensor import Tensor
from ..traced import in_one_call
from .rules import as_array, as_arrays, filled

# ------------------------------------------------------------------------------------- axes


def reshape_vjp(
    g: Value, out: Value, x: Value, shape: Shape | int | None, order: Option = "C"
) -> Value:
    """Read the cotangent in the order in which `x` was read."""
    if order == "A":  # as in memory, that of x and not of g
        order = "F" if data_of(x).flags.fnc else "C"
    if order == "K":  # in which only ravel reads
        numbers = np.empty_like(data_of(x), dtype=int)
        numbers[...] = np.reshape(np.arange(1, x.size + 1, like=library_of(x)), x.shape)
        return put_back(g, np.ravel(numbers, order="K"), x.shape)
    return np.reshape(g, x.shape) if order == "C" else np.reshape(g, x.shape, order=order)


defvjp(np.reshape, reshape_vjp)
defvjp(np.ravel, lambda g, out, a, order="C": reshape_vjp(g, out, a, None, order))
defvjp(np.expand_dims, lambda g, out, x, axis: np.reshape(g, x.shape))
defvjp(np.squeeze, lambda g, out, x, axis=None: np.reshape(g, x.shape))
defvjp(np.swapaxes, lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2))
defvjp(np.moveaxis, lambda g, out, x, source, destination: np.moveaxis(g, destination, source))
defvjp(
    np.transpose,
    lambda g, out, x, axes=None: np.transpose(
        g, None if axes is None else np.argsort([axis % x.ndim for axis in axes]).tolist()
    ),
)
defvjp(np.broadcast_to, lambda g, out, x, shape: g)
defvjp(np.copy, lambda g, out, x, order="K": g)


def at_least(ndim: int) -> Function:
    """Make ``np.atleast_1d`` and its siblings, which take one array or several."""

    def single(x: ArrayLike) -> Value:
        x = as_array(x)
        if x.ndim >= ndim:
            return np.reshape(x, x.shape)
        if ndim == 3 and x.ndim == 2:
            return np.expand_dims(x, 2)
        return np.reshape(x, {1: (1,), 2: (1, -1), 3: (1, -1, 1)}[ndim])

    def several(*arys: ArrayLike) -> Values:
        return single(arys[0]) if len(arys) == 1 else tuple(single(x) for x in arys)

    return several


formula(np.atleast_1d, exact=True)(at_least(1))
formula(np.atleast_2d, exact=True)(at_least(2))
formula(np.atleast_3d, exact=True)(at_least(3))

# ----------------------------------------------------------------------- selections


@primitive
def pick(x: Value, numbers: Array) -> Value:
    """Pick elements of `x` by their number, counted from 1 in C order; number 0 is a zero."""
    return np.concatenate([np.zeros_like(x, shape=1), np.ravel(x)])[numbers]


@primitive
def put_back(g: Value, numbers: Array, shape: Shape) -> Value:
    """Add up what was picked from each element: the transpose of `pick`."""
    return np.reshape(add_up(numbers, g, math.prod(shape) + 1)[1:], shape).astype(g.dtype)


def add_up(numbers: Array, values: Value, length: int) -> Value:
    """Add each value to the sum with its number, in float64 or a longer dtype."""
    numbers, values = np.ravel(numbers), np.ravel(values)
    if values.dtype.kind == "c":
        real, imag = (add_up(numbers, part, length) for part in (values.real, values.imag))
        return real + 1j * imag
    dtype = np.result_type(values.dtype, np.float64)
    if values.__class__ in NUMPY_CLASSES and dtype == np.float64:
        return np.bincount(numbers, values, length)
    # NumPy's knows float64 only, another library's may look at the numbers.
    total = np.zeros(length, dtype, like=library_of(values))
    np.add.at(total, numbers, values)
    return total


defvjp(pick, lambda h, out, g, numbers: put_back(h, numbers, g.shape))
defvjp(put_back, lambda h, out, g, numbers, shape: pick(h, numbers))


def selection_vjp(function: Function) -> Function:
    """Differentiate any function that only moves, repeats or drops elements of its argument.

    Called on the numbers of the elements instead of their values, the function itself tells
    where each element of its result came from, or, where it is 0, that it is a constant zero.
    """

    def vjp(g: Value, out: Value, x: Value, *args: Any, **kwargs: Any) -> Value:
        numbers = call_on_numbers(library_of(x), function, x.shape, kwargs, *args)
        return put_back(g, numbers, x.shape)

    return vjp


@in_one_call
def call_on_numbers(
    library: Array, function: Function, shape: Shape, kwargs: Mapping[str, Any], *args: Any
) -> Array:
    """Call a function on the numbers of an array's elements."""
    numbers = np.arange(1, math.prod(shape) + 1, like=library)
    return function(np.reshape(numbers, shape), *args, **kwargs)


SELECTIONS: list[Function] = [
    *(np.flip, np.fliplr, np.flipud, np.roll, np.rot90, np.rollaxis),
    *(np.repeat, np.tile, np.resize, np.take, np.take_along_axis, np.delete),
    *(np.diag, np.diagflat, np.diagonal, np.tril, np.triu),
    *(np.fft.fftshift, np.fft.ifftshift, np.lib.stride_tricks.sliding_window_view),
]
for selection in SELECTIONS:
    defvjp(selection, selection_vjp(selection))


@formula(np.matrix_transpose, np.linalg.matrix_transpose, exact=True)
def _matrix_transpose(x: ArrayLike, /) -> Value:
    if x.ndim < 2:
        raise ValueError(f"matrix transpose needs two axes or more, got shape {x.shape}")
    return np.swapaxes(x, -1, -2)


@formula(np.linalg.diagonal, exact=True)
def _matrix_diagonal(x: ArrayLike, /, *, offset: int = 0) -> Value:
    return np.diagonal(x, offset, -2, -1)


@formula(np.trace)
def _trace(
    a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DTypeLike = None
) -> Value:
    return np.sum(np.diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@formula(np.linalg.trace)
def _matrix_trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike = None) -> Value:
    return np.trace(x, offset, -2, -1, dtype)


@formula(np.compress)
def _compress(condition: ArrayLike, a: ArrayLike, axis: int | None = None) -> Value:
    return np.take(a, np.flatnonzero(data_of(condition)), axis)


@formula(np.extract)
def _extract(condition: ArrayLike, arr: ArrayLike) -> Value:
    return np.take(arr, np.flatnonzero(data_of(condition)))


@formula(np.choose)
def _choose(a: ArrayLike, choices: ArrayLike, *, mode: Option = "raise") -> Value:
    numbers = np.arange(len(choices), like=library_of(a))
    which = np.choose(data_of(a), numbers, mode=mode)  # as `mode` understands it
    which, *arrays = np.broadcast_arrays(which, *choices)
    return np.squeeze(np.take_along_axis(np.stack(arrays), np.expand_dims(which, 0), 0), 0)


@formula(np.select)
def _select(condlist: ArrayLike, choicelist: ArrayLike, default: ArrayLike = 0) -> Value:
    out = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        if as_array(data_of(condition)).dtype != bool:
            raise TypeError("np.select needs boolean conditions; compare, as in x > 0")
        out = np.where(condition, choice, out)
    return out


@formula(np.insert)
def _insert(arr: ArrayLike, obj: Index, values: ArrayLike, axis: int | None = None) -> Value:
    # np.insert, called on the numbers of all elements, tells how to pick them.
    arr, values = as_arrays(arr, values)
    numbers = np.arange(1, arr.size + values.size + 1, like=library_of(arr))
    first = np.reshape(numbers[: arr.size], arr.shape)
    second = np.reshape(numbers[arr.size :], values.shape)
    elements = np.concatenate([np.reshape(arr, (-1,)), np.reshape(values.astype(arr.dtype), -1)])
    return pick(elements, np.insert(first, obj, second, axis))


# --------------------------------------------------------------------------------- padding

PAD_MODES = ("constant", "edge", "reflect", "symmetric", "wrap")


@primitive
def pad(x: Value, pad_width: ArrayLike, mode: Option) -> Value:
    """Pad with zeros or, in other modes, with elements of `x`."""
    return np.pad(x, pad_width, mode)


defvjp(pad, selection_vjp(np.pad))


@formula(np.pad)
def _pad(
    array: ArrayLike,
    pad_width: ArrayLike,
    mode: Option = "constant",
    *,
    constant_values: ArrayLike = 0,
    reflect_type: str = "even",
) -> Value:
    if mode not in PAD_MODES or reflect_type != "even":
        raise TypeError(
            f"np.pad is differentiable with mode {', '.join(PAD_MODES)} and reflect_type even, "
            f"got mode={mode!r} and reflect_type={reflect_type!r}"
        )
    if needs_recording(constant_values):
        raise TypeError("np.pad has no derivative with respect to constant_values")
    out = pad(array, pad_width, mode)
    if mode != "constant":
        return out
    constants = np.pad(
        np.zeros_like(data_of(array)), pad_width, constant_values=data_of(constant_values)
    )
    return np.where(np.pad(filled(array.shape, True, bool, array), pad_width), out, constants)


# -------------------------------------------------------------------------- joining


def concatenate_vjp(
    g: Value, out: Value, needed: Sequence[bool], *arrays: Value, axis: int = 0
) -> list[Value]:
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
def concatenate(*arrays: Value, axis: int = 0) -> Value:
    """Join arrays along an existing axis."""
    return np.concatenate(arrays, axis)


defvjp(concatenate, joint=concatenate_vjp)


@formula(np.concatenate, exact=True)
def _concatenate(arrays: ArrayLike, axis: int | None = 0) -> Value:
    arrays = as_arrays(*arrays)
    if axis is None:
        return concatenate(*[np.reshape(array, (-1,)) for array in arrays])
    return concatenate(*arrays, axis=axis)


@formula(np.block, exact=True)
def _block(arrays: ArrayLike) -> Value:
    def depth_of(part: Values) -> int:
        return 1 + depth_of(part[0]) if isinstance(part, list) and part else 0

    def ndim_of(part: Values) -> int:
        return max(map(ndim_of, part)) if isinstance(part, list) else int(np.ndim(part))

    def join(part: Values, axis: int) -> Value:
        if isinstance(part, list):
            return np.concatenate([join(item, axis + 1) for item in part], axis)
        return np.reshape(part, (1,) * (ndim - np.ndim(part)) + np.shape(part))

    depth = depth_of(arrays)
    ndim = max(depth, ndim_of(arrays))
    return join(arrays, -depth)


@formula(np.stack, exact=True)
def _stack(arrays: ArrayLike, axis: int = 0) -> Value:
    arrays = as_arrays(*arrays)
    if len({array.shape for array in arrays}) != 1:
        raise ValueError(
            "np.stack needs arrays of one shape, got "
            + (", ".join(str(array.shape) for array in arrays) or "no arrays")
        )
    return np.concatenate([np.expand_dims(array, axis) for array in arrays], axis)


@formula(np.vstack, exact=True)
def _vstack(tup: ArrayLike) -> Value:
    return np.concatenate([np.atleast_2d(array) for array in tup], 0)


@formula(np.hstack, exact=True)
def _hstack(tup: ArrayLike) -> Value:
    arrays = [np.atleast_1d(array) for array in tup]
    return np.concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


@formula(np.dstack, exact=True)
def _dstack(tup: ArrayLike) -> Value:
    return np.concatenate([np.atleast_3d(array) for array in tup], 2)


@formula(np.column_stack, exact=True)
def _column_stack(tup: ArrayLike) -> Value:
    arrays = as_arrays(*tup)
    return np.concatenate([a if a.ndim >= 2 else np.reshape(a, (-1, 1)) for a in arrays], 1)


@formula(np.append, exact=True)
def _append(arr: ArrayLike, values: ArrayLike, axis: int | None = None) -> Value:
    return np.concatenate([arr, values], axis)


# ------------------------------------------------------------------------ splitting


def split_like(splitter: Function) -> Function:
    """Make a function that splits a tensor where `splitter` splits the numbers of its rows."""

    def split(ary: ArrayLike, indices_or_sections: Index, axis: int = 0) -> list[Value]:
        before = (slice(None),) * (axis % ary.ndim)
        parts = []
        for rows in splitter(np.arange(ary.shape[axis]), indices_or_sections):
            start = int(rows[0]) if rows.size else 0
            parts.append(ary[(*before, slice(start, start + rows.size))])
        return parts

    return split


formula(np.split, exact=True)(split_like(np.split))
formula(np.array_split, exact=True)(split_like(np.array_split))


@formula(np.hsplit)
def _hsplit(ary: ArrayLike, indices_or_sections: Index) -> Values:
    return np.split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@formula(np.vsplit)
def _vsplit(ary: ArrayLike, indices_or_sections: Index) -> Values:
    return np.split(ary, indices_or_sections, 0)


@formula(np.dsplit)
def _dsplit(ary: ArrayLike, indices_or_sections: Index) -> Values:
    return np.split(ary, indices_or_sections, 2)


@formula("unstack", exact=True)
def _unstack(x: ArrayLike, /, *, axis: int = 0) -> Values:
    if x.ndim == 0:
        raise ValueError("np.unstack needs at least one axis, got a 0-d array")
    return tuple(np.moveaxis(x, axis, 0))


# ----------------------------------------------------------------- broadcasting and applying


@formula(np.broadcast_arrays, exact=True)
def _broadcast_arrays(*args: ArrayLike, subok: bool = False) -> Values:
    arrays = as_arrays(*args)
    shape = np.broadcast_shapes(*[array.shape for array in arrays])
    return tuple(np.broadcast_to(array, shape) for array in arrays)


@formula(np.full_like)
def _full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DTypeLike = None,
    order: Option = "K",
    subok: bool = True,
    *,
    shape: Shape | int | None = None,
    device: Option = None,
) -> Value:
    if not isinstance(fill_value, Tensor):
        return fill_value
    shape = np.shape(a) if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    extra = max(fill_value.ndim - len(shape), 0)  # leading axes of length 1, which NumPy drops
    return np.broadcast_to(np.reshape(fill_value, fill_value.shape[extra:]), shape)


@formula(np.meshgrid)
def _meshgrid(
    *xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> Values:
    arrays = []
    for axis, x in enumerate(xi):
        axis = 1 - axis if indexing == "xy" and axis < 2 <= len(xi) else axis
        length = np.size(x)
        arrays.append(np.reshape(x, [length if a == axis else 1 for a in range(len(xi))]))
    return tuple(arrays) if sparse else np.broadcast_arrays(*arrays)


@formula(np.astype, exact=True)
def _astype(
    x: ArrayLike, dtype: DTypeLike, /, *, copy: bool = True, device: Option = None
) -> Value:
    return x.astype(dtype)


@formula(np.apply_along_axis, exact=True)
def _apply_along_axis(
    func1d: Function, axis: int, arr: ArrayLike, *args: Any, **kwargs: Any
) -> Value:
    place = normalize_axis_index(axis, arr.ndim)
    arr = np.moveaxis(arr, axis, -1)
    others = arr.shape[:-1]
    results = [as_array(func1d(arr[i], *args, **kwargs)) for i in np.ndindex(others)]
    if not results:
        raise ValueError(f"np.apply_along_axis needs elements, got shape {arr.shape}")
    out = np.reshape(np.stack(results), others + results[0].shape)
    # The axes of the results belong where the axis was.
    new = range(len(others), out.ndim)
    return np.moveaxis(out, list(new), [place + i for i in range(len(new))])


@formula(np.apply_over_axes, exact=True)
def _apply_over_axes(func: Function, a: ArrayLike, axes: Axis) -> Value:
    for axis in (axes,) if isinstance(axes, int) else axes:
        axis = axis + a.ndim if axis < 0 else axis
        out = func(a, axis)
        a = out if out.ndim == a.ndim else np.expand_dims(out, axis)
    return a
