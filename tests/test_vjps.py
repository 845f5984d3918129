"""The derivative table, entry by entry: values against NumPy, derivatives against differences.

Every entry of the table has a strategy that draws calls of it, `CHECKS`; one test runs them all.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor, masks, tensor, vjps
from microgrand.engine import Rules, backpropagate, name_of, rules_of
from microgrand.nn import functional
from microgrand.tensor import constant_functions, stand_ins
from microgrand.testing import GradcheckError, gradcheck


@dataclass
class Case:
    """A call to be checked: `call` works on arrays, where it is NumPy's, and on tensors."""

    call: Callable[..., Any]
    inputs: list[Any]

    def __post_init__(self):
        self.inputs = [np.asarray(x) for x in self.inputs]  # arithmetic makes 0-d arrays numbers


#: From an entry of the table to a strategy for cases.
CHECKS: dict[Any, st.SearchStrategy[Case]] = {}


def covers(*functions):
    """Register a strategy, made by calling ``strategy(function)``, as the check of functions."""

    def register(strategy):
        for function in functions:
            CHECKS[getattr(function, "undifferentiated", function)] = strategy(function)
        return strategy

    return register


# --------------------------------------------------------------------------- drawing arrays

# One in seven axes is empty, which makes a third of the arrays with three axes empty.
side = st.sampled_from([2, 3, 1, 2, 3, 1, 0])
full_side = st.sampled_from([2, 3, 1])


@st.composite
def shapes(draw, least=0, most=3, sides=side):
    # Two axes first: Hypothesis has a preference for the first of several.
    ndim = draw(st.sampled_from(sorted(range(least, most + 1), key=lambda n: abs(n - 2))))
    return tuple(draw(sides) for _ in range(ndim))


@st.composite
def arrays(draw, shape, low=-2.0, high=2.0):
    """Numbers from ``[low, high]``, distinct and not too close to each other.

    Random rather than simple ones: at round numbers, wrong derivatives are right by accident.
    """
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = math.prod(shape)
    places = rng.permutation(n) + rng.uniform(0.2, 0.8, n)
    return (low + (high - low) * places / max(n, 1)).reshape(shape)


@st.composite
def signed(draw, shape, low=0.5, high=2.0):
    """Numbers from ``[low, high]`` with random signs: away from zero."""
    array = draw(arrays(shape, low, high))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return array * rng.choice([-1.0, 1.0], array.shape)


@st.composite
def broadcastable(draw, number, sides=side):
    """Shapes that broadcast: of one shape, with leading axes left out and others of length 1."""
    whole = draw(shapes(sides=sides))
    return [
        tuple(
            1 if draw(st.sampled_from([False, False, True])) else length
            for length in whole[draw(st.integers(0, len(whole))) :]
        )
        for _ in range(number)
    ]


def an_axis(ndim):
    return st.integers(-ndim, ndim - 1)


def several_axes(ndim, least=0):
    distinct = st.lists(an_axis(ndim), min_size=least, unique_by=lambda axis: axis % ndim)
    return distinct.map(tuple) if ndim else st.just(())


def reduction_axes(ndim):
    """None, a number of either sign, or a tuple."""
    if ndim == 0:
        return st.sampled_from([None, ()])
    return st.none() | an_axis(ndim) | several_axes(ndim)


@st.composite
def some_constant(draw, call, values, forms=("array", "list")):
    """A case in which some arguments of `call` are tensors, and the others constants."""
    choices = list(itertools.product([True, False], repeat=len(values)))
    is_tensor = draw(st.sampled_from(choices[:-1]))
    values = [np.asarray(value) for value in values]
    constants = list(values)
    for i, value in enumerate(values):
        if not is_tensor[i]:
            form = draw(st.sampled_from(forms))
            if form == "number" and value.size == 1:
                constants[i] = value.item()
            elif form == "list" and value.size:  # an empty one has lost its shape
                constants[i] = value.tolist()

    def mixed(*tensors):
        given = iter(tensors)
        pairs = zip(constants, is_tensor, strict=True)
        return call(*[next(given) if tensor else constant for constant, tensor in pairs])

    return Case(mixed, [v for v, tensor in zip(values, is_tensor, strict=True) if tensor])


