"""Checks of vjps.products."""

import numpy as np
from hypothesis import strategies as st

from microgrand import vjps

from .cases import arrays, broadcastable_shapes, covers, shapes, side, some_constant
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(np.matmul)
@st.composite
def matmuls(draw, function):
    n, k, m = draw(side), draw(side), draw(side)
    batch, other = draw(broadcastable_shapes(2))
    left = draw(st.sampled_from([(n, k), (k,), (*batch[-2:], n, k)]))
    right = draw(st.sampled_from([(k, m), (k,), (*other[-2:], k, m)]))
    return draw(some_constant(function, [draw(arrays(left)), draw(arrays(right))]))


@covers(np.dot)
@st.composite
def dots(draw, function):
    k = draw(side)
    left = (*draw(shapes(0, 2)), k)
    right = draw(shapes(0, 2))
    right = draw(st.sampled_from([(*right[:-1], k, *right[-1:]), (k,)]))
    a, b = draw(st.sampled_from([(left, right), ((), right), (left, ())]))
    return draw(some_constant(function, [draw(arrays(a)), draw(arrays(b))]))


@covers(np.inner)
@st.composite
def inners(draw, function):
    k = draw(side)
    left, right = (*draw(shapes(0, 2)), k), (*draw(shapes(0, 2)), k)
    a, b = draw(st.sampled_from([(left, right), ((), right), (left, ())]))
    return draw(some_constant(function, [draw(arrays(a)), draw(arrays(b))]))


@covers(np.outer)
@st.composite
def outers(draw, function):
    values = [draw(arrays(shapes(0, 2))), draw(arrays(shapes(0, 2)))]
    return draw(some_constant(function, values))


@covers(np.vdot)
@st.composite
def vdots(draw, function):
    shape = draw(shapes(0, 2))
    other = draw(st.sampled_from([shape, shape[::-1]]))
    return draw(some_constant(function, [draw(arrays(shape)), draw(arrays(other))]))


@covers(np.tensordot)
@st.composite
def tensordots(draw, function):
    shared = draw(shapes(0, 2))
    left, right = draw(shapes(0, 2)), draw(shapes(0, 2))
    a, b, axes = (*left, *shared), (*shared, *right), len(shared)
    if draw(st.booleans()):  # any axes in any order, rather than the last and the first ones
        a_order, b_order = (
            draw(st.permutations(range(len(a)))),
            draw(st.permutations(range(len(b)))),
        )
        a_axes = [a_order.index(len(left) + i) for i in range(len(shared))]
        b_axes = [b_order.index(i) - len(b) for i in range(len(shared))]
        a, b = tuple(a[i] for i in a_order), tuple(b[i] for i in b_order)
        axes = (a_axes, b_axes)
        if len(shared) == 1 and draw(st.booleans()):
            axes = (a_axes[0], b_axes[0])
    values = [draw(arrays(a)), draw(arrays(b))]
    return draw(some_constant(lambda x, y: function(x, y, axes), values))


@st.composite
def einsum_calls(draw):
    """Any subscripts: repeated, summed out, in any order, of length 1 against longer ones."""
    lengths = {letter: draw(side) for letter in "ijk"}
    batch = draw(shapes(0, 2))
    ellipsis = draw(st.booleans())
    terms, operands = [], []
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("ijk", max_size=3))
        flat = draw(st.sampled_from(["", "", *letters]))  # a letter along which this one is flat
        shape = [1 if letter == flat else lengths[letter] for letter in letters]
        if ellipsis and draw(st.booleans()):
            place = draw(st.integers(0, len(letters)))
            kept = batch[draw(st.integers(0, len(batch))) :]
            shape[place:place] = [draw(st.sampled_from([length, 1])) for length in kept]
            letters = letters[:place] + "..." + letters[place:]
        terms.append(letters)
        operands.append(draw(arrays(tuple(shape))))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        present = sorted(set(subscripts) - set(",."))
        output = "".join(draw(st.lists(st.sampled_from(present), unique=True)) if present else "")
        if "..." in subscripts:
            place = draw(st.integers(0, len(output)))
            output = output[:place] + "..." + output[place:]
        subscripts += "->" + output
    return subscripts, operands


