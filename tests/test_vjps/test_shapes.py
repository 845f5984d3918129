"""Checks of functions that move elements."""

import math
import operator
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from microgrand import vjps

from .cases import (
    Case,
    an_axis,
    arrays,
    broadcastable_shapes,
    covers,
    several_axes,
    shapes,
    side,
    some_constant,
)
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(np.diagonal, np.trace)
@st.composite
def diagonals(draw, function):
    x = draw(arrays(shapes(2)))
    offset = draw(st.integers(-3, 3))
    axis1, axis2 = draw(several_axes(x.ndim, 2))[:2]
    return Case(lambda x: function(x, offset, axis1, axis2), [x])


@covers(np.linalg.diagonal, np.linalg.trace)
@st.composite
def matrix_diagonals(draw, function):
    offset = draw(st.integers(-3, 3))
    return Case(lambda x: function(x, offset=offset), [draw(arrays(shapes(2)))])


@covers(np.matrix_transpose, np.linalg.matrix_transpose)
@st.composite
def matrix_transposes(draw, function):
    return Case(function, [draw(arrays(shapes(2)))])


@covers(np.reshape)
@st.composite
def reshapes(draw, function):
    x = draw(arrays(shapes()))
    shape = list(draw(st.permutations(x.shape)))
    if draw(st.booleans()):
        shape.insert(draw(st.integers(0, len(shape))), 1)
    if x.size and shape and draw(st.booleans()):
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    order = draw(st.sampled_from(["C", "F"]))
    return Case(lambda x: function(x, shape, order=order), [x])


@covers(np.ravel)
@st.composite
def ravels(draw, function):
    order = draw(st.sampled_from(["C", "F"]))
    return Case(lambda x: function(x, order), [draw(arrays(shapes()))])


@covers(np.expand_dims)
@st.composite
def expansions(draw, function):
    x = draw(arrays(shapes(0, 2)))
    axis = draw(an_axis(x.ndim + 1) | several_axes(x.ndim + 2, 2).map(lambda axes: axes[:2]))
    return Case(lambda x: function(x, axis), [x])


@covers(np.squeeze)
@st.composite
def squeezes(draw, function):
    x = draw(arrays(shapes()))
    short = [axis for axis, length in enumerate(x.shape) if length == 1]
    choices = [None, (), *short, *[axis - x.ndim for axis in short], tuple(short)]
    axis = draw(st.sampled_from(choices))
    return Case(lambda x: function(x, axis), [x])


@covers(np.swapaxes)
@st.composite
def swaps(draw, function):
    x = draw(arrays(shapes(1)))
    a, b = draw(an_axis(x.ndim)), draw(an_axis(x.ndim))
    return Case(lambda x: function(x, a, b), [x])


@covers(np.moveaxis)
@st.composite
def moves(draw, function):
    x = draw(arrays(shapes(1)))
    source, destination = draw(an_axis(x.ndim)), draw(an_axis(x.ndim))
    if draw(st.booleans()):
        source = draw(several_axes(x.ndim))
        destination = tuple(draw(st.permutations(range(x.ndim)))[: len(source)])
    return Case(lambda x: function(x, source, destination), [x])


@covers(np.transpose)
@st.composite
def transposes(draw, function):
    x = draw(arrays(shapes()))
    order = [
        axis - x.ndim * draw(st.integers(0, 1)) for axis in draw(st.permutations(range(x.ndim)))
    ]
    axes = draw(st.sampled_from([None, tuple(order), order]))
    return Case(lambda x: function(x, axes), [x])


@covers(np.broadcast_to)
@st.composite
def broadcasts(draw, function):
    shape = draw(shapes())
    x = draw(arrays(tuple(draw(st.sampled_from([n, 1])) for n in shape[draw(st.integers(0, 3)) :])))
    return Case(lambda x: function(x, shape), [x])


@covers(np.copy)
@st.composite
def copies(draw, function):
    return Case(function, [draw(arrays(shapes()))])


@covers(np.atleast_1d, np.atleast_2d, np.atleast_3d)
@st.composite
def at_leasts(draw, function):
    values = [draw(arrays(shapes())) for _ in range(draw(st.integers(1, 2)))]
    return Case(function, values)


