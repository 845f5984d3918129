"""Linear algebra: inverses, determinants, decompositions and norms, of stacks of matrices.

Decompositions have several results, and a primitive has one: so each is a primitive that returns
all of them side by side in one matrix, which is then cut. It is computed once, its VJP gets the
cotangents of all parts at once, and finds the parts themselves in ``out``, with their graph.

A symmetric matrix has a symmetric gradient: half of each off-diagonal derivative is at either
place. The derivatives of decompositions are those of M. Giles, "An extended collection of matrix
derivative results for forward and reverse mode algorithmic differentiation" (2008), and of
J. Townsend, "Differentiating the singular value decomposition" (2016).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from ..engine import defvjp, primitive
from ..tensor import Tensor, unwrap
from .rules import as_array, stands_in_for


def transposed(x: Any) -> Any:
    """Swap the last two axes."""
    return np.swapaxes(x, -1, -2)


def symmetric(x: Any) -> Any:
    """Take the symmetric part of a matrix."""
    return (x + transposed(x)) / 2


def times_diagonal(x: Any, diagonal: Any) -> Any:
    """Multiply the columns of a matrix by the elements of a diagonal."""
    return x * np.expand_dims(diagonal, -2)


def check_matrix(name: str, a: Any, square: bool = True) -> Any:
    """Return `a` as an array or tensor; raise if it is not a stack of real matrices."""
    a = as_array(a)
    if a.dtype.kind == "c":
        raise TypeError(f"np.linalg.{name} is differentiable for real matrices only, got {a.dtype}")
    if a.ndim < 2 or (square and a.shape[-1] != a.shape[-2]):
        kind = "square matrix" if square else "matrix"
        raise LinAlgError(f"np.linalg.{name} takes a {kind}, or a stack, got shape {a.shape}")
    return a


# ------------------------------------------------------------ inverses, equations, determinants

defvjp(np.linalg.inv, lambda g, out, a: -transposed(out) @ g @ transposed(out))


def solve_vjp_right(g: Any, out: Any, a: Any, b: Any) -> Any:
    """``a^-T g``; a 1-D `b` is a column."""
    if b.ndim == 1:
        return np.squeeze(np.linalg.solve(transposed(a), np.expand_dims(g, -1)), -1)
    return np.linalg.solve(transposed(a), g)


def solve_vjp_left(g: Any, out: Any, a: Any, b: Any) -> Any:
    """``-a^-T g out^T``; a 1-D `b` is a column."""
    if b.ndim == 1:
        g, out = np.expand_dims(g, -1), np.expand_dims(out, -1)
    return -np.linalg.solve(transposed(a), g) @ transposed(out)


defvjp(np.linalg.solve, solve_vjp_left, solve_vjp_right)


def inverse_or_error(what: str, a: Any) -> Any:
    """Invert; raise LinAlgError that says what the inverse is needed for."""
    if np.min(np.linalg.matrix_rank(unwrap(a)), initial=a.shape[-1]) < a.shape[-1]:
        raise LinAlgError(f"{what} is computed with the inverse, and the matrix is singular")
    return np.linalg.inv(a)


# A singular matrix has no inverse, but its determinant has a derivative, the matrix of cofactors.
# With a = u diag(s) v^T, that is det(u) det(v) u diag(p) v^T, where p_i is the product of all s
# but s_i: nothing is divided by a 0, or by what rounding has left of it.


def products_without_one(s: Any) -> Any:
    """Return ``p_i``, the product of all elements but the i-th."""
    return np.prod(np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]), axis=-1)


def svd_and_sign(a: Any) -> tuple[Any, Any, Any, Any]:
    """Return u, s and v^T, and det(u) det(v)."""
    u, s, vh = np.linalg.svd(a)
    return u, s, vh, (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]


@primitive
def cofactors(a: Any) -> Any:
    """Return the matrix of cofactors, which is ``det(a) a^-T`` where there is an inverse."""
    u, s, vh, sign = svd_and_sign(a)
    return sign * np.conj(times_diagonal(u, products_without_one(s)) @ vh)


def cofactors_vjp(g: Any, out: Any, a: Any) -> Any:
    """``tr(a^-1 g) c - a^-T g^T c`` for the cofactors c, where there is an inverse.

    With the singular values and h = u^T g v, that is det(u) det(v) u m v^T, where m_ii is the sum
    of p_ij h_jj over all other j, m_ij is -p_ij h_ji, and p_ij is the product of all s but two.
    """
    if isinstance(a, Tensor):  # to be differentiated once more
        inverse = transposed(inverse_or_error("the third derivative of np.linalg.det", a))
        trace = np.sum(inverse * g, axis=(-2, -1), keepdims=True)
        return trace * out - inverse @ transposed(g) @ out
    u, s, vh, sign = svd_and_sign(a)
    h = np.conj(transposed(u)) @ g @ np.conj(transposed(vh))
    p = np.zeros_like(a, dtype=s.dtype)
    for i in range(s.shape[-1]):
        p[..., i, :] = products_without_one(np.where(np.arange(s.shape[-1]) == i, 1, s))
        p[..., i, i] = 0
    diagonal = np.sum(p * np.diagonal(h, axis1=-2, axis2=-1)[..., None, :], axis=-1)
    m = np.eye(s.shape[-1], dtype=s.dtype) * diagonal[..., None] - p * transposed(h)
    return sign * np.conj(u) @ m @ np.conj(vh)


defvjp(np.linalg.det, lambda g, out, a: g[..., None, None] * cofactors(a))
defvjp(cofactors, cofactors_vjp)


@primitive
def log_abs_det(a: Any, value: Any) -> Any:
    """Return the second result of ``np.linalg.slogdet``, which the caller has computed."""
    return value


def log_abs_det_vjp(g: Any, out: Any, a: Any, value: Any) -> Any:
    """``g a^-T``."""
    inverse = inverse_or_error("the derivative of np.linalg.slogdet", a)
    return g[..., None, None] * transposed(inverse)


defvjp(log_abs_det, log_abs_det_vjp)
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


@stands_in_for(np.linalg.slogdet)
def _slogdet(a: Any) -> Any:
    sign, value = np.linalg.slogdet(unwrap(check_matrix("slogdet", a)))
    return SlogdetResult(sign, log_abs_det(a, value))


def pinv_vjp(
    g: Any, out: Any, a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None
) -> Any:
    """Differentiate the pseudo-inverse of a matrix of full rank (Golub and Pereyra, 1973)."""
    least = min(a.shape[-2:])
    if a.size and np.min(np.linalg.matrix_rank(unwrap(a))) < least:
        raise LinAlgError(
            "the pseudo-inverse jumps where the matrix does not have full rank, so it has no "
            f"derivative there; got a matrix of shape {a.shape} with a rank less than {least}"
        )
    out_t, g_t = transposed(out), transposed(g)
    off_columns = g_t - a @ (out @ g_t)  # what lies outside the space of a's columns
    off_rows = g_t - (g_t @ out) @ a  # and of its rows
    return -out_t @ g @ out_t + off_columns @ (out @ out_t) + (out_t @ out) @ off_rows


defvjp(np.linalg.pinv, pinv_vjp)


@stands_in_for(np.linalg.lstsq)
def _lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    a, b = check_matrix("lstsq", a, square=False), as_array(b)
    _, _, rank, singular_values = np.linalg.lstsq(unwrap(a), unwrap(b), rcond)
    x = np.linalg.pinv(a) @ b
    if rank == a.shape[1] < a.shape[0]:
        residuals = np.atleast_1d(np.sum((b - a @ x) ** 2, axis=0))
    else:
        residuals = np.zeros(0, x.dtype)
    return x, residuals, rank, singular_values


@stands_in_for(np.linalg.matrix_power)
def _matrix_power(a: Any, n: int) -> Any:
    a = as_array(a)
    if n < 0:
        a, n = np.linalg.inv(a), -n
    if n == 0:
        return 0 * a + np.eye(a.shape[-1], dtype=a.dtype)
    out = None
    while n:  # the powers a, a^2, a^4, ... that n has in binary
        if n % 2:
            out = a if out is None else out @ a
        n //= 2
        a = a @ a if n else a
    return out


@stands_in_for(np.linalg.multi_dot)
def _multi_dot(arrays: Any) -> Any:
    # einsum finds the cheapest order: "ab,bc,cd->ad".
    arrays = [as_array(array) for array in arrays]
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(arrays) + 1]
    terms = [letters[i : i + 2] for i in range(len(arrays))]
    if arrays[0].ndim == 1:
        terms[0] = terms[0][1:]
    if arrays[-1].ndim == 1:
        terms[-1] = terms[-1][:1]
    output = terms[0][: arrays[0].ndim - 1] + terms[-1][1:]
    return np.einsum(f"{','.join(terms)}->{output}", *arrays, optimize="optimal")


@stands_in_for(np.linalg.tensorinv)
def _tensorinv(a: Any, ind: int = 2) -> Any:
    if ind <= 0:
        raise ValueError(f"tensorinv takes a positive ind, got {ind}")
    shape = a.shape[ind:] + a.shape[:ind]
    return np.reshape(np.linalg.inv(np.reshape(a, (math.prod(a.shape[:ind]), -1))), shape)


@stands_in_for(np.linalg.tensorsolve)
def _tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = as_array(a), as_array(b)
    if axes is not None:
        a = np.moveaxis(a, axes, range(a.ndim - len(axes), a.ndim))
    shape = a.shape[b.ndim :]
    return np.reshape(
        np.linalg.solve(np.reshape(a, (b.size, math.prod(shape))), np.reshape(b, -1)), shape
    )


# ------------------------------------------------------------------------------ decompositions


@primitive
def cholesky(a: Any) -> Any:
    """Return the lower factor."""
    return np.linalg.cholesky(a)


def cholesky_vjp(g: Any, out: Any, a: Any) -> Any:
    """``L^-T P L^-1`` with the lower triangle P of ``L^T g``, its diagonal halved."""
    product = np.tril(transposed(out) @ g)
    half = np.tril(np.full(product.shape[-2:], 1.0, product.dtype), -1)
    half = half + np.eye(len(half), dtype=product.dtype) / 2
    inverse = np.linalg.inv(out)
    return symmetric(transposed(inverse) @ (product * half) @ inverse)


defvjp(cholesky, cholesky_vjp)


@stands_in_for(np.linalg.cholesky)
def _cholesky(a: Any, /, *, upper: bool = False) -> Any:
    a = check_matrix("cholesky", a)
    return transposed(cholesky(transposed(a))) if upper else cholesky(a)


def inverse_gaps(values: Any, factor: Any, name: str) -> Any:
    """Return ``1 / (v_j - v_i)``, by which the derivatives of vectors are in proportion.

    Vectors of equal values may turn into each other at no cost, so they have no derivative. That
    is an error, unless only the values are asked for: then `factor`, which the gaps multiply,
    is 0 between them.
    """
    gaps = np.expand_dims(values, -2) - np.expand_dims(values, -1)
    n = values.shape[-1]
    size = np.max(np.abs(unwrap(values)), axis=-1, initial=0)[..., None, None]
    equal = np.less_equal(np.abs(unwrap(gaps)), n * np.finfo(values.dtype).eps * size)
    twins = equal & ~np.eye(n, dtype=bool)
    if np.any(twins) and (isinstance(factor, Tensor) or np.any(factor[twins])):
        raise LinAlgError(
            f"np.linalg.{name} has repeated values, {unwrap(values)!s:.60}, whose vectors have no "
            "derivative; nor do the values have a second one"
        )
    return np.where(equal, 0, 1 / np.where(equal, 1, gaps))


@primitive
def eigh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803  NumPy says so
    """Return the eigenvectors as columns, below a row of the eigenvalues."""
    w, v = np.linalg.eigh(a, UPLO)
    return np.concatenate([w[..., None, :], v], -2)


def eigh_vjp(g: Any, out: Any, a: Any, UPLO: Any = "L") -> Any:  # noqa: N803
    """``V (diag(g_w) + F * V^T g_V) V^T`` with ``F_ij = 1 / (w_j - w_i)``."""
    w, v = out[..., 0, :], out[..., 1:, :]
    g_w, g_v = g[..., 0, :], g[..., 1:, :]
    turn = transposed(v) @ g_v
    asked_for = np.any(np.not_equal(unwrap(g_v), 0), axis=-2, keepdims=True)
    either = np.logical_or(asked_for, transposed(asked_for))
    turn = turn * inverse_gaps(w, turn if isinstance(g, Tensor) else either, "eigh")
    return symmetric((times_diagonal(v, g_w) + v @ turn) @ transposed(v))


defvjp(eigh, eigh_vjp)
EighResult: Any = type(np.linalg.eigh(np.eye(1)))


@stands_in_for(np.linalg.eigh)
def _eigh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803
    out = eigh(check_matrix("eigh", a), UPLO)
    return EighResult(out[..., 0, :], out[..., 1:, :])


@stands_in_for(np.linalg.eigvalsh)
def _eigvalsh(a: Any, UPLO: Any = "L") -> Any:  # noqa: N803
    return np.linalg.eigh(a, UPLO)[0]


@primitive
def svd(a: Any) -> Any:
    """Return u, below it a row of the singular values, below that v, all with k columns."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    return np.concatenate([u, s[..., None, :], transposed(vh)], -2)


