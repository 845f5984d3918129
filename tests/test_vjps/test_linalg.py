"""Checks of linear algebra."""

import itertools

import numpy as np
from hypothesis import strategies as st

from microgrand import vjps

from .cases import (
    Case,
    an_axis,
    arrays,
    covers,
    full_side,
    reduction_axes,
    shapes,
    signed,
    some_constant,
)
from .walks import *  # noqa: F403  the tests of all that this file has checks for

table = vjps.linalg


@st.composite
def matrices(draw, m, n, batch=None, low=0.5, high=3.0):
    """Draw matrices with distinct singular values between two limits."""
    batch = draw(st.sampled_from([(), (2,), (1, 2), (0,)])) if batch is None else batch
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    u, _, vh = np.linalg.svd(rng.standard_normal((*batch, m, n)), full_matrices=False)
    s = np.linspace(low, high, min(m, n)) * rng.uniform(0.95, 1.05, (*batch, min(m, n)))
    return u * s[..., ::-1][..., None, :] @ vh


size = st.sampled_from([2, 3, 1])


def both(x):
    return (x + np.swapaxes(x, -1, -2)) / 2


@covers(np.linalg.inv, np.linalg.slogdet, table.log_abs_det, table.cofactors)
@st.composite
def squares(draw, function):
    n = draw(size)
    return Case(function, [draw(matrices(n, n))])


@covers(np.linalg.det)
@st.composite
def determinants(draw, function):
    """Of any rank, as determinants have derivatives also where there is no inverse."""
    n = draw(st.integers(0, 4))
    rank = draw(st.integers(0, n))
    singular = draw(st.booleans())
    a = draw(matrices(n, n))
    if singular:  # a product, whose rank shows but for rounding, or a diagonal, where it shows
        rounded = draw(st.booleans())
        a = a[..., :rank] @ a[..., :rank, :] if rounded else a * np.diag(np.arange(n) < rank)
    # The 1 is there for the differences: as they are of rounded numbers, they need to know of what
    # size, which a determinant of 0 does not tell.
    return Case(lambda x: 1 + function(x), [a])


@covers(np.linalg.solve)
@st.composite
def equations(draw, function):
    n = draw(size)
    a = draw(matrices(n, n))
    shape = draw(st.sampled_from([(n,), (n, 2), (*a.shape[:-2], n, 2), (2, 1, n, 1)]))
    if a.ndim == 3 and a.shape[0] == 0 and len(shape) == 4:
        shape = (n,)
    return draw(some_constant(function, [a, draw(arrays(shape))], ["array"]))


@covers(np.linalg.pinv, np.linalg.svdvals, np.linalg.cond, table.pinv, table.svdvals)
@st.composite
def any_matrices(draw, function):
    options = [()]
    m, n = draw(size), draw(size)
    if function is np.linalg.cond:
        options = [(), (2,), (-2,)] + [(1,), (-1,), (np.inf,), ("fro",)] * (m == n)
    option = draw(st.sampled_from(options))
    return Case(lambda x: function(x, *option), [draw(matrices(m, n))])


@covers(np.linalg.lstsq)
@st.composite
def least_squares(draw, function):
    m, n = draw(size), draw(size)
    shape = draw(st.sampled_from([(m,), (m, 2)]))
    values = [draw(matrices(m, n, ())), draw(arrays(shape))]

    def call(a, b):
        x, residuals, rank, _ = function(a, b)
        return x, residuals, np.asarray(rank)

    return draw(some_constant(call, values, ["array"]))


@covers(np.linalg.matrix_power)
@st.composite
def matrix_powers(draw, function):
    n = draw(size)
    exponent = draw(st.sampled_from([3, 2, 1, -1, -2, 5, 0]))
    return Case(lambda x: function(x, exponent), [draw(matrices(n, n))])


@covers(np.linalg.multi_dot)
@st.composite
def chains(draw, function):
    lengths = [draw(full_side) for _ in range(draw(st.integers(3, 5)))]
    pieces = [list(pair) for pair in itertools.pairwise(lengths)]
    if draw(st.booleans()):
        pieces[0] = pieces[0][1:]
    if draw(st.booleans()):
        pieces[-1] = pieces[-1][:1]
    values = [draw(arrays(tuple(shape))) for shape in pieces]
    return draw(some_constant(lambda *xs: function(xs), values, ["array"]))


@covers(np.linalg.tensorinv)
@st.composite
def tensor_inverses(draw, function):
    shape, ind = draw(st.sampled_from([((2, 3, 6), 2), ((4, 2, 2), 1), ((3, 3), 1)]))
    n = shape[0] if ind == 1 else 6
    return Case(lambda x: function(x, ind), [draw(matrices(n, n, ())).reshape(shape)])