# ------------------------------------------------------------------- elementwise functions

FORMS = ("array", "list", "number")  # that a constant may have
ANY, POSITIVE, UNIT = (-2.0, 2.0), (0.5, 3.0), (-0.8, 0.8)

for functions, domain in (
    ([np.negative, np.positive, np.square, np.exp, np.exp2, np.expm1, np.sin, np.cos], ANY),
    ([np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh], ANY),
    ([np.deg2rad, np.radians, np.rad2deg, np.degrees], ANY),
    ([np.sqrt, np.log, np.log2, np.log10], POSITIVE),
    ([np.log1p], (-0.5, 2.0)),
    ([np.tan, np.arcsin, np.arccos, np.arctanh], UNIT),
    ([np.arccosh], (1.2, 3.0)),
):
    for function in functions:
        CHECKS[function] = st.builds(lambda x, f=function: Case(f, [x]), arrays(shapes(), *domain))
for function in (np.absolute, np.fabs, np.cbrt, np.reciprocal):
    CHECKS[function] = st.builds(lambda x, f=function: Case(f, [x]), signed(shapes()))


@covers(
    *(np.add, np.subtract, np.multiply, np.true_divide, np.hypot, np.arctan2, np.copysign),
    *(np.logaddexp, np.logaddexp2),
)
@st.composite
def binary(draw, function):
    values = [draw(signed(shape)) for shape in draw(broadcastable(2))]
    return draw(some_constant(function, values, FORMS))


@covers(np.power, np.float_power)
@st.composite
def powers(draw, function):
    if draw(st.sampled_from([True, True, False])):
        base, exponent = draw(broadcastable(2))
        values = [draw(arrays(base, 0.5, 2.0)), draw(arrays(exponent))]
        return draw(some_constant(function, values, FORMS))
    x = draw(signed(shapes()))
    whole = draw(st.sampled_from([2, 0, 1, 3, -1, -2, 2.0, 0.0, 1.0, 3.0, -1.0]))
    if draw(st.booleans()):
        whole = np.full(draw(st.sampled_from([(), (1,), x.shape])), whole)
        if whole.dtype.kind == "i" and draw(st.booleans()):
            whole = whole.astype(np.int32)
    return Case(lambda x: function(x, whole), [x])


@covers(np.remainder, np.fmod, np.divmod)
@st.composite
def remainders(draw, function):
    # Quotients near 0.5, -1.5 and so on: away from whole numbers, where the result jumps.
    shape, other = draw(broadcastable(2))
    whole = draw(hnp.arrays(np.int64, shape, elements=st.integers(-2, 2)))
    x = whole + draw(arrays(shape, 0.3, 0.7))
    return draw(some_constant(function, [x, draw(signed(other, 0.97, 1.03))], FORMS))


@covers(np.maximum, np.minimum, np.fmax, np.fmin)
@st.composite
def extrema_of_two(draw, function):
    # Multiples of 0.5 against those plus 0.25: neither equal nor nearly so.
    shape, other = draw(broadcastable(2))
    x, y = (
        draw(hnp.arrays(np.int64, s, elements=st.integers(-3, 3))) / 2 + draw(arrays(s, -0.1, 0.1))
        for s in (shape, other)
    )
    return draw(some_constant(function, [x, y + 0.25], FORMS))


@covers(np.ldexp)
@st.composite
def ldexps(draw, function):
    shape, other = draw(broadcastable(2))
    exponent = draw(hnp.arrays(np.int32, other, elements=st.integers(-3, 3)))
    return Case(lambda x: function(x, exponent), [draw(arrays(shape))])


@covers(np.where)
@st.composite
def wheres(draw, function):
    shape, *others = draw(broadcastable(3))
    condition = draw(hnp.arrays(bool, shape))
    values = [draw(arrays(other)) for other in others]
    return draw(some_constant(lambda x, y: function(condition, x, y), values, FORMS))


