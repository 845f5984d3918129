"""What the checks have in common: calls to be checked, and how arrays are drawn for them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from microgrand.checks import name_of
from microgrand.testing import strategies
from microgrand.testing.strategies import axes as reduction_axes
from microgrand.testing.strategies import broadcastable_shapes, shapes

__all__ = ["broadcastable_shapes", "reduction_axes", "shapes"]


#: Does the profile draw many examples?
THOROUGH = settings.default.max_examples >= 100
#: For what is tried on the whole table and has many examples anyway: a quarter of the profile's.
few = settings(max_examples=settings.default.max_examples // 4)
#: For what takes longest, unless many are asked for: options and wrong rules are tried, too.
fewer = settings() if THOROUGH else settings(max_examples=12)


def as_outputs(value):
    return value if isinstance(value, (tuple, list)) else (value,)


@dataclass
class Case:
    """A call to be checked: `call` works on arrays, where it is NumPy's, and on tensors."""

    call: Callable[..., Any]
    inputs: list[Any]

    def __post_init__(self):
        self.inputs = [np.asarray(x) for x in self.inputs]  # arithmetic makes 0-d arrays numbers


#: From an entry of the table to a strategy for cases, and to the file where that is.
CHECKS: dict[Any, st.SearchStrategy[Case]] = {}
FILES: dict[Any, str] = {}


def is_ufunc_method(key):
    return isinstance(getattr(key, "__self__", None), np.ufunc)


def label(key):
    return name_of(key).removeprefix("np.") if is_ufunc_method(key) else name_of(key)


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
            CHECKS[function], FILES[function] = strategy(function), strategy.__module__
        return strategy

    return register


# --------------------------------------------------------------------------- drawing arrays

side, full_side = st.integers(0, 3), st.integers(1, 3)


def arrays(shape, low=-2.0, high=2.0):
    """Draw numbers from ``[low, high]`` that are distinct, which may be near 0."""
    return strategies.arrays((shape,) if isinstance(shape, int) else shape, low, high, kinks=())


@st.composite
def signed(draw, shape, low=0.5, high=2.0):
    """Draw numbers from ``[low, high]`` with random signs: away from zero."""
    array = draw(arrays(shape, low, high))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return array * rng.choice([-1.0, 1.0], array.shape)


def an_axis(ndim):
    return st.integers(-ndim, ndim - 1)


def several_axes(ndim, least=0):
    distinct = st.lists(an_axis(ndim), min_size=least, unique_by=lambda axis: axis % ndim)
    return distinct.map(tuple) if ndim else st.just(())


#: The dtypes that operands beside a tensor may have, too.
OTHER_DTYPES = [np.int8, np.uint8, np.int32, np.int64, np.float16, np.float32]


def in_dtype(value, dtype):
    """Convert an array; to integers away from 0, and to those without a sign by their size."""
    if np.dtype(dtype).kind == "f":
        return value.astype(dtype)
    whole = np.sign(value) * np.ceil(np.abs(value))
    return (np.abs(whole) if np.dtype(dtype).kind == "u" else whole).astype(dtype)


@st.composite
def some_constant(draw, call, values, forms=("array", "list", "dtype")):
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
            elif form == "dtype":
                constants[i] = in_dtype(value, draw(st.sampled_from(OTHER_DTYPES)))

    def mixed(*tensors):
        given = iter(tensors)
        pairs = zip(constants, is_tensor, strict=True)
        return call(*[next(given) if tensor else constant for constant, tensor in pairs])

    return Case(mixed, [v for v, tensor in zip(values, is_tensor, strict=True) if tensor])
