"""Products of vectors, matrices and arrays of more axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dispatch import formula, library_of
from ..engine import defvjp, primitive, wider
from ..kinds import ArrayLike, Axis, Function, Option, Shape, Value
from .rules import as_arrays, filled, identity

# ------------------------------------------------------------------- products of matrices


def matmul_vjp_left(g: Value, out: Value, x: Value, y: Value) -> Value:
    """``g y^T``; a 1-D operand is a row on the left and a column on the right."""
    if y.ndim == 1:
        return g * y if x.ndim == 1 else np.expand_dims(g, -1) * y
    if x.ndim == 1:
        return np.squeeze(y @ np.expand_dims(g, -1), -1)
    return g @ np.swapaxes(y, -1, -2)


def matmul_vjp_right(g: Value, out: Value, x: Value, y: Value) -> Value:
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


# --------------------------------------------------------------------- sums over pairs of axes

# np.tensordot(a, b) sums over pairs of axes and keeps the others, those of a first. The cotangent
# has these others: so a's own is tensordot(g, b) over those of b, with its axes put in order.

Axes = tuple[list[int], list[int]]


def paired_axes(a: Value, b: Value, axes: Axis) -> Axes:
    """Return the numbers of the axes that ``np.tensordot`` sums over."""
    if isinstance(axes, (int, np.integer)):
        axes = (range(a.ndim - int(axes), a.ndim), range(int(axes)))
    a_axes, b_axes = (
        [int(axis) % x.ndim for axis in ([part] if np.ndim(part) == 0 else part)]
        for x, part in zip((a, b), axes, strict=True)
    )
    return a_axes, b_axes


def contraction_vjp_left(g: Value, a: Value, b: Value, axes: Axes) -> Value:
    """Sum the products of cotangents and elements of b over the axes that b has kept."""
    a_axes, b_axes = axes
    kept = [axis for axis in range(b.ndim) if axis not in b_axes]
    share = np.tensordot(g, b, (tuple(range(g.ndim - len(kept), g.ndim)), tuple(kept)))
    # Its axes: first those that a has kept, then those of the sums, in the order that b has them.
    order = [axis for axis in range(a.ndim) if axis not in a_axes]
    order += [a_axes[b_axes.index(axis)] for axis in sorted(b_axes)]
    return np.transpose(share, np.argsort(order).tolist())


def contraction_vjp_right(g: Value, a: Value, b: Value, axes: Axes) -> Value:
    """Sum the products of elements of a and cotangents over the axes that a has kept."""
    a_axes, b_axes = axes
    kept = [axis for axis in range(a.ndim) if axis not in a_axes]
    share = np.tensordot(a, g, (tuple(kept), tuple(range(len(kept)))))
    order = [b_axes[a_axes.index(axis)] for axis in sorted(a_axes)]
    order += [axis for axis in range(b.ndim) if axis not in b_axes]
    return np.transpose(share, np.argsort(order).tolist())


def contraction_vjps(axes_of: Callable[..., Axes | None]) -> tuple[Function, Function]:
    """Make the VJPs of a function that sums over the axes that `axes_of` tells.

    Where these are None, the function multiplies a number with an array.
    """

    def left(g: Value, out: Value, a: Value, b: Value, *args: Any, **kwargs: Any) -> Value:
        _, a, b = as_arrays(g, a, b)
        axes = axes_of(a, b, *args, **kwargs)
        if axes is None:
            return g * b
        if is_matmul(a, b, axes):
            return matmul_vjp_left(g, out, a, b)
        return contraction_vjp_left(g, a, b, axes)

    def right(g: Value, out: Value, a: Value, b: Value, *args: Any, **kwargs: Any) -> Value:
        _, a, b = as_arrays(g, a, b)
        axes = axes_of(a, b, *args, **kwargs)
        if axes is None:
            return g * a
        if is_matmul(a, b, axes):
            return matmul_vjp_right(g, out, a, b)
        return contraction_vjp_right(g, a, b, axes)

    return left, right


def is_matmul(a: Value, b: Value, axes: Axes) -> bool:
    """Tell whether this is the product of two matrices or vectors as they are."""
    return a.ndim <= 2 and b.ndim <= 2 and axes == dot_axes(a, b)


def dot_axes(a: Value, b: Value) -> Axes | None:
    """Return the last axis of a and the last but one of b; of a vector its only one."""
    return ([a.ndim - 1], [max(b.ndim - 2, 0)]) if a.ndim and b.ndim else None


def inner_axes(a: Value, b: Value) -> Axes | None:
    """Return the last axes."""
    return ([a.ndim - 1], [b.ndim - 1]) if a.ndim and b.ndim else None


defvjp(np.tensordot, *contraction_vjps(lambda a, b, axes=2: paired_axes(a, b, axes)))
defvjp(np.dot, *contraction_vjps(dot_axes))
defvjp(np.inner, *contraction_vjps(inner_axes))


@formula(np.outer)
def _outer(a: ArrayLike, b: ArrayLike) -> Value:
    a, b = as_arrays(a, b)
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


@formula(np.vdot)
def _vdot(a: ArrayLike, b: ArrayLike) -> Value:
    return np.dot(np.conj(np.reshape(a, (-1,))), np.reshape(b, (-1,)))


@formula(np.linalg.outer)
def _vector_outer(x1: ArrayLike, x2: ArrayLike, /) -> Value:
    return np.outer(x1, x2)


@formula(np.linalg.matmul, exact=True)
def _matmul(x1: ArrayLike, x2: ArrayLike, /) -> Value:
    return np.matmul(x1, x2)


@formula(np.linalg.tensordot, exact=True)
def _array_tensordot(x1: ArrayLike, x2: ArrayLike, /, *, axes: Axis = 2) -> Value:
    return np.tensordot(x1, x2, axes)


@formula(np.vecdot, np.linalg.vecdot)
def _vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Value:
    x1, x2 = as_arrays(x1, x2)
    rows = np.expand_dims(np.conj(np.moveaxis(x1, axis, -1)), -2)
    columns = np.expand_dims(np.moveaxis(x2, axis, -1), -1)
    return np.squeeze(rows @ columns, (-2, -1))


@formula("matvec")
def _matvec(x1: ArrayLike, x2: ArrayLike, /) -> Value:
    return np.squeeze(np.matmul(x1, np.expand_dims(x2, -1)), -1)


@formula("vecmat")
def _vecmat(x1: ArrayLike, x2: ArrayLike, /) -> Value:
    return np.squeeze(np.matmul(np.expand_dims(np.conj(x1), -2), x2), -2)


@formula(np.kron)
def _kron(a: ArrayLike, b: ArrayLike) -> Value:
    # Axes of a and b take turns; then each pair becomes one.
    a, b = as_arrays(a, b)
    ndim = max(a.ndim, b.ndim)
    a_shape, b_shape = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    a = np.reshape(a, [n for length in a_shape for n in (length, 1)])
    b = np.reshape(b, [n for length in b_shape for n in (1, length)])
    return np.reshape(a * b, [n * m for n, m in zip(a_shape, b_shape, strict=True)])


@formula(np.cross)
def _cross(
    a: ArrayLike,
    b: ArrayLike,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Value:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_arrays(a, b)
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    if a.shape[-1] == b.shape[-1] == 2:
        return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    a, b = in_space(a), in_space(b)
    following, last = [1, 2, 0], [2, 0, 1]
    out = a[..., following] * b[..., last] - a[..., last] * b[..., following]
    return np.moveaxis(out, -1, axisc)


def in_space(x: Value) -> Value:
    """Give vectors of the plane a third element, 0."""
    if x.shape[-1] == 3:
        return x
    return np.concatenate([x, np.zeros((*x.shape[:-1], 1), x.dtype, like=library_of(x))], axis=-1)


@formula(np.linalg.cross)
def _array_cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Value:
    return np.cross(x1, x2, axis=axis)


# ---------------------------------------------------------------------------- convolutions


# All places where two vectors overlap: out_k = sum_i a_i v_(k-i). So the cotangent of a_i is
# sum_k g_k v_(k-i), where v runs backwards. The other modes give a part of that.


def convolve_vjp_left(g: Value, out: Value, a: Value, v: Value, mode: Option = "full") -> Value:
    """Convolve the cotangent of the whole with v backwards."""
    return np.convolve(in_full(g, a, v, mode), np.flip(np.atleast_1d(v)), "valid")


def convolve_vjp_right(g: Value, out: Value, a: Value, v: Value, mode: Option = "full") -> Value:
    """Convolve the cotangent of the whole with a backwards."""
    return np.convolve(in_full(g, a, v, mode), np.flip(np.atleast_1d(a)), "valid")


def in_full(g: Value, a: Value, v: Value, mode: Option) -> Value:
    """Put zeros around the cotangent, where `mode` has left something out."""
    n, m = np.size(a), np.size(v)
    start, length = part_of_full(n, m, mode)
    after = n + m - 1 - start - length
    zeros = np.zeros(max(start, after), g.dtype, like=library_of(g))
    return np.concatenate([zeros[:start], g, zeros[:after]])


def part_of_full(n: int, m: int, mode: Option) -> tuple[int, int]:
    """Return where a mode's part of the full convolution starts, and how long it is."""
    short, long = sorted([n, m])
    if mode in ("full", 2):
        return 0, n + m - 1
    if mode in ("same", 1):
        return short - 1 - short // 2, long
    return short - 1, long - short + 1