@covers(np.clip, vjps.clip)
@st.composite
def clips(draw, function):
    # The limits are near -0.5 and 0.5, the values not.
    shape, low, high = draw(broadcastable(3))
    x = draw(hnp.arrays(np.int64, shape, elements=st.integers(-1, 1)))
    x = x + draw(arrays(shape, -0.3, 0.3))
    low, high = draw(arrays(low, -0.6, -0.4)), draw(arrays(high, 0.4, 0.6))
    kind = draw(st.sampled_from(["both", "low", "high", "crossed"]))
    forms = FORMS if function is np.clip else ["array"]
    if kind == "low":
        return draw(some_constant(lambda x, low: function(x, low, None), [x, low], forms))
    if kind == "high":
        return draw(some_constant(lambda x, high: function(x, None, high), [x, high], forms))
    if kind == "crossed":
        low, high = high, low
    return draw(some_constant(function, [x, low, high], forms))


@covers(masks.apply_mask)
@st.composite
def masked(draw, function):
    shape, other = draw(broadcastable(2))
    mask = draw(hnp.arrays(bool, other))
    scale = draw(st.sampled_from([1.0, 2.0, 1 / 0.7]))
    return Case(lambda x: function(x, mask, scale), [draw(arrays(shape))])


@covers(tensor.cast)
@st.composite
def casts(draw, function):
    # To float64 only: what float32 loses is not seen by the derivative, but by differences.
    return Case(lambda x: function(x, np.float64), [draw(arrays(shapes()))])


# ------------------------------------------------------------------------------ reductions


@covers(np.sum, np.prod)
@st.composite
def sums(draw, function):
    x = draw(signed(shapes()))
    axis, keepdims = draw(reduction_axes(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])


@covers(np.mean, np.max, np.min, np.amax, np.amin, np.ptp)
@st.composite
def reductions(draw, function):
    x = draw(arrays(shapes(sides=full_side)))
    axis, keepdims = draw(reduction_axes(x.ndim)), draw(st.booleans())
    return Case(lambda x: function(x, axis=axis, keepdims=keepdims), [x])


@covers(np.var, np.std)
@st.composite
def spreads(draw, function):
    x = draw(arrays(shapes(1, sides=st.sampled_from([2, 3]))))
    axes = st.none() | an_axis(x.ndim) | several_axes(x.ndim, 1)
    axis, keepdims = draw(axes), draw(st.booleans())
    ddof = draw(st.sampled_from([0, 1, 0.5]))
    return Case(lambda x: function(x, axis=axis, ddof=ddof, keepdims=keepdims), [x])


@covers(np.cumsum, np.cumprod)
@st.composite
def running(draw, function):
    x = draw(signed(shapes()))
    axis = draw(st.none() | an_axis(x.ndim) if x.ndim else st.none())
    return Case(lambda x: function(x, axis=axis), [x])


@covers((np.add, "reduce"), (np.multiply, "reduce"), (np.maximum, "reduce"), (np.minimum, "reduce"))
@st.composite
def reduce_methods(draw, key):
    ufunc, _ = key
    x = draw(signed(shapes(1, sides=full_side)))
    options = {"axis": draw(reduction_axes(x.ndim)), "keepdims": draw(st.booleans())}
    if draw(st.booleans()):
        options = {}
    return Case(lambda x: ufunc.reduce(x, **options), [x])


@covers((np.add, "accumulate"), (np.multiply, "accumulate"))
@st.composite
def accumulate_methods(draw, key):
    ufunc, _ = key
    x = draw(signed(shapes(1)))
    axes = draw(st.lists(an_axis(x.ndim), max_size=1))
    return Case(lambda x: ufunc.accumulate(x, *axes), [x])


# ---------------------------------------------------------------------- products of matrices


@covers(np.matmul)
@st.composite
def matmuls(draw, function):
    n, k, m = draw(side), draw(side), draw(side)
    batch, other = draw(broadcastable(2))
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


@covers(vjps.einsum)
@st.composite
def explicit_einsums(draw, function):
    subscripts, operands = draw(einsum_calls())
    subscripts = vjps.explicit_subscripts(subscripts, [x.shape for x in operands])
    return draw(
        some_constant(lambda *xs: function(*xs, subscripts=subscripts), operands, ["array"])
    )