def svd_vjp(g: Any, out: Any, a: Any) -> Any:
    """Differentiate ``a = u diag(s) v^T`` (Townsend, equation 11)."""
    m = a.shape[-2]
    u, s, v = out[..., :m, :], out[..., m, :], out[..., m + 1 :, :]
    g_u, g_s, g_v = g[..., :m, :], g[..., m, :], g[..., m + 1 :, :]
    u_turn, v_turn = transposed(u) @ g_u, transposed(v) @ g_v
    u_turn, v_turn = u_turn - transposed(u_turn), v_turn - transposed(v_turn)
    both = np.abs(unwrap(u_turn)) + np.abs(unwrap(v_turn))
    gaps = inverse_gaps(s**2, u_turn + v_turn if isinstance(g, Tensor) else both, "svd")
    inner = times_diagonal(u_turn * gaps, s) + np.expand_dims(s, -1) * (v_turn * gaps)
    total = (u @ inner + times_diagonal(u, g_s)) @ transposed(v)
    if u.shape[-2] > s.shape[-1]:  # what of g_u lies outside the columns of u
        outside = g_u - u @ (transposed(u) @ g_u)
        total = total + times_diagonal(outside, inverse_of(s, outside)) @ transposed(v)
    if v.shape[-2] > s.shape[-1]:
        outside = g_v - v @ (transposed(v) @ g_v)
        total = total + times_diagonal(u, inverse_of(s, outside)) @ transposed(outside)
    return total