@covers(np.flip)
@st.composite
def flips(draw, function):
    x = draw(arrays(shapes()))
    axis = draw(st.none() | an_axis(x.ndim) | several_axes(x.ndim) if x.ndim else st.none())
    return Case(lambda x: function(x, axis), [x])


@covers(np.flipud, np.fliplr)
@st.composite
def simple_flips(draw, function):
    return Case(function, [draw(arrays(shapes(2)))])


@covers(np.roll)
@st.composite
def rolls(draw, function):
    x = draw(arrays(shapes(1)))
    steps = st.integers(-4, 4)
    shift, axis = draw(st.tuples(steps, st.none() | an_axis(x.ndim)))
    if draw(st.booleans()):
        axis = draw(several_axes(x.ndim, 1))
        shift = tuple(draw(steps) for _ in axis)
    return Case(lambda x: function(x, shift, axis=axis), [x])


@covers(np.rot90)
@st.composite
def rotations(draw, function):
    x = draw(arrays(shapes(2)))
    k, axes = draw(st.integers(-1, 4)), draw(several_axes(x.ndim, 2))[:2]
    return Case(lambda x: function(x, k, axes), [x])


@covers(np.rollaxis)
@st.composite
def roll_axes(draw, function):
    x = draw(arrays(shapes(1)))
    axis, start = draw(an_axis(x.ndim)), draw(st.integers(0, x.ndim))
    return Case(lambda x: function(x, axis, start), [x])


@covers(np.repeat)
@st.composite
def repeats(draw, function):
    x = draw(arrays(shapes(1)))
    axis = draw(st.none() | an_axis(x.ndim))
    times = draw(st.integers(0, 3))
    if draw(st.booleans()):
        length = x.size if axis is None else x.shape[axis]
        times = draw(hnp.arrays(np.int64, length, elements=st.integers(0, 3)))
    return Case(lambda x: function(x, times, axis=axis), [x])


@covers(np.tile)
@st.composite
def tiles(draw, function):
    x = draw(arrays(shapes(0, 2)))
    times = draw(st.integers(0, 3) | shapes(0, 3))
    return Case(lambda x: function(x, times), [x])


@covers(np.resize)
@st.composite
def resizes(draw, function):
    x = draw(arrays(shapes(0, 2, min_side=1)))
    shape = draw(shapes(0, 2) | st.integers(0, 9))
    return Case(lambda x: function(x, shape), [x])