@covers(np.trace)
@st.composite
def traces(draw, function):
    return draw(diagonals(function))


# ------------------------------------------------------------------- shapes and selections


@st.composite
def diagonals(draw, function):
    x = draw(arrays(shapes(2)))
    offset = draw(st.integers(-3, 3))
    axis1, axis2 = draw(several_axes(x.ndim, 2))[:2]
    return Case(lambda x: function(x, offset, axis1, axis2), [x])


CHECKS[np.diagonal] = diagonals(np.diagonal)


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
    x = draw(arrays(shapes(0, 2, full_side)))
    shape = draw(shapes(0, 2) | st.integers(0, 9))
    return Case(lambda x: function(x, shape), [x])


@covers(np.take)
@st.composite
def takes(draw, function):
    x = draw(arrays(shapes(1, sides=full_side)))
    axis = draw(st.none() | an_axis(x.ndim))
    length = x.size if axis is None else x.shape[axis]
    places = hnp.arrays(np.int64, shapes(0, 2), elements=st.integers(-length, length - 1))
    indices = draw(places | st.integers(-length, length - 1) | st.just([0, length - 1, 0]))
    return Case(lambda x: function(x, indices, axis=axis), [x])


@covers(np.take_along_axis)
@st.composite
def takes_along(draw, function):
    x = draw(arrays(shapes(1, sides=full_side)))
    axis = draw(an_axis(x.ndim))
    shape = list(x.shape)
    length, shape[axis] = shape[axis], draw(side)
    indices = draw(hnp.arrays(np.int64, tuple(shape), elements=st.integers(0, length - 1)))
    return Case(lambda x: function(x, indices, axis), [x])


@covers(np.delete)
@st.composite
def deletions(draw, function):
    x = draw(arrays(shapes(1, sides=full_side)))
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


@covers(np.diff)
@st.composite
def differences(draw, function):
    x = draw(arrays(shapes(1)))
    n, axis = draw(st.integers(0, 3)), draw(an_axis(x.ndim))
    return Case(lambda x: function(x, n, axis), [x])


@covers(np.sort)
@st.composite
def sorts(draw, function):
    x = draw(arrays(shapes(1)))
    options = draw(st.sampled_from([{}, {"axis": None}, {"axis": draw(an_axis(x.ndim))}]))
    if draw(st.booleans()):
        options = {**options, "kind": "stable"}
    return Case(lambda x: function(x, **options), [x])


@covers(vjps.average_over_ties)
@st.composite
def averages(draw, function):
    g = draw(arrays(shapes(1)))
    axis = draw(an_axis(g.ndim))
    ordered = np.sort(draw(hnp.arrays(np.float64, g.shape, elements=st.integers(0, 2))), axis)
    return Case(lambda g: function(g, ordered, axis), [g])


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


@covers(tensor.getitem)
@st.composite
def selections(draw, function):
    x = draw(arrays(shapes()))
    index = draw(indices(x.shape))
    return Case(lambda x: x[index], [x])


@covers(tensor.add_at)
@st.composite
def additions(draw, function):
    like = np.zeros(draw(shapes()))
    index = draw(indices(like.shape))
    g = draw(arrays(np.shape(like[index])))
    return Case(lambda g: function(g, index, like), [g])


@covers(vjps.pick)
@st.composite
def picks(draw, function):
    x = draw(arrays(shapes(1, sides=full_side)))
    numbers = draw(hnp.arrays(np.int64, shapes(0, 2), elements=st.integers(0, x.size)))
    return Case(lambda x: function(x, numbers), [x])


@covers(vjps.put_back)
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


@covers(vjps.concatenate)
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
    where = draw(st.lists(st.integers(0, 3), max_size=2) | st.just(1))
    return Case(lambda x: tuple(function(x, where)), [x])


# ------------------------------------------------------------------------------- of layers


@covers(functional.affine)
@st.composite
def affines(draw, function):
    rows, inputs, outputs = draw(shapes(0, 2)), draw(full_side), draw(full_side)
    bias = draw(st.sampled_from([(outputs,), (1,)]))
    values = [draw(arrays(shape)) for shape in ((*rows, inputs), (outputs, inputs), bias)]
    if draw(st.booleans()):
        return draw(some_constant(lambda x, w: function(x, w, None), values[:2], ["array"]))
    return draw(some_constant(function, values, ["array"]))