def inverse_of(s: Any, factor: Any) -> Any:
    """``1 / s``; an error if the vectors of a singular value 0 are asked for."""
    largest = np.max(unwrap(s), axis=-1, keepdims=True, initial=0)
    zero = np.less_equal(unwrap(s), max(factor.shape[-2:]) * np.finfo(s.dtype).eps * largest)
    if np.any(zero) and (isinstance(factor, Tensor) or np.any(times_diagonal(factor, zero))):
        raise LinAlgError(
            "np.linalg.svd of a matrix without full rank: the vectors of the singular value 0 "
            "have no derivative"
        )
    return np.where(zero, 0, 1 / np.where(zero, 1, s))


defvjp(svd, svd_vjp)
SVDResult: Any = type(np.linalg.svd(np.eye(1)))


@stands_in_for(np.linalg.svd)
def _svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    a = check_matrix("svd", a, square=False)
    m, n = a.shape[-2:]
    if compute_uv and full_matrices and m != n:
        raise ValueError(
            f"np.linalg.svd of a matrix of shape {a.shape} is differentiable with "
            "full_matrices=False: the further columns are arbitrary"
        )
    out = svd(a)
    u, s, v = out[..., :m, :], out[..., m, :], out[..., m + 1 :, :]
    return SVDResult(u, s, transposed(v)) if compute_uv else s