defvjp(np.convolve, convolve_vjp_left, convolve_vjp_right)


@formula(np.correlate)
def _correlate(a: ArrayLike, v: ArrayLike, mode: Option = "valid") -> Value:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    full = np.convolve(a, np.conj(np.flip(v)))
    start, length = part_of_full(a.size, v.size, mode)
    if v.size > a.size:  # then NumPy computes the mirror image
        start = full.size - length - start
    return full[start : start + length]


# --------------------------------------------------------------------------- einsum


def einsum_vjp(
    g: Value,
    out: Value,
    needed: Sequence[bool],
    *operands: Value,
    subscripts: str,
    optimize: Option = False,
) -> list[Value]:
    """Another einsum each: swap the operand's subscripts with those of the result.

    With ``out_ij = x_ik y_kj``, the cotangent of x is ``g_x_ik = g_ij y_kj``. A subscript that
    only this operand has was summed over, so its cotangent is the same along it: that takes a
    vector of ones. One that it has twice ran along the diagonal: that takes an identity matrix.
    """
    inputs, _, output = subscripts.partition("->")
    terms = inputs.split(",")
    cotangents: list[Value] = [None] * len(operands)
    for i, operand in enumerate(operands):
        if not needed[i]:
            continue
        others = [j for j in range(len(operands)) if j != i]
        factors = [g, *(operands[j] for j in others)]
        letters = [output, *(terms[j] for j in others)]
        wanted = ""
        for axis, letter in enumerate(terms[i]):
            length = operand.shape[axis]
            if length == 1:  # it may have been broadcast along those of the others: a sum
                continue
            if letter in wanted:
                twin = next(c for c in LETTERS if c not in subscripts + wanted)
                factors.append(identity(length, g.dtype, g))
                letters.append(letter + twin)
                letter = twin
            elif not any(
                letter in term and factor.shape[term.index(letter)] == length
                for term, factor in zip(letters, factors, strict=True)
            ):  # in none of the others, or in those of length 1 that are broadcast
                factors.append(filled(length, 1, g.dtype, g))
                letters.append(letter)
            wanted += letter
        lengths = dict(
            pair
            for term, factor in zip(letters, factors, strict=True)
            for pair in zip(term, factor.shape, strict=True)
            if pair[0] not in wanted
        )
        dtype = wider(g.dtype, math.prod(lengths.values()))
        if dtype is not None:  # a long sum
            factors = [factor.astype(dtype) for factor in factors]
        share = np.einsum(f"{','.join(letters)}->{wanted}", *factors, optimize=optimize)
        cotangents[i] = np.reshape(share, operand.shape)
    return cotangents


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@primitive
def einsum(*operands: Value, subscripts: str, optimize: Option = False) -> Value:
    """Einsum with explicit subscripts: a letter for each axis, and those of the result."""
    return np.einsum(subscripts, *operands, optimize=optimize)


defvjp(einsum, joint=einsum_vjp)


def explicit_subscripts(subscripts: str, shapes: list[Shape]) -> str:
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


def from_lists(*operands: Any) -> tuple[Any, ...]:
    """Write ``x, [0, 1], y, [1, 2], [0, 2]`` as ``"ab,bc->ac", x, y``."""

    def term(numbers: Any) -> str:
        return "".join("..." if number is Ellipsis else LETTERS[number] for number in numbers)

    pairs = len(operands) // 2
    subscripts = ",".join(term(operands[2 * i + 1]) for i in range(pairs))
    if len(operands) % 2:
        subscripts += "->" + term(operands[-1])
    return (subscripts, *operands[: 2 * pairs : 2])


@formula(np.einsum, exact=True)
def _einsum(*operands: ArrayLike, optimize: Option = False) -> Value:
    if not isinstance(operands[0], str):
        operands = from_lists(*operands)
    arrays = as_arrays(*operands[1:])
    subscripts = explicit_subscripts(operands[0], [array.shape for array in arrays])
    return einsum(*arrays, subscripts=subscripts, optimize=optimize)