@covers(functional.softmax, functional.log_softmax)
@st.composite
def softmaxes(draw, function):
    x = draw(arrays(shapes(1, sides=full_side)))
    axis = draw(an_axis(x.ndim))
    return Case(lambda x: function(x, axis=axis), [x])


@covers(functional.mean_negative_log_likelihood)
@st.composite
def likelihoods(draw, function):
    x = draw(arrays(shapes(2, 2, full_side)))
    labels = draw(hnp.arrays(np.int64, len(x), elements=st.integers(0, x.shape[1] - 1)))
    return Case(lambda x: function(x, np.eye(x.shape[1], dtype=bool)[labels]), [x])


# ------------------------------------------------------------------------------- the tests


def label(key):
    return f"{key[0].__name__}.{key[1]}" if isinstance(key, tuple) else name_of(key)


def test_every_entry_of_the_table_has_a_check():
    # Other tests may define derivatives of their own functions.
    table = {f for f in rules_of if name_of(f).startswith(("np.", "microgrand."))}
    missing = [label(key) for key in (table | set(stand_ins)) - set(CHECKS)]
    assert not missing, f"no check in CHECKS for {missing}"
    unknown = [label(key) for key in set(CHECKS) - set(rules_of) - set(stand_ins)]
    assert not unknown, f"CHECKS has {unknown}, which the table has not"


def scattered(x):
    """Return `x` in memory that is neither contiguous nor in order."""
    x = np.asarray(x)
    every_other = (..., *(slice(None, None, -2),) * x.ndim)
    view = np.zeros([2 * length for length in x.shape], x.dtype)[every_other]
    view[...] = x
    return view


def as_outputs(value):
    return value if isinstance(value, tuple) else (value,)


def gradients(call, inputs, layout=np.array):
    """Return the values of a call, and the gradients of their sum weighted with 1, 2, 3 ..."""
    leaves = [Tensor(layout(x), requires_grad=True) for x in inputs]
    outputs = as_outputs(call(*leaves))
    totals = [np.zeros_like(x) for x in inputs]
    for out in outputs:
        if not isinstance(out, Tensor) or not out.requires_grad:  # one of several, say
            continue
        cotangent = 1 + np.arange(out.size, dtype=out.dtype).reshape(out.shape)
        found = backpropagate(out, layout(cotangent), set(leaves), retain_graph=True)
        for total, leaf in zip(totals, leaves, strict=True):
            if leaf in found:
                assert found[leaf].dtype == leaf.dtype
                assert found[leaf].shape == leaf.shape
                total += found[leaf]
    return [tensor.unwrap(out) for out in outputs], totals


