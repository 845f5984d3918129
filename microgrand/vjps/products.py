"""Products of vectors, matrices and arrays of more axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from .rules import as_array, stands_in_for

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
    return np.matmul(np.conj(np.reshape(a, -1)), np.reshape(b, -1))


@stands_in_for(np.linalg.outer)
def _vector_outer(x1: Any, x2: Any, /) -> Any:
    if np.ndim(x1) != 1 or np.ndim(x2) != 1:
        raise ValueError(f"outer takes vectors, got shapes {np.shape(x1)} and {np.shape(x2)}")
    return np.outer(x1, x2)


@stands_in_for(np.linalg.matmul)
def _matmul(x1: Any, x2: Any, /) -> Any:
    return np.matmul(x1, x2)


@stands_in_for(np.linalg.tensordot)
def _array_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return np.tensordot(x1, x2, axes)


@stands_in_for(np.vecdot, np.linalg.vecdot)
def _vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    rows = np.expand_dims(np.conj(np.moveaxis(as_array(x1), axis, -1)), -2)
    columns = np.expand_dims(np.moveaxis(as_array(x2), axis, -1), -1)
    return np.squeeze(rows @ columns, (-2, -1))


@stands_in_for("matvec")
def _matvec(x1: Any, x2: Any, /) -> Any:
    return np.squeeze(np.matmul(x1, np.expand_dims(x2, -1)), -1)


@stands_in_for("vecmat")
def _vecmat(x1: Any, x2: Any, /) -> Any:
    return np.squeeze(np.matmul(np.expand_dims(np.conj(x1), -2), x2), -2)


@stands_in_for(np.kron)
def _kron(a: Any, b: Any) -> Any:
    # Axes of a and b take turns; then each pair becomes one.
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    a_shape, b_shape = ((1,) * (ndim - x.ndim) + x.shape for x in (a, b))
    a = np.reshape(a, [n for length in a_shape for n in (length, 1)])
    b = np.reshape(b, [n for length in b_shape for n in (1, length)])
    return np.reshape(a * b, [n * m for n, m in zip(a_shape, b_shape, strict=True)])


@stands_in_for(np.cross)
def _cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(as_array(a), axisa, -1), np.moveaxis(as_array(b), axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError(
            "np.cross on tensors takes vectors of length 3, "
            f"got lengths {a.shape[-1]} and {b.shape[-1]}"
        )
    following, last = [1, 2, 0], [2, 0, 1]
    out = a[..., following] * b[..., last] - a[..., last] * b[..., following]
    return np.moveaxis(out, -1, axisc)


@stands_in_for(np.linalg.cross)
def _array_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    return np.cross(x1, x2, axis=axis)


# ---------------------------------------------------------------------------- convolutions


@primitive
def convolve(a: Any, v: Any) -> Any:
    """Convolve two vectors: all places where they overlap."""
    return np.convolve(a, v)


# out_k = sum_i a_i v_(k-i), so the cotangent of a_i is sum_k g_k v_(k-i): v runs backwards.
defvjp(
    convolve,
    lambda g, out, a, v: np.convolve(g, np.flip(v), "valid"),
    lambda g, out, a, v: np.convolve(g, np.flip(a), "valid"),
)


def part_of(full: Any, a: Any, v: Any, mode: str, mirrored: bool) -> Any:
    """Cut what `mode` asks for out of the full convolution of `a` and `v`."""
    short, long = sorted([len(a), len(v)])
    if mode == "full":
        return full
    if mode == "same":
        start, length = short - 1 - short // 2, long
    elif mode == "valid":
        start, length = short - 1, long - short + 1
    else:
        raise ValueError(f"mode is 'full', 'same' or 'valid', got {mode!r}")
    if mirrored:
        start = len(full) - length - start
    return full[start : start + length]


@stands_in_for(np.convolve)
def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    return part_of(convolve(a, v), a, v, mode, False)


@stands_in_for(np.correlate)
def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    return part_of(convolve(a, np.conj(np.flip(v))), a, v, mode, len(v) > len(a))


# --------------------------------------------------------------------------- einsum


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


def from_lists(*operands: Any) -> tuple[Any, ...]:
    """Write ``x, [0, 1], y, [1, 2], [0, 2]`` as ``"ab,bc->ac", x, y``."""

    def term(numbers: Any) -> str:
        return "".join("..." if number is Ellipsis else LETTERS[number] for number in numbers)

    pairs = len(operands) // 2
    subscripts = ",".join(term(operands[2 * i + 1]) for i in range(pairs))
    if len(operands) % 2:
        subscripts += "->" + term(operands[-1])
    return (subscripts, *operands[: 2 * pairs : 2])


@stands_in_for(np.einsum)
def _einsum(*operands: Any, optimize: Any = False) -> Any:
    if not isinstance(operands[0], str):
        operands = from_lists(*operands)
    arrays = [as_array(operand) for operand in operands[1:]]
    subscripts = explicit_subscripts(operands[0], [array.shape for array in arrays])
    return einsum(*arrays, subscripts=subscripts, optimize=optimize)