@stands_in_for(np.linalg.svdvals)
def _svdvals(x: Any, /) -> Any:
    return np.linalg.svd(x, compute_uv=False)


@primitive
def qr(a: Any) -> Any:
    """Return r below q, for a matrix that is not wider than high."""
    return np.concatenate(np.linalg.qr(a), -2)


def qr_vjp(g: Any, out: Any, a: Any) -> Any:
    """``(g_q + q sym(m)) r^-T``, with m = r g_r^T - g_q^T q and sym that mirrors its lower half."""
    m = a.shape[-2]
    q, r, g_q, g_r = out[..., :m, :], out[..., m:, :], g[..., :m, :], g[..., m:, :]
    size = np.abs(np.diagonal(unwrap(r), axis1=-2, axis2=-1))
    largest = np.max(size, axis=-1, keepdims=True, initial=0)
    if np.any(np.less_equal(size, m * np.finfo(size.dtype).eps * largest)):
        raise LinAlgError("np.linalg.qr has no derivative where the columns are linearly dependent")
    middle = r @ transposed(g_r) - transposed(g_q) @ q
    mirrored = np.tril(middle) + transposed(np.tril(middle, -1))
    return transposed(np.linalg.solve(r, transposed(g_q + q @ mirrored)))


defvjp(qr, qr_vjp)
QRResult: Any = type(np.linalg.qr(np.eye(1)))