def check(key, case):
    for dtype in (np.float32, np.float64):
        inputs = [x.astype(dtype) for x in case.inputs]
        expected = as_outputs(case.call(*inputs))
        values, grads = gradients(case.call, inputs)
        for value, array in zip(values, expected, strict=True):
            assert value.dtype == array.dtype
            assert value.shape == array.shape
            # A primitive runs NumPy itself. What stands in for a function may round differently.
            assert_allclose(value, array, rtol=0 if key in rules_of else 1e3 * np.finfo(dtype).eps)
    scattered_values, scattered_grads = gradients(case.call, inputs, scattered)
    for found, expected in zip(scattered_values + scattered_grads, values + grads, strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    gradcheck(case.call, *case.inputs, order=2)


@pytest.mark.parametrize("key", CHECKS, ids=label)
@given(data=st.data())
def test_values_and_derivatives(key, data):
    check(key, data.draw(CHECKS[key]))


def scaled(vjp):
    return lambda g, *args, **kwargs: vjp(1.001 * g, *args, **kwargs)


def scaled_joint(joint):
    def wrong(*args, **kwargs):
        return [None if share is None else 1.001 * share for share in joint(*args, **kwargs)]

    return wrong


def without_graph(vjp):
    return lambda *args, **kwargs: tensor.unwrap(vjp(*args, **kwargs))


@pytest.mark.parametrize("wrong", [scaled, without_graph])
@pytest.mark.parametrize("key", [key for key in CHECKS if key in rules_of], ids=label)
def test_checks_notice_a_wrong_derivative(key, wrong, monkeypatch):
    # Off by a thousandth, or right at first order and a constant at second, in each argument.
    rules = rules_of[key]
    if rules.joint:
        change = scaled_joint if wrong is scaled else wrong
        mutants = [Rules((), change(rules.joint))]
    else:
        mutants = [
            Rules((*rules.vjps[:i], wrong(vjp), *rules.vjps[i + 1 :]), None)
            for i, vjp in enumerate(rules.vjps)
            # The derivative of copysign with respect to its second argument is 0, also if scaled.
            if vjp and not (key is np.copysign and i == 1)
        ]

    @settings(phases=[Phase.generate], database=None, print_blob=False, report_multiple_bugs=False)
    @given(CHECKS[key])
    def run(case):
        gradcheck(case.call, *case.inputs, order=2, mode="fast")

    for mutant in mutants:
        monkeypatch.setitem(rules_of, key, mutant)
        with pytest.raises(GradcheckError):
            run()


# -------------------------------------------------------------- conventions at special points


def grads_of(fn, *inputs, weights=1.0):
    """Return the gradients of ``sum(weights * fn(*inputs))``."""
    leaves = [Tensor(np.array(x, dtype=float), requires_grad=True) for x in inputs]
    np.sum(fn(*leaves) * weights).backward()
    return [leaf.grad for leaf in leaves]


nan, inf = np.nan, np.inf


@pytest.mark.parametrize("function", [np.max, np.amax, np.maximum.reduce])
def test_equal_largest_elements_share_evenly(function):
    (grad,) = grads_of(lambda x: function(x, axis=1), [[1, 2, 2], [3, 3, 3], [5, 4, 0]])
    assert_array_equal(grad, [[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])


@pytest.mark.parametrize("function", [np.min, np.amin, np.minimum.reduce])
def test_equal_smallest_elements_share_evenly(function):
    (grad,) = grads_of(lambda x: function(x, axis=1), [[2, 1, 1], [3, 3, 3], [5, 4, 0]])
    assert_array_equal(grad, [[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]])


def test_ptp_of_equal_elements_has_derivative_zero():
    assert_array_equal(grads_of(np.ptp, [2, 2])[0], [0, 0])


@pytest.mark.parametrize("function", [np.maximum, np.minimum, np.fmax, np.fmin])
def test_equal_arguments_share_evenly(function):
    larger = function in (np.maximum, np.fmax)
    x, y = grads_of(function, [1, 1, 2], [1, 2, 1])
    assert_array_equal(x, [1 / 2, 1 - larger, larger])
    assert_array_equal(y, [1 / 2, larger, 1 - larger])


@pytest.mark.parametrize("axis", [-1, 0, None])
def test_sort_shares_evenly_among_equal_elements(axis):
    (grad,) = grads_of(lambda x: np.sort(x, axis=axis), [2, 1, 2, 3], weights=[1, 10, 100, 5])
    assert_array_equal(grad, [55, 1, 55, 5])


def test_ties_at_second_order_are_linear_too():
    # The shares are fixed, so max(x)^2 at (3, 3) is ((x0 + x1) / 2)^2.
    x = Tensor([3.0, 3.0], requires_grad=True)
    first = backpropagate(np.max(x) ** 2, np.array(1.0), {x}, create_graph=True)[x]
    second = backpropagate(first, np.array([1.0, 0.0]), {x})[x]
    assert_array_equal(second, [1 / 2, 1 / 2])


@pytest.mark.parametrize("function", [np.absolute, np.fabs])
def test_absolute_has_derivative_zero_at_zero(function):
    assert_array_equal(grads_of(function, [-2, 0, -0.0, 3])[0], [-1, 0, 0, 1])


@pytest.mark.parametrize("function", [Tensor.relu, functional.relu])
def test_relu_has_derivative_zero_at_zero(function):
    assert_array_equal(grads_of(function, [-1, -0.0, 0, 1e-300, inf, -inf])[0], [0, 0, 0, 1, 1, 0])


def test_clip_has_derivative_one_at_its_limits():
    x, low, high = grads_of(np.clip, [0, 1, 1.5, 2, 3], 1, 2)
    assert_array_equal(x, [0, 1, 1, 1, 0])
    assert (low, high) == (1, 1)
    # Crossed limits: the upper one is the result, whatever x is.
    x, low, high = grads_of(np.clip, [0, 1.5, 3], 2, 1)
    assert_array_equal(x, [0, 0, 0])
    assert (low, high) == (0, 3)


def test_std_of_equal_elements_has_derivative_zero():
    (grad,) = grads_of(lambda x: np.std(x, axis=1), [[2, 2, 2], [-1, 0, 1]])
    assert_allclose(grad, [[0, 0, 0], np.array([-1, 0, 1]) / (3 * np.sqrt(2 / 3))])


@pytest.mark.parametrize("function", [np.power, np.float_power])
@pytest.mark.parametrize("as_array", [False, True])
def test_power_at_base_zero(function, as_array):
    for exponent, first, second in ((0, 0, 0), (1, 1, 0), (2, 0, 2), (3, 0, 0)):
        exponent = np.array([float(exponent)]) if as_array else exponent
        x = Tensor([0.0], requires_grad=True)
        grad = backpropagate(function(x, exponent), np.ones(1), {x}, create_graph=True)[x]
        assert_array_equal(tensor.unwrap(grad), [first])
        if isinstance(grad, Tensor):
            assert_array_equal(backpropagate(grad, np.ones(1), {x}).get(x, [0]), [second])


def test_power_with_respect_to_the_exponent_of_zero():
    assert_array_equal(grads_of(np.power, [0, 0, 0], [0, 1, 2.5])[1], [0, 0, 0])
    assert_array_equal(grads_of(lambda y: 0**y, [0, 1, 2.5])[0], [0, 0, 0])


def test_nan_wins_comparisons_as_in_numpy():
    for function in (np.max, np.min):
        assert_array_equal(grads_of(function, [1, nan, 3])[0], [0, 1, 0])
        assert_array_equal(grads_of(function, [nan, nan, 3])[0], [1 / 2, 1 / 2, 0])
    for function in (np.maximum, np.minimum):
        x, y = grads_of(function, [nan, 1], [1, nan])
        assert_array_equal(x, [1, 0])
        assert_array_equal(y, [0, 1])
    for function in (np.fmax, np.fmin):
        x, y = grads_of(function, [nan, 1], [1, nan])
        assert_array_equal(x, [0, 1])
        assert_array_equal(y, [1, 0])


@pytest.mark.parametrize(
    "function",
    [np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std, np.cumsum, np.cumprod, Tensor.relu],
)
def test_nan_stays_visible(function):
    with np.errstate(invalid="ignore"):
        assert np.isnan(tensor.unwrap(function(Tensor([1.0, 2.0, nan])))).any()
        # Where the value is nan and the derivative depends on it, so is the derivative.
        (grad,) = grads_of(lambda x: function(x) ** 2, [1.0, 2.0, nan])
    assert np.isnan(grad).any()


@pytest.mark.parametrize("function", [np.prod, np.cumprod])
@pytest.mark.parametrize("zeros", [[0], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]])
def test_products_with_zeros(function, zeros):
    x = np.array([1.5, -2.0, 3.0, 0.5, -1.25])
    x[zeros] = 0
    gradcheck(function, x, order=2)


def test_product_of_nothing():
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    assert_array_equal(np.prod(x, axis=0).detach(), [1, 1])
    assert np.cumprod(x, axis=0).shape == (0, 2)


# ------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_a_dropped_unit_is_zero_in_both_passes(dtype, scale):
    mask = np.array([True, False, False, False, True])
    x = Tensor(np.array([1.5, inf, -inf, nan, -2], dtype), requires_grad=True)
    out = masks.apply_mask(x, mask, scale)
    assert_array_equal(out.detach(), [1.5 * scale, 0, 0, 0, -2 * scale])
    out.backward(np.array([1, inf, nan, -inf, nan], dtype))
    assert_array_equal(x.grad, [scale, 0, 0, 0, nan])
    assert out.dtype == x.grad.dtype == dtype


@pytest.mark.parametrize("keep", [0.9, 0.999, 0.001, 1 / 512])
def test_random_mask_has_the_exact_probability(keep):
    # Rounded to 1/256, these would be off by 7 standard deviations or more. By chance the mean
    # is off by 6 with a probability of 2e-9; with this seed, it is not.
    n = 4_000_000
    mask = masks.random_mask((n,), keep, np.random.default_rng(0))
    assert abs(np.mean(mask) - keep) < 6 * math.sqrt(keep * (1 - keep) / n)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5), (2, 0, 4)])