@covers(np.take)
@st.composite
def takes(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(st.none() | an_axis(x.ndim))
    length = x.size if axis is None else x.shape[axis]
    places = hnp.arrays(np.int64, shapes(0, 2), elements=st.integers(-length, length - 1))
    indices = draw(places | st.integers(-length, length - 1) | st.just([0, length - 1, 0]))
    return Case(lambda x: function(x, indices, axis=axis), [x])


@covers(np.take_along_axis)
@st.composite
def takes_along(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(an_axis(x.ndim))
    shape = list(x.shape)
    length, shape[axis] = shape[axis], draw(side)
    indices = draw(hnp.arrays(np.int64, tuple(shape), elements=st.integers(0, length - 1)))
    return Case(lambda x: function(x, indices, axis), [x])


@covers(np.delete)
@st.composite
def deletions(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(st.none() | an_axis(x.ndim))
    length = x.size if axis is None else x.shape[axis]
    places = st.integers(-length, length - 1)
    gone = draw(places | st.lists(places, min_size=1) | st.just(slice(0, None, 2)))
    return Case(lambda x: function(x, gone, axis=axis), [x])


@covers(np.diag)
@st.composite
def diags(draw, function):
    k = draw(st.integers(-2, 2))
    return Case(lambda x: function(x, k), [draw(arrays(shapes(1, 2)))])


@covers(np.diagflat)
@st.composite
def flat_diags(draw, function):
    k = draw(st.integers(-2, 2))
    return Case(lambda x: function(x, k), [draw(arrays(shapes(1, 2)))])


@covers(np.tril, np.triu)
@st.composite
def triangles(draw, function):
    k = draw(st.integers(-2, 2))
    return Case(lambda x: function(x, k), [draw(arrays(shapes(1)))])


@st.composite
def indices(draw, shape):
    """An index of any kind: numbers, slices, new axes, integer arrays, masks and mixtures."""
    kinds = ["basic", "mask"] + ["integers", "mixed"] * (len(shape) > 0 and 0 not in shape)
    kind = draw(st.sampled_from(kinds))
    if kind == "basic":
        return draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if kind == "mask":
        ndim = draw(st.integers(0, len(shape)))
        mask = draw(hnp.arrays(bool, shape[:ndim]))
        return draw(
            st.sampled_from(
                [mask, (mask, Ellipsis), (Ellipsis, None, mask)][: 2 + (ndim == len(shape))]
            )
        )
    if kind == "integers":
        return draw(
            hnp.integer_array_indices(
                shape, result_shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
            )
            | st.just([0, shape[0] - 1, 0])
        )
    index: list[Any] = []
    for length in shape:
        place = st.integers(-length, length - 1)
        index.append(
            draw(
                st.sampled_from(
                    [
                        draw(place),
                        slice(None, None, draw(st.sampled_from([1, 2, -1]))),
                        [draw(place), draw(place)],
                        np.array([[draw(place)], [draw(place)]]),
                    ]
                )
            )
        )
        if draw(st.integers(0, 4)) == 0:
            index.append(None)
    return tuple(index)


@covers(operator.getitem)
@st.composite
def selections(draw, function):
    x = draw(arrays(shapes()))
    index = draw(indices(x.shape))
    return Case(lambda x: x[index], [x])


@covers(vjps.indexing.add_at)
@st.composite
def additions(draw, function):
    like = np.zeros(draw(shapes()))
    index = draw(indices(like.shape))
    g = draw(arrays(np.shape(like[index])))
    return Case(lambda g: function(g, index, like), [g])


@covers(vjps.shapes.pick)
@st.composite
def picks(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    numbers = draw(hnp.arrays(np.int64, shapes(0, 2), elements=st.integers(0, x.size)))
    return Case(lambda x: function(x, numbers), [x])


@covers(vjps.shapes.put_back)
@st.composite
def puts(draw, function):
    shape = draw(shapes(1))
    elements = st.integers(0, math.prod(shape))
    numbers = draw(hnp.arrays(np.int64, shapes(0, 2), elements=elements))
    return Case(lambda g: function(g, numbers, shape), [draw(arrays(numbers.shape))])


# ----------------------------------------------------------------------- joining, splitting


@st.composite
def alike(draw, axis, shape, least=1):
    """One to three arrays of a shape, but for the length of an axis."""
    pieces = []
    for _ in range(draw(st.integers(least, 3))):
        lengths = list(shape)
        if axis is not None:
            lengths[axis] = draw(side)
        pieces.append(draw(arrays(tuple(lengths))))
    return pieces


@covers(np.concatenate)
@st.composite
def concatenations(draw, function):
    shape = draw(shapes(1))
    if draw(st.integers(0, 3)) == 0:
        pieces = [*draw(alike(None, shape)), draw(arrays(shapes()))]
        return draw(some_constant(lambda *xs: function(xs, axis=None), pieces))
    axis = draw(an_axis(len(shape)))
    pieces = draw(alike(axis, shape))
    container = draw(st.sampled_from([list, tuple]))
    return draw(some_constant(lambda *xs: function(container(xs), axis), pieces))


@covers(vjps.shapes.concatenate)
@st.composite
def joins(draw, function):
    shape = draw(shapes(1))
    axis = draw(an_axis(len(shape)))
    pieces = draw(alike(axis, shape))
    return draw(some_constant(lambda *xs: function(*xs, axis=axis), pieces, ["array"]))


@covers(np.stack)
@st.composite
def stacks(draw, function):
    shape = draw(shapes(0, 2))
    axis = draw(an_axis(len(shape) + 1))
    return draw(some_constant(lambda *xs: function(xs, axis), draw(alike(None, shape))))


@covers(np.vstack, np.hstack, np.dstack, np.column_stack)
@st.composite
def named_stacks(draw, function):
    axis = {np.vstack: 0, np.hstack: 1, np.dstack: 2, np.column_stack: 1}[function]
    if draw(st.booleans()):
        shape = draw(shapes(0, 1))
        pieces = draw(alike(None, shape))
    else:
        shape = draw(shapes(max(axis + 1, 2), 2 if function is np.column_stack else 3))
        pieces = draw(alike(axis, shape))
    return draw(some_constant(lambda *xs: function(xs), pieces))


@covers(np.append)
@st.composite
def appends(draw, function):
    shape = draw(shapes(1))
    if draw(st.booleans()):
        pieces = [draw(arrays(shape)), draw(arrays(shapes()))]
        return draw(some_constant(function, pieces))
    axis = draw(an_axis(len(shape)))
    pieces = draw(alike(axis, shape, least=2))[:2]
    return draw(some_constant(lambda x, y: function(x, y, axis), pieces))


@covers(np.split, np.array_split)
@st.composite
def splits(draw, function):
    x = draw(arrays(shapes(1)))
    axis = draw(an_axis(x.ndim))
    length = x.shape[axis]
    sections = [n for n in (1, 2, 3) if length % n == 0 or function is np.array_split]
    places = st.lists(st.integers(-length - 1, length + 1), max_size=3)
    where = draw(st.sampled_from(sections) | places)
    return Case(lambda x: tuple(function(x, where, axis)), [x])


@covers(np.hsplit, np.vsplit, np.dsplit)
@st.composite
def named_splits(draw, function):
    x = draw(arrays(shapes({np.hsplit: 1, np.vsplit: 2, np.dsplit: 3}[function])))
    # Cuts within, mostly: one that leaves the whole does not tell along which axis it went.
    where = draw(st.sampled_from([[1], [1, 2], [2], [1], 1, [], [0, 3], [2, 1]]))
    return Case(lambda x: tuple(function(x, where)), [x])


@covers("unstack")
@st.composite
def unstacks(draw, function):
    x = draw(arrays(shapes(1)))
    axis = draw(an_axis(x.ndim))
    return Case(lambda x: function(x, axis=axis), [x])


@covers(np.block)
@st.composite
def blocks(draw, function):
    n, m, k, j = draw(side), draw(side), draw(side), draw(side)
    form = draw(st.sampled_from(["matrix", "row", "cube", "matrices in a row"]))
    if form == "matrices in a row":
        values = [draw(arrays((n, m))), draw(arrays((n, k)))]
        return draw(some_constant(lambda x, y: function([x, y]), values, ["array"]))
    if form == "cube":
        values = [draw(arrays((n, m))), draw(arrays((j, n, m)))]
        return draw(some_constant(lambda x, y: function([[[x]], [[y]]]), values, ["array"]))
    if form == "row":
        values = [draw(arrays((n,))), draw(arrays(()))]
        return draw(some_constant(lambda x, y: function([x, y, x]), values, ["array"]))
    values = [draw(arrays(shape)) for shape in ((n, m), (n, k), (j, m), (j, k))]
    return draw(some_constant(lambda a, b, c, d: function([[a, b], [c, d]]), values, ["array"]))


@covers(np.compress, np.extract)
@st.composite
def compressions(draw, function):
    x = draw(arrays(shapes(1)))
    if function is np.extract:
        condition = draw(hnp.arrays(bool, x.shape))
        return Case(lambda x: function(condition, x), [x])
    axis = draw(st.none() | an_axis(x.ndim))
    length = x.size if axis is None else x.shape[axis]
    condition = draw(hnp.arrays(bool, draw(st.integers(0, length))))
    return Case(lambda x: function(condition, x, axis=axis), [x])


@covers(np.choose)
@st.composite
def choices(draw, function):
    shape, *others = draw(broadcastable_shapes(3))
    mode = draw(st.sampled_from(["raise", "wrap", "clip"]))
    limit = 1 if mode == "raise" else 4
    which = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, limit)))
    values = [draw(arrays(other)) for other in others]
    call = lambda *xs: function(which, xs, mode=mode)
    return draw(some_constant(call, values, ["array"]))


@covers(np.select)
@st.composite
def selects(draw, function):
    shape, one, two, *others = draw(broadcastable_shapes(5))
    conditions = [draw(hnp.arrays(bool, one)), draw(hnp.arrays(bool, two))]
    values = [draw(arrays(other)) for other in (shape, others[0])]
    default = draw(st.sampled_from([0, 1.5])) if draw(st.booleans()) else draw(arrays(others[1]))
    call = lambda x, y: function(conditions, [x, y], np.asarray(default, dtype=y.dtype))
    return draw(some_constant(call, values, ["array"]))


@covers(np.insert)
@st.composite
def insertions(draw, function):
    x = draw(arrays(shapes(1)))
    axis = draw(st.none() | an_axis(x.ndim))
    length = x.size if axis is None else x.shape[axis]
    place = st.integers(-length, length)
    if draw(st.booleans()):
        values = [x, draw(arrays(()))]
        where = draw(place)
    else:
        where = draw(st.lists(place, min_size=2, max_size=2))
        values = [x, draw(arrays((2,) if axis in (None, x.ndim - 1, -1) else ()))]
    return draw(some_constant(lambda x, y: function(x, where, y, axis), values, ["array"]))


@covers(np.pad, vjps.shapes.pad)
@st.composite
def pads(draw, function):
    x = draw(arrays(shapes(1, 2, min_side=1)))
    mode = draw(st.sampled_from(vjps.shapes.PAD_MODES))
    widths = st.integers(0, 4 if x.ndim == 1 else 2)
    pairs = [(draw(widths), draw(widths)) for _ in x.shape]
    width = draw(widths | st.just(pairs))
    if function is np.pad and mode == "constant" and draw(st.booleans()):
        return Case(lambda x: function(x, width, constant_values=(1.5, 2.5)), [x])
    return Case(lambda x: function(x, width, mode), [x])


@covers(np.fft.fftshift, np.fft.ifftshift)
@st.composite
def shifts(draw, function):
    x = draw(arrays(shapes(1)))
    axes = draw(st.none() | an_axis(x.ndim) | several_axes(x.ndim, 1))
    return Case(lambda x: function(x, axes), [x])


@covers(np.lib.stride_tricks.sliding_window_view)
@st.composite
def windows(draw, function):
    x = draw(arrays(shapes(1, 2, min_side=2, max_side=4)))
    if draw(st.booleans()):
        axis = draw(an_axis(x.ndim))
        return Case(lambda x: function(x, 2, axis=axis), [x])
    shape = tuple(draw(st.integers(1, n)) for n in x.shape)
    return Case(lambda x: function(x, shape), [x])


@covers(np.broadcast_arrays)
@st.composite
def broadcast_lists(draw, function):
    values = [draw(arrays(shape)) for shape in draw(broadcastable_shapes(3))]
    return draw(some_constant(function, values, ["array"]))


@covers(np.meshgrid)
@st.composite
def grids(draw, function):
    number = draw(st.integers(1, 3))
    options = {
        "sparse": draw(st.booleans()),
        "indexing": draw(st.sampled_from(["xy", "ij"])),
    }
    return Case(
        lambda *xs: tuple(function(*xs, **options)),
        [draw(arrays(shapes(0, 1))) for _ in range(number)],
    )


@covers(np.astype)
@st.composite
def conversions(draw, function):
    return Case(lambda x: function(x, np.float64), [draw(arrays(shapes()))])


@covers(np.apply_along_axis)
@st.composite
def applications(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axis = draw(an_axis(x.ndim))
    func = draw(st.sampled_from([np.sum, lambda row: row * row[0], lambda r: np.outer(r, r)]))
    return Case(lambda x: function(func, axis, x), [x])


@covers(np.apply_over_axes)
@st.composite
def repeated_applications(draw, function):
    x = draw(arrays(shapes(1, min_side=1)))
    axes = draw(an_axis(x.ndim) | several_axes(x.ndim, 1))
    return Case(lambda x: function(np.prod, x, axes), [x])


@covers(np.full_like)
@st.composite
def fillings(draw, function):
    like = draw(arrays(shapes()))
    x = draw(arrays(like.shape[draw(st.integers(0, like.ndim)) :]))
    return Case(function, [like, x])