@stands_in_for(np.linalg.qr)
def _qr(a: Any, mode: str = "reduced") -> Any:
    a = check_matrix("qr", a, square=False)
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        raise ValueError(
            f"np.linalg.qr of a matrix of shape {a.shape} is differentiable with mode 'reduced' "
            f"or 'r', got {mode!r}: the further columns of q are arbitrary"
        )
    k = min(m, n)
    out = qr(a[..., :k])  # the columns beyond a square are in terms of those before
    q, r = out[..., :m, :], out[..., m:, :]
    if n > k:
        r = np.concatenate([r, transposed(q) @ a[..., k:]], -1)
    return r if mode == "r" else QRResult(q, r)


# ---------------------------------------------------------------------------------------- norms


def squared(x: Any) -> Any:
    """``|x|^2``."""
    return np.real(x) ** 2 + np.imag(x) ** 2 if x.dtype.kind == "c" else x * x


def root(total: Any, power: float) -> Any:
    """``total^(1 / power)``, with the derivative 0 at 0, as `abs` has."""
    zero = np.equal(total, 0)
    filled = np.where(zero, 1, total)
    return np.where(zero, 0, np.sqrt(filled) if power == 2 else filled ** (1 / power))


@stands_in_for(np.linalg.vector_norm)
def _vector_norm(x: Any, /, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    x = as_array(x)
    options = {"axis": axis, "keepdims": keepdims}
    if ord == np.inf:
        return np.max(np.abs(x), **options)
    if ord == -np.inf:
        return np.min(np.abs(x), **options)
    if ord == 0:
        return np.sum(np.not_equal(x, 0), dtype=np.real(unwrap(x)).dtype, **options)
    if ord == 1:
        return np.sum(np.abs(x), **options)
    if ord == 2:
        return root(np.sum(squared(x), **options), 2)
    size = np.abs(x)
    if ord < 0:
        return np.sum(size**ord, **options) ** (1 / ord)
    zero = np.equal(size, 0)
    powers = np.where(zero, 0, np.where(zero, 1, size) ** ord)
    return root(np.sum(powers, **options), ord)


@stands_in_for(np.linalg.matrix_norm)
def _matrix_norm(x: Any, /, *, keepdims: Any = False, ord: Any = "fro") -> Any:
    x = as_array(x)
    if ord is None or ord == "fro":
        return np.linalg.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc":
        out = np.sum(np.linalg.svdvals(x), axis=-1)
    elif ord in (2, -2):
        out = (np.max if ord > 0 else np.min)(np.linalg.svdvals(x), axis=-1)
    elif ord in (1, -1, np.inf, -np.inf):
        totals = np.sum(np.abs(x), axis=-2 if abs(ord) == 1 else -1)
        out = (np.max if ord > 0 else np.min)(totals, axis=-1)
    else:
        raise ValueError(f"norms of matrices have ord fro, nuc, 1, 2, inf or negative, got {ord!r}")
    return np.expand_dims(out, (-2, -1)) if keepdims else out


@stands_in_for(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    x = as_array(x)
    axes: Any = axis if isinstance(axis, tuple) or axis is None else (axis,)
    if ord is None or (len(axes) if axes is not None else x.ndim) == 1:
        ord = 2 if ord is None else ord
        return np.linalg.vector_norm(x, axis=axes, keepdims=keepdims, ord=ord)
    axes = tuple(range(x.ndim)) if axes is None else axes
    if len(axes) != 2:
        raise ValueError(f"norm with ord={ord!r} takes one axis or two, got {axes}")
    out = np.linalg.matrix_norm(np.moveaxis(x, axes, (-2, -1)), ord=ord)
    return np.expand_dims(out, axes) if keepdims else out


@stands_in_for(np.linalg.cond)
def _cond(x: Any, p: Any = None) -> Any:
    x = check_matrix("cond", x, square=p not in (None, 2, -2))
    if p in (None, 2, -2):
        s = np.linalg.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    norm = np.linalg.matrix_norm
    return norm(x, ord=p) * norm(np.linalg.inv(x), ord=p)