def test_random_mask_of_all_and_of_none(shape):
    for keep in (0.0, 1.0):
        mask = masks.random_mask(shape, keep, np.random.default_rng(0))
        assert mask.shape == shape
        assert mask.dtype == bool
        assert_array_equal(mask, np.full(shape, bool(keep)))


def test_random_mask_depends_on_the_generator_only():
    first, again, other = (
        masks.random_mask((100,), 0.3, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert (first != other).any()


# ------------------------------------------------------------------------------------ dtypes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: np.sum(x, dtype=np.float64),
        lambda x: np.mean(x, dtype=np.float64),
        lambda x: x * np.arange(3.0),
        lambda x: 2 * x + 1.5,
        lambda x: x**2 + x**0.5,
        lambda x: x[[0, 0, 1]],
        lambda x: np.sort(x),
        lambda x: np.sort(np.concatenate([x, x])),
        lambda x: np.std(x) + np.max(x),
        lambda x: np.float_power(x, 2),
        lambda x: np.where(x > 1, x, 0),
        lambda x: np.einsum("i,i", x, x),
        lambda x: x.astype(np.float64).relu(),
    ],
)
def test_a_gradient_has_the_dtype_of_its_tensor(function, dtype):
    x = Tensor(np.array([1, 2, 3], dtype), requires_grad=True)
    out = function(x)
    assert out.dtype == function(np.array([1, 2, 3], dtype).view(ArrayWithRelu)).dtype
    np.sum(out).backward()
    assert x.grad.dtype == dtype


