"""Linear algebra: inverses, determinants and decompositions, of stacks of matrices.

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

from ..dispatch import data_of, formula, library_of
from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Axis, Option, Value, Values
from ..tensor import Tensor
from ..traced import look
from .rules import as_array, as_arrays, extreme, filled, identity


def transposed(x: Value) -> Value:
    """Swap the last two axes."""
    return np.swapaxes(x, -1, -2)


def symmetric(x: Value) -> Value:
    """Take the symmetric part of a matrix."""
    return (x + transposed(x)) / 2


def times_diagonal(x: Value, diagonal: Value) -> Value:
    """Multiply the columns of a matrix by the elements of a diagonal."""
    return x * np.expand_dims(diagonal, -2)


def as_hermitian(x: Value) -> Value:
    """Take the part of a matrix that is its own conjugate transpose."""
    return (x + np.conj(transposed(x))) / 2


def check_matrix(name: str, a: Value) -> Value:
    """Return `a` as an array or tensor; raise if it is not a stack of real matrices."""
    a = as_array(a)
    if a.dtype.kind == "c":
        raise TypeError(f"np.linalg.{name} is differentiable for real matrices only, got {a.dtype}")
    if a.ndim < 2:
        raise LinAlgError(f"np.linalg.{name} takes a matrix, or a stack, got shape {a.shape}")
    return a


def is_finite(a: Value) -> bool:
    """Tell whether LAPACK can compute singular vectors: at an infinity it may never end."""
    return bool(np.all(np.isfinite(look(a))))


def check_finite(name: str, a: Value) -> None:
    """Raise LinAlgError where LAPACK would not come to an end."""
    if not is_finite(a):
        raise LinAlgError(f"np.linalg.{name} of a matrix with infinite or missing numbers")


# ------------------------------------------------------------ inverses, equations, determinants

defvjp(np.linalg.inv, lambda g, out, a: -transposed(out) @ g @ transposed(out))


def solve_vjp_right(g: Value, out: Value, a: Value, b: Value) -> Value:
    """``a^-T g``; a 1-D `b` is a column."""
    if b.ndim == 1:
        return np.squeeze(np.linalg.solve(transposed(a), np.expand_dims(g, -1)), -1)
    return np.linalg.solve(transposed(a), g)


def solve_vjp_left(g: Value, out: Value, a: Value, b: Value) -> Value:
    """``-a^-T g out^T``; a 1-D `b` is a column."""
    if b.ndim == 1:
        g, out = np.expand_dims(g, -1), np.expand_dims(out, -1)
    return -np.linalg.solve(transposed(a), g) @ transposed(out)


defvjp(np.linalg.solve, solve_vjp_left, solve_vjp_right)


# A singular matrix has no inverse, but its determinant has a derivative, the matrix of cofactors.
# With a = u diag(s) v^T, that is det(u) det(v) u diag(p) v^T, where p_i is the product of all s
# but s_i: nothing is divided by a 0, or by what rounding has left of it.


def products_without_one(s: Value) -> Value:
    """Return ``p_i``, the product of all elements but the i-th.

    In float64: as the largest come first, some of them may leave float32's range on the way.
    """
    itself = identity(s.shape[-1], bool, s)
    return np.prod(np.where(itself, 1, s.astype(float)[..., None, :]), axis=-1).astype(s.dtype)


def svd_and_sign(a: Value) -> tuple[Value, Value, Value, Value]:
    """Return u, s and v^T, and det(u) det(v)."""
    u, s, vh = np.linalg.svd(a)
    return u, s, vh, (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]


@primitive
def cofactors(a: Value) -> Value:
    """Return the matrix of cofactors, which is ``det(a) a^-T`` where there is an inverse."""
    if not is_finite(a):
        return np.full_like(a, np.nan)
    u, s, vh, sign = svd_and_sign(a)
    return sign * np.conj(times_diagonal(u, products_without_one(s)) @ vh)


def cofactors_vjp(g: Value, out: Value, a: Value) -> Value:
    """``tr(a^-1 g) c - a^-T g^T c`` for the cofactors c, where there is an inverse.

    With the singular values and h = u^T g v, that is det(u) det(v) u m v^T, where m_ii is the sum
    of p_ij h_jj over all other j, m_ij is -p_ij h_ji, and p_ij is the product of all s but two.
    """
    if isinstance(a, Tensor):  # to be differentiated once more
        if np.any(np.linalg.matrix_rank(look(a)) < a.shape[-1]):
            raise LinAlgError("the third derivative of np.linalg.det is computed with the inverse, "
                              "and the matrix is singular")  # fmt: skip
        inverse = transposed(np.linalg.inv(a))
        trace = np.sum(inverse * g, axis=(-2, -1), keepdims=True)
        return trace * out - inverse @ transposed(g) @ out
    u, s, vh, sign = svd_and_sign(a)
    h = np.conj(transposed(u)) @ g @ np.conj(transposed(vh))
    p = np.zeros_like(a, dtype=s.dtype)
    numbers = np.arange(s.shape[-1], like=library_of(s))
    for i in range(s.shape[-1]):
        p[..., i, :] = products_without_one(np.where(numbers == i, 1, s))
        p[..., i, i] = 0
    diagonal = np.sum(p * np.diagonal(h, axis1=-2, axis2=-1)[..., None, :], axis=-1)
    one = identity(s.shape[-1], s.dtype, s)
    m = one * diagonal[..., None] - p * transposed(h)
    return sign * np.conj(u) @ m @ np.conj(vh)


defvjp(np.linalg.det, lambda g, out, a: g[..., None, None] * cofactors(a))
defvjp(cofactors, cofactors_vjp)


@primitive
def log_abs_det(a: Value) -> Value:
    """Return the second result of ``np.linalg.slogdet``."""
    return np.linalg.slogdet(a)[1]


def log_abs_det_vjp(g: Value, out: Value, a: Value) -> Value:
    """``g a^-T``."""
    try:
        inverse = np.linalg.inv(a)
    except LinAlgError as error:
        raise LinAlgError("the derivative of np.linalg.slogdet is the inverse, and the matrix is "
                          "singular") from error  # fmt: skip
    return g[..., None, None] * transposed(inverse)


defvjp(log_abs_det, log_abs_det_vjp)


@formula(np.linalg.slogdet, constant_results=(0,))
def _slogdet(a: ArrayLike) -> Values:
    a = check_matrix("slogdet", a)
    return None, log_abs_det(a)


def pinv_vjp(
    g: Value,
    out: Value,
    a: Value,
    rcond: Option = None,
    hermitian: bool = False,
    *,
    rtol: Option = None,
) -> Value:
    """Differentiate among the matrices of one rank (Golub and Pereyra 1973, equation 4.12)."""
    out_h, g_t = np.conj(transposed(out)), transposed(g)
    off_columns = g_t - a @ (out @ g_t)  # what lies outside the space of a's columns
    off_rows = g_t - (g_t @ out) @ a  # and of its rows
    share = -transposed(out) @ g @ transposed(out)
    share = share + np.conj(off_columns @ (out @ out_h) + (out_h @ out) @ off_rows)
    return as_hermitian(share) if hermitian else share


@primitive
def pinv(a: Value, rcond: Option = None, hermitian: bool = False, *, rtol: Option = None) -> Value:
    """Call ``np.linalg.pinv``."""
    options = {"rcond": rcond, "hermitian": hermitian or None, "rtol": rtol}
    return np.linalg.pinv(a, **{name: x for name, x in options.items() if x is not None})


defvjp(pinv, pinv_vjp)


@formula(np.linalg.pinv, exact=True)
def _pinv(
    a: ArrayLike, rcond: Option = None, hermitian: bool = False, *, rtol: Option = None
) -> Value:
    check_finite("pinv", a)
    rcond, rtol = data_of(rcond), data_of(rtol)
    cutoff = rtol if rcond is None else rcond
    if cutoff is not None:
        check_cut_is_clear(svdvals(data_of(a), hermitian), cutoff)
    return pinv(a, rcond, hermitian, rtol=rtol)


def check_cut_is_clear(s: Value, cutoff: Value) -> None:
    """Raise if `cutoff` drops singular values that are not small against those that it keeps.

    The derivative is that among matrices of one rank, where those dropped are 0. By as much as
    they are not, compared with the smallest kept, it is wrong.
    """
    kept = s > np.expand_dims(cutoff, -1) * extreme(np.max, s, -1, default=0)
    least = extreme(np.min, np.where(kept, s, np.inf), -1, default=np.inf, keepdims=False)
    dropped = extreme(np.max, np.where(kept, 0, s), -1, default=0, keepdims=False)
    if np.any(look(dropped) > np.sqrt(np.finfo(s.dtype).eps) * least):
        raise LinAlgError(
            f"np.linalg.pinv with the cutoff {cutoff} drops singular values of {s!s:.60} that are "
            "not small against those it keeps: its derivative is known among matrices of one rank "
            "only. Choose another cutoff, or add to a.T @ a a multiple of the identity"
        )


@formula(np.linalg.lstsq, constant_results=(2, 3))
def _lstsq(a: ArrayLike, b: ArrayLike, rcond: float | None = None) -> Values:
    a, b = check_matrix("lstsq", a), as_array(b, a)
    has_residuals = np.linalg.lstsq(data_of(a), data_of(b), rcond)[1].size > 0
    eps = np.finfo(np.result_type(a.dtype, b.dtype, np.float32)).eps
    cutoff = eps * max(a.shape) if rcond is None else eps if rcond < 0 else rcond
    x = np.linalg.pinv(a, cutoff) @ b
    left = b - a @ x
    squares = np.atleast_1d(np.sum(np.real(left * np.conj(left)), axis=0))
    return x, squares if has_residuals else None, None, None


@formula(np.linalg.matrix_power)
def _matrix_power(a: ArrayLike, n: int) -> Value:
    a = as_array(a)
    if n < 0:
        a, n = np.linalg.inv(a), -n
    if n == 0:
        return 0 * a + identity(a.shape[-1], a.dtype, a)
    out = None
    while n:  # the powers a, a^2, a^4, ... that n has in binary
        if n % 2:
            out = a if out is None else out @ a
        n //= 2
        a = a @ a if n else a
    return out


@formula(np.linalg.multi_dot)
def _multi_dot(arrays: ArrayLike) -> Value:
    # einsum finds the cheapest order: "ab,bc,cd->ad".
    arrays = as_arrays(*arrays)
    if len(arrays) == 2:
        return np.dot(*arrays)
    letters = "abcdefghijklmnopqrstuvwxyz"[: len(arrays) + 1]
    terms = [letters[i : i + 2] for i in range(len(arrays))]
    if arrays[0].ndim == 1:
        terms[0] = terms[0][1:]
    if arrays[-1].ndim == 1:
        terms[-1] = terms[-1][:1]
    output = terms[0][: arrays[0].ndim - 1] + terms[-1][1:]
    return np.einsum(f"{','.join(terms)}->{output}", *arrays, optimize="optimal")


@formula(np.linalg.tensorinv)
def _tensorinv(a: ArrayLike, ind: int = 2) -> Value:
    if ind <= 0:
        raise ValueError(f"tensorinv takes a positive ind, got {ind}")
    shape = a.shape[ind:] + a.shape[:ind]
    return np.reshape(np.linalg.inv(np.reshape(a, (math.prod(a.shape[:ind]), -1))), shape)


@formula(np.linalg.tensorsolve)
def _tensorsolve(a: ArrayLike, b: ArrayLike, axes: Axis = None) -> Value:
    a, b = as_arrays(a, b)
    if axes is not None:
        a = np.moveaxis(a, axes, range(a.ndim - len(axes), a.ndim))
    shape = a.shape[b.ndim - a.ndim :]  # all of it if b has as many axes, as in NumPy
    n = math.prod(shape)
    return np.reshape(np.linalg.solve(np.reshape(a, (n, n)), np.reshape(b, (-1,))), shape)


# ------------------------------------------------------------------------------ decompositions


@primitive
def cholesky(a: Value, upper: bool = False) -> Value:
    """Return the lower factor L, or its transpose."""
    if upper:
        return np.linalg.cholesky(a, upper=True)
    out = np.linalg.cholesky(a)
    if library_of(out) is None:
        return out
    return np.tril(out) + np.conj(transposed(np.triu(out, 1)))  # Dask's is the upper one


def cholesky_vjp(g: Value, out: Value, a: Value, upper: bool = False) -> Value:
    """``L^-T P L^-1`` with the lower triangle P of ``L^T g``, its diagonal halved."""
    if upper:
        g, out = transposed(g), transposed(out)
    product = np.tril(transposed(out) @ g)
    n = product.shape[-1]
    half = np.tril(filled((n, n), 1, product.dtype, product), -1)
    half = half + identity(n, product.dtype, product) / 2
    inverse = np.linalg.inv(out)
    return symmetric(transposed(inverse) @ (product * half) @ inverse)


defvjp(cholesky, cholesky_vjp)


@formula(np.linalg.cholesky, exact=True)
def _cholesky(a: ArrayLike, /, *, upper: bool = False) -> Value:
    return cholesky(check_matrix("cholesky", a), upper)


def inverse_gaps(values: Value, factor: Value, name: str) -> Value:
    """Return ``1 / (v_j - v_i)``, by which the derivatives of vectors are in proportion.

    Vectors of equal values may turn into each other at no cost, so they have no derivative. That
    is an error, unless only the values are asked for: then `factor`, which the gaps multiply,
    is 0 between them.
    """
    gaps = np.expand_dims(values, -2) - np.expand_dims(values, -1)
    n = values.shape[-1]
    size = extreme(np.max, np.abs(data_of(values)), -1, default=0, keepdims=False)[..., None, None]
    equal = np.less_equal(np.abs(data_of(gaps)), n * np.finfo(values.dtype).eps * size)
    twins = equal & ~identity(n, bool, values)
    if look(np.any(twins)) and (isinstance(factor, Tensor) or look(np.any(factor[twins]))):
        raise LinAlgError(
            f"np.linalg.{name} has repeated values, {data_of(values)!s:.60}, whose vectors have no "
            "derivative; nor do the values have a second one"
        )
    return np.where(equal, 0, 1 / np.where(equal, 1, gaps))


@primitive
def eigh(a: Value, UPLO: Option = "L") -> Value:  # noqa: N803  NumPy says so
    """Return the eigenvectors as columns, below a row of the eigenvalues."""
    w, v = np.linalg.eigh(a, UPLO)
    return np.concatenate([w[..., None, :], v], -2)


def eigh_vjp(g: Value, out: Value, a: Value, UPLO: Option = "L") -> Value:  # noqa: N803
    """``V (diag(g_w) + F * V^T g_V) V^T`` with ``F_ij = 1 / (w_j - w_i)``."""
    w, v = out[..., 0, :], out[..., 1:, :]
    g_w, g_v = g[..., 0, :], g[..., 1:, :]
    turn = transposed(v) @ g_v
    asked_for = np.any(np.not_equal(data_of(g_v), 0), axis=-2, keepdims=True)
    either = np.logical_or(asked_for, transposed(asked_for))
    turn = turn * inverse_gaps(w, turn if isinstance(g, Tensor) else either, "eigh")
    return symmetric((times_diagonal(v, g_w) + v @ turn) @ transposed(v))


defvjp(eigh, eigh_vjp)
EighResult: Any = type(np.linalg.eigh(np.eye(1)))


@formula(np.linalg.eigh, exact=True)
def _eigh(a: ArrayLike, UPLO: Option = "L") -> Values:  # noqa: N803
    out = eigh(check_matrix("eigh", a), UPLO)
    return EighResult(out[..., 0, :], out[..., 1:, :])


def eigvalsh_vjp(g: Value, out: Value, a: Value, UPLO: Option = "L") -> Value:  # noqa: N803
    """``V diag(g) V^T``; the values alone are computed by other steps than with their vectors."""
    if not is_finite(a):
        return np.full_like(data_of(a), np.nan)
    v = np.linalg.eigh(a, UPLO)[1]
    return symmetric(times_diagonal(v, g) @ transposed(v))


@primitive
def eigvalsh(a: Value, UPLO: Option = "L") -> Value:  # noqa: N803
    """Call ``np.linalg.eigvalsh``."""
    return np.linalg.eigvalsh(a, UPLO)


defvjp(eigvalsh, eigvalsh_vjp)


@formula(np.linalg.eigvalsh, exact=True)
def _eigvalsh(a: ArrayLike, UPLO: Option = "L") -> Value:  # noqa: N803
    return eigvalsh(check_matrix("eigvalsh", a), UPLO)


def if_hermitian(hermitian: bool) -> Any:
    """Return the keyword if it is needed: not every library has it."""
    return {"hermitian": True} if hermitian else {}


@primitive
def svd(a: Value, full_matrices: bool = False, hermitian: bool = False) -> Value:
    """Return u, below it a row of the singular values, below that v, all with k columns."""
    u, s, vh = np.linalg.svd(a, full_matrices, **if_hermitian(hermitian))
    return np.concatenate([u, s[..., None, :], transposed(vh)], -2)


def svd_vjp(
    g: Value, out: Value, a: Value, full_matrices: bool = False, hermitian: bool = False
) -> Value:
    """Differentiate ``a = u diag(s) v^T`` (Townsend, equation 11)."""
    m = a.shape[-2]
    u, s, v = out[..., :m, :], out[..., m, :], out[..., m + 1 :, :]
    g_u, g_s, g_v = g[..., :m, :], g[..., m, :], g[..., m + 1 :, :]
    u_turn, v_turn = transposed(u) @ g_u, transposed(v) @ g_v
    u_turn, v_turn = u_turn - transposed(u_turn), v_turn - transposed(v_turn)
    both = np.abs(data_of(u_turn)) + np.abs(data_of(v_turn))
    # 1 / (s_j^2 - s_i^2), as a product, and in units of the largest value.
    largest = extreme(np.max, data_of(s), -1, default=0)
    unit = np.where(largest == 0, 1, largest)
    t = s / unit
    sums = np.expand_dims(t, -2) + np.expand_dims(t, -1)
    gaps = inverse_gaps(t, u_turn + v_turn if isinstance(g, Tensor) else both, "svd")
    gaps = gaps / np.where(np.equal(sums, 0), 1, sums)
    inner = times_diagonal(u_turn * gaps, t) + np.expand_dims(t, -1) * (v_turn * gaps)
    inner = inner / np.expand_dims(unit, -1)
    total = (u @ inner + times_diagonal(u, g_s)) @ transposed(v)
    if u.shape[-2] > s.shape[-1]:  # what of g_u lies outside the columns of u
        outside = g_u - u @ (transposed(u) @ g_u)
        total = total + times_diagonal(outside, inverse_of(s, outside)) @ transposed(v)
    if v.shape[-2] > s.shape[-1]:
        outside = g_v - v @ (transposed(v) @ g_v)
        total = total + times_diagonal(u, inverse_of(s, outside)) @ transposed(outside)
    return symmetric(total) if hermitian else total


def inverse_of(s: Value, factor: Value) -> Value:
    """``1 / s``; an error if the vectors of a singular value 0 are asked for."""
    largest = extreme(np.max, data_of(s), -1, default=0)
    zero = np.less_equal(data_of(s), max(factor.shape[-2:]) * np.finfo(s.dtype).eps * largest)
    if look(np.any(zero)) and (
        isinstance(factor, Tensor) or look(np.any(times_diagonal(factor, zero)))
    ):
        raise LinAlgError(
            "np.linalg.svd of a matrix without full rank: the vectors of the singular value 0 "
            "have no derivative"
        )
    return np.where(zero, 0, 1 / np.where(zero, 1, s))


defvjp(svd, svd_vjp)
SVDResult: Any = type(np.linalg.svd(np.eye(1)))


@primitive
def svdvals(a: Value, hermitian: bool = False) -> Value:
    """Return the singular values, which are computed by other steps than with their vectors."""
    return np.linalg.svd(a, compute_uv=False, **if_hermitian(hermitian))


def svdvals_vjp(g: Value, out: Value, a: Value, hermitian: bool = False) -> Value:
    """``u diag(g) v^T``."""
    if not is_finite(a):
        return np.full_like(data_of(a), np.nan)
    u, _, vh = np.linalg.svd(a, full_matrices=False, **if_hermitian(hermitian))
    return times_diagonal(u, g) @ vh


defvjp(svdvals, svdvals_vjp)


@formula(np.linalg.svd, exact=True)
def _svd(
    a: ArrayLike, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Values:
    a = check_matrix("svd", a)
    if not compute_uv:
        return svdvals(a, hermitian)
    m, n = a.shape[-2:]
    if full_matrices and m != n:
        raise ValueError(
            f"np.linalg.svd of a matrix of shape {a.shape} is differentiable with "
            "full_matrices=False: the further columns are arbitrary"
        )
    check_finite("svd", a)
    out = svd(a, full_matrices, hermitian)
    u, s, v = out[..., :m, :], out[..., m, :], out[..., m + 1 :, :]
    return SVDResult(u, s, transposed(v))


@formula(np.linalg.svdvals, exact=True)
def _svdvals(x: ArrayLike, /) -> Value:
    return svdvals(check_matrix("svdvals", x))


@primitive
def qr(a: Value) -> Value:
    """Return r below q, for a matrix that is not wider than high."""
    return np.concatenate(np.linalg.qr(a), -2)


def qr_vjp(g: Value, out: Value, a: Value) -> Value:
    """``(g_q + q sym(m)) r^-T``, with m = r g_r^T - g_q^T q and sym that mirrors its lower half."""
    m = a.shape[-2]
    q, r, g_q, g_r = out[..., :m, :], out[..., m:, :], g[..., :m, :], g[..., m:, :]
    # Of each column: what the columns before do not explain, and all of it.
    new = np.abs(np.diagonal(data_of(r), axis1=-2, axis2=-1))
    whole = extreme(np.max, np.abs(data_of(r)), -2, default=0, keepdims=False)
    if np.any(look(new) <= m * np.finfo(new.dtype).eps * whole):
        raise LinAlgError("np.linalg.qr has no derivative where the columns are linearly dependent")
    middle = r @ transposed(g_r) - transposed(g_q) @ q
    mirrored = np.tril(middle) + transposed(np.tril(middle, -1))
    return transposed(np.linalg.solve(r, transposed(g_q + q @ mirrored)))


defvjp(qr, qr_vjp)
QRResult: Any = type(np.linalg.qr(np.eye(1)))


@formula(np.linalg.qr)
def _qr(a: ArrayLike, mode: str = "reduced") -> Values:
    a = check_matrix("qr", a)
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