@covers(np.linalg.tensorsolve)
@st.composite
def tensor_equations(draw, function):
    a, b = draw(matrices(4, 4, ())).reshape(2, 2, 4), draw(arrays((2, 2)))
    if draw(st.booleans()):
        a = np.moveaxis(a, -1, 0)
        return Case(lambda a, b: function(a, b, axes=(0,)), [a, b])
    return Case(function, [a, b])


@covers(np.linalg.cholesky, table.cholesky)
@st.composite
def choleskys(draw, function):
    n = draw(size)
    x = draw(matrices(n, n))
    options = {}
    if function is np.linalg.cholesky and draw(st.booleans()):
        options["upper"] = True

    def call(x):
        x = both(x)
        return function(x @ np.swapaxes(x, -1, -2) + np.eye(n, dtype=x.dtype), **options)

    return Case(call, [x])


def from_eigenvalues(x):
    """Make a symmetric matrix whose eigenvalues are the squares of the singular values."""
    return x @ np.swapaxes(x, -1, -2)


@covers(np.linalg.eigh, np.linalg.eigvalsh, table.eigh, table.eigvalsh)
@st.composite
def eigenvalues(draw, function):
    n = draw(size)
    uplo = draw(st.sampled_from(["L", "U"]))
    return Case(lambda x: function(from_eigenvalues(x), uplo), [draw(matrices(n, n))])


@covers(np.linalg.svd, table.svd)
@st.composite
def singular_values(draw, function):
    m, n = draw(size), draw(size)
    options = {}
    if function is np.linalg.svd:
        options = draw(st.sampled_from([{"full_matrices": False}, {"compute_uv": False}]))
        if m == n and draw(st.booleans()):
            options = {}
    return Case(lambda x: function(x, **options), [draw(matrices(m, n))])


@covers(np.linalg.qr, table.qr)
@st.composite
def qrs(draw, function):
    m, n = draw(size), draw(size)
    if function is table.qr:
        return Case(function, [draw(matrices(max(m, n), min(m, n)))])
    modes = ["reduced", "r", "complete"][: 2 + (m <= n)]
    mode = draw(st.sampled_from(modes))
    return Case(lambda x: function(x, mode), [draw(matrices(m, n))])


VECTOR_ORDERS = [2, 1, 3, 0.5, -1, np.inf, -np.inf, 0]
MATRIX_ORDERS = ["fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf]


@covers(vjps.norms.norm)
@st.composite
def any_norms(draw, function):
    x = draw(signed((2, 3)))
    kind = st.sampled_from([(None, None), (None, 1), (1, 0), (np.inf, 1), ("fro", (-2, -1))])
    order, axis = draw(kind)
    keepdims = draw(st.booleans())
    return Case(lambda x: function(x, ord=order, axis=axis, keepdims=keepdims), [x])


@covers(np.linalg.vector_norm)
@st.composite
def vector_norms(draw, function):
    x = draw(signed(shapes(min_side=1)))
    axis = draw(reduction_axes(x.ndim).filter(lambda axis: axis != ()))
    options = {"ord": draw(st.sampled_from(VECTOR_ORDERS)), "keepdims": draw(st.booleans())}
    return Case(lambda x: function(x, axis=axis, **options), [x])


@covers(np.linalg.matrix_norm)
@st.composite
def matrix_norms(draw, function):
    m, n = draw(size), draw(size)
    options = {"ord": draw(st.sampled_from(MATRIX_ORDERS)), "keepdims": draw(st.booleans())}
    x = draw(matrices(m, n, draw(st.sampled_from([(), (2,)]))))
    return Case(lambda x: function(x, **options), [x])


@covers(np.linalg.norm)
@st.composite
def norms(draw, function):
    keepdims = draw(st.booleans())
    kind = draw(st.sampled_from(["plain", "vector", "matrix"]))
    if kind == "plain":
        x = draw(signed(shapes(min_side=1)))
        axis = draw(st.none() | an_axis(x.ndim) if x.ndim else st.none())
        return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])
    if kind == "vector":
        x = draw(signed(shapes(1, min_side=1)))
        order, axis = draw(st.sampled_from(VECTOR_ORDERS)), draw(an_axis(x.ndim))
        return Case(lambda x: function(x, order, axis, keepdims), [x])
    x = draw(matrices(draw(size), draw(size), (2,)))
    order, axis = draw(st.sampled_from(MATRIX_ORDERS)), (1, 2)
    if draw(st.booleans()):
        x, axis = np.moveaxis(x, 1, 0), (0, -1)
    if draw(st.booleans()):
        x, axis = x[0] if axis == (1, 2) else x[:, 0], None
    return Case(lambda x: function(x, order, axis, keepdims), [x])