class ArrayWithRelu(np.ndarray):
    def relu(self):
        return np.maximum(self, 0)


# ------------------------------------------------------------------------ constant functions

# How to call those that need more than one array.
CONSTANT_CALLS = {
    **dict.fromkeys(
        [np.isclose, np.allclose, np.array_equal, np.array_equiv, np.isin, np.searchsorted],
        lambda f, x: f(x, x),
    ),
    np.digitize: lambda f, x: f(x, np.array([0.0, 1.0])),
    np.argpartition: lambda f, x: f(x, 1),
    np.lexsort: lambda f, x: f((x, x)),
    np.result_type: lambda f, x: f(x, np.float32),
    np.can_cast: lambda f, x: f(x.dtype, np.float32),
    np.full_like: lambda f, x: f(x, 7),
}
ON_INTEGERS = {
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
    np.bincount,
}


def call_constant(key, x):
    if isinstance(key, tuple):
        ufunc, method = key
        return getattr(ufunc, method)(*[x] * (2 if method == "outer" else 1))
    if isinstance(key, np.ufunc):
        return key(*[x] * key.nin)
    return CONSTANT_CALLS.get(key, lambda f, x: f(x))(key, x)


@pytest.mark.parametrize("key", sorted(constant_functions, key=label), ids=label)
def test_constant_functions_return_plain_values(key):
    integers = key in ON_INTEGERS
    x = np.array([0, 1, 2]) if integers else np.array([-1.5, 0.5, 2.5])
    found = call_constant(key, Tensor(x, requires_grad=not integers))
    assert tensor.unwrap(found) is found or isinstance(found, (list, tuple))
    if key not in (np.empty_like, np.array_repr, np.array_str, np.array2string):
        for part, expected in zip(
            as_outputs(found), as_outputs(call_constant(key, x)), strict=True
        ):
            assert not isinstance(part, Tensor)
            assert_array_equal(part, expected)
