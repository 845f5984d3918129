"""What the checks have in common: calls to be checked, and how arrays are drawn for them."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st


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
    """Register a strategy, made by calling ``strategy(function)``, as the check of functions.

    A function that NumPy 2.0 did not have yet is given by its name.
    """

    def register(strategy):
        for function in functions:
            if isinstance(function, str):
                if not hasattr(np, function):
                    continue
                function = getattr(np, function)
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
    shape = (shape,) if isinstance(shape, int) else shape
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