@covers(np.einsum)
@st.composite
def einsums(draw, function):
    subscripts, operands = draw(einsum_calls())
    optimize = draw(st.booleans())
    return draw(some_constant(lambda *xs: function(subscripts, *xs, optimize=optimize), operands))


@covers(vjps.products.einsum)
@st.composite
def explicit_einsums(draw, function):
    subscripts, operands = draw(einsum_calls())
    subscripts = vjps.products.explicit_subscripts(subscripts, [x.shape for x in operands])
    return draw(
        some_constant(lambda *xs: function(*xs, subscripts=subscripts), operands, ["array"])
    )


@covers(np.linalg.outer)
@st.composite
def vector_outers(draw, function):
    values = [draw(arrays(shapes(1, 1))), draw(arrays(shapes(1, 1)))]
    return draw(some_constant(function, values))


@covers(np.linalg.matmul)
@st.composite
def array_matmuls(draw, function):
    return draw(matmuls(function))


@covers(np.linalg.tensordot)
@st.composite
def array_tensordots(draw, function):
    return draw(tensordots(lambda x, y, axes: function(x, y, axes=axes)))


@covers(np.vecdot, np.linalg.vecdot)
@st.composite
def vector_dots(draw, function):
    shape, other = draw(broadcastable_shapes(2))
    k = draw(side)
    values = [draw(arrays((*shape[-1:], k))), draw(arrays((*other[-1:], k)))]
    if draw(st.booleans()):
        values = [np.moveaxis(x, -1, 0) for x in values]
        if {x.ndim for x in values} == {2}:
            return draw(some_constant(lambda x, y: function(x, y, axis=0), values, ["array"]))
        values = [np.moveaxis(x, 0, -1) for x in values]
    return draw(some_constant(function, values, ["array"]))


@covers("matvec", "vecmat")
@st.composite
def matrix_and_vector(draw, function):
    n, m = draw(side), draw(side)
    batch, other = draw(broadcastable_shapes(2))
    matrix = draw(arrays((*batch[-1:], n, m)))
    vector = draw(arrays((*other[-1:], m if function.__name__ == "matvec" else n)))
    values = [matrix, vector] if function.__name__ == "matvec" else [vector, matrix]
    return draw(some_constant(function, values, ["array"]))


@covers(np.kron)
@st.composite
def krons(draw, function):
    values = [draw(arrays(shapes())), draw(arrays(shapes(0, 2)))]
    return draw(some_constant(function, values, ["array"]))


@covers(np.cross, np.linalg.cross)
@st.composite
def crosses(draw, function):
    shape, other = draw(broadcastable_shapes(2))
    values = [draw(arrays((*shape[-2:], 3))), draw(arrays((*other[-2:], 3)))]
    if function is np.cross and draw(st.booleans()):
        a, b = values
        a = np.moveaxis(a, -1, 0)
        call = lambda a, b: function(a, b, axisa=0, axisc=0)
        return draw(some_constant(call, [a, b], ["array"]))
    if values[0].ndim == values[1].ndim and draw(st.booleans()):
        values = [np.moveaxis(x, -1, 0) for x in values]
        return draw(some_constant(lambda a, b: function(a, b, axis=0), values, ["array"]))
    return draw(some_constant(function, values, ["array"]))


@covers(np.convolve, np.correlate)
@st.composite
def convolutions(draw, function):
    values = [draw(arrays(draw(st.integers(1, 5)))) for _ in range(2)]
    mode = draw(st.sampled_from(["full", "same", "valid"]))
    return draw(some_constant(lambda a, v: function(a, v, mode), values))
