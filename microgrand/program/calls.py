"""The recorded program: a flat list of calls of functions on variables.

    c = np.multiply(a, b)        Call(np.multiply, (a, b), {}, c)

It is data and nothing else: recorder.py writes it down, passes.py makes it shorter, source.py
writes it as Python. A call's arguments are variables and constants, at any depth in tuples, lists,
dicts and slices. Most calls make a value. Some write into arrays that were there before; which, is
in their `writes`.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .containers import CONTAINERS, items_of, with_items


class Storage:
    """The memory of an array: views of it share it, and a write into one changes the others."""

    __slots__ = ("constant", "external")

    def __init__(self, external: bool = False, constant: bool = False) -> None:
        self.external = external  # whether it exists before or after a run
        self.constant = constant


@dataclasses.dataclass(eq=False, slots=True)
class Variable:
    """A value of the program."""

    kind: type  # np.ndarray or a device's array, a class of NumPy's scalars, or float, int, bool
    shape: tuple[int, ...]
    dtype: Any  # None for Python's numbers
    strides: tuple[int, ...]
    storage: Storage
    name: str = ""
    value: Any = None  # of a constant
    read_only: bool = False  # whether those who see it may not write into it
    writeable: bool = True  # whether it may be written into; some views may not

    @property
    def is_array(self) -> bool:
        """Whether this is an array, not a scalar."""
        return hasattr(self.kind, "__array_function__")

    @property
    def on_device(self) -> bool:
        """Whether this is an array of another library."""
        return self.is_array and self.kind is not np.ndarray

    @property
    def is_generator(self) -> bool:
        """Whether this is a generator of random numbers."""
        return hasattr(self.kind, "standard_normal")

    @property
    def nbytes(self) -> int:
        """The size of an array's elements."""
        return int(np.prod(self.shape, dtype=int)) * int(self.dtype.itemsize)

    def __repr__(self) -> str:
        return f"{self.name or 'v'}: {self.dtype or self.kind.__name__}{list(self.shape)}"


@dataclasses.dataclass(eq=False, slots=True)
class Call:
    """One line of the program.

    `result` is a variable, a list or tuple of them as the function returns it, or None.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    writes: tuple[Variable, ...] = ()
    line: str = ""  # of the user's code
    errstate: tuple[tuple[str, str], ...] = ()  # what np.errstate has changed
    section: str = ""  # forward, loss, backward, update
    origin: str = ""  # the primitive or the rule that it belongs to

    def operands(self) -> list[Variable]:
        """List the variables among the arguments."""
        found = variables_in(self.args)
        return found + variables_in(self.kwargs) if self.kwargs else found

    def results(self) -> list[Variable]:
        """List the variables that the call makes."""
        return variables_in(self.result)


@dataclasses.dataclass(eq=False)
class Program:
    """What is recorded of one call of a function."""

    calls: list[Call]
    #: What each run is given, and arrays that stay the same ones from run to run.
    inputs: list[Variable]
    bound: list[Variable]
    #: What others see afterwards: `early`, before the call `commit`, which is the first to write
    #: into an array that was there before; and `late`, at the end.
    early: list[Variable] = dataclasses.field(default_factory=list)
    late: list[Variable] = dataclasses.field(default_factory=list)
    commit: Call | None = None
    #: The call before which the gradients of the run before are let go, as zero_grad() does.
    release: Call | None = None
    #: Calls that are made once, for all runs: memory, and views of it and of bound arrays.
    once: list[Call] = dataclasses.field(default_factory=list)
    #: Calls that make memory for what others are shown, in each run.
    fresh: list[Call] = dataclasses.field(default_factory=list)
    #: Calls that only depend on Python's numbers: made when one of these has changed.
    numbers: list[Call] = dataclasses.field(default_factory=list)
    #: Which values are computed into such memory.
    buffers: set[Variable] = dataclasses.field(default_factory=set)

    @property
    def shown(self) -> set[Variable]:
        """The variables that are handed out."""
        return {*self.early, *self.late}

    @property
    def on_device(self) -> bool:
        """Whether there are arrays of a device in it."""
        values = itertools.chain(self.shown, *((*c.operands(), *c.results()) for c in self.calls))
        return any(variable.on_device for variable in values)


# ------------------------------------------------------- what is called besides NumPy's functions


@dataclasses.dataclass(frozen=True, slots=True)
class Method:
    """A method of arrays, or of generators, as a function."""

    name: str

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return getattr(x, self.name)(*args, **kwargs)


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of arrays, as a function."""

    name: str

    def __call__(self, x: Any) -> Any:
        """Return it."""
        return getattr(x, self.name)


def raw_bytes(rng: np.random.Generator, count: int) -> Any:
    """Draw uniform bytes, eight from each of `count` words of a generator of 64 bits."""
    return rng.bit_generator.random_raw(count).view(np.uint8)


def in_the_memory_of(array: Any) -> Any:
    """Return an existing array, for another value to be computed into."""
    return array


def same(value: Any) -> Any:
    """Return a number as it is."""
    return value


class Deviation(Exception):  # noqa: N818
    """A run would not do what was recorded."""


def expect(convert: Callable[[Any], Any], value: Any, expected: Any) -> None:
    """Raise if a value on which the recorded call depended is different."""
    if convert(value) != expected:
        raise Deviation


def expect_shape(value: Any, shape: tuple[int, ...]) -> None:
    """Raise if an array whose shape depends on values has a different shape."""
    if value.shape != shape:
        raise Deviation


def expect_dtype(value: Any, dtype: Any) -> None:
    """Raise if an array or number whose dtype depends on values has a different dtype."""
    if value.dtype != dtype:
        raise Deviation


CHECKS = (expect, expect_shape, expect_dtype)


# --------------------------------------------------------------------- nested arguments


def variables_in(value: Any) -> list[Variable]:
    """List the variables in an argument."""
    if isinstance(value, Variable):
        return [value]
    if isinstance(value, slice):
        value = value.start, value.stop, value.step
    elif isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [variable for item in value for variable in variables_in(item)]


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply `function` to each item in nested tuples, lists, dicts and slices."""
    kind = type(value)
    if kind is tuple or kind is list:  # as most are
        return kind([mapped(function, item) for item in value])
    if isinstance(value, CONTAINERS):
        return with_items(value, [mapped(function, item) for _, item in items_of(value)])
    if isinstance(value, slice):
        return slice(*[mapped(function, part) for part in (value.start, value.stop, value.step)])
    return function(value)


def leaves(value: Any) -> list[Any]:
    """List the items in nested tuples, lists, dicts and slices."""
    found: list[Any] = []
    mapped(found.append, value)
    return found


#: Python's operators, and the ufunc that does the same to arrays.
UFUNC_OF: dict[Any, Any] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.truediv: np.true_divide,
    operator.floordiv: np.floor_divide,
    operator.mod: np.remainder,
    operator.matmul: np.matmul,
    operator.neg: np.negative,
    operator.abs: np.absolute,
    operator.invert: np.invert,
    operator.and_: np.bitwise_and,
    operator.or_: np.bitwise_or,
    operator.xor: np.bitwise_xor,
    operator.lshift: np.left_shift,
    operator.rshift: np.right_shift,
    operator.lt: np.less,
    operator.le: np.less_equal,
    operator.gt: np.greater,
    operator.ge: np.greater_equal,
    operator.eq: np.equal,
    operator.ne: np.not_equal,
}

#: What writes into its first operand, and the ufunc that does.
IN_PLACE: dict[Any, Any] = {
    operator.iadd: np.add,
    operator.isub: np.subtract,
    operator.imul: np.multiply,
    operator.itruediv: np.true_divide,
    operator.ifloordiv: np.floor_divide,
    operator.imod: np.remainder,
    operator.iand: np.bitwise_and,
    operator.ior: np.bitwise_or,
    operator.ixor: np.bitwise_xor,
}


#: The way back: ``np.add(x, y, out=x)`` is ``x += y``.
OPERATOR_IN_PLACE = {ufunc: function for function, ufunc in IN_PLACE.items()}


# --------------------------------------------------------------------- what a call is like


def is_elementwise(call: Call) -> bool:
    """Tell whether each element of the result depends on the elements in its place only."""
    function = UFUNC_OF.get(call.function, call.function)
    if function is np.clip:
        return len(call.args) <= 3
    return isinstance(function, np.ufunc) and function.signature is None


def shares_memory(call: Call) -> bool:
    """Tell whether a call makes an array that lies in the memory of an operand."""
    result = call.result
    return isinstance(result, Variable) and any(
        v.storage is result.storage for v in call.operands()
    )


def is_contiguous(variable: Variable) -> bool:
    """Tell whether an array lies in memory row by row."""
    stride = variable.dtype.itemsize
    for length, step in zip(reversed(variable.shape), reversed(variable.strides), strict=True):
        if length != 1 and step != stride:
            return False
        stride *= length
    return True


def is_dense(variable: Variable) -> bool:
    """Tell whether an array fills its memory, in whatever order of its axes."""
    if 0 in variable.shape:
        return False
    stride = variable.dtype.itemsize
    axes = sorted(zip(variable.strides, variable.shape, strict=True))
    for step, length in axes:
        if length != 1:
            if step != stride:
                return False
            stride *= length
    return True


def made_in(calls: list[Call]) -> set[Variable]:
    """Return what calls make, without what they only write into."""
    return {v for call in calls for v in call.results() if v not in call.writes}


def is_plain_index(index: Any) -> bool:
    """Tell whether an index consists of constant integers, slices and new axes."""
    items = index if isinstance(index, tuple) else (index,)
    return all(
        type(item) is int
        or item is None
        or item is Ellipsis
        or (
            isinstance(item, slice)
            and all(
                part is None or type(part) is int for part in (item.start, item.stop, item.step)
            )
        )
        for item in items
    )


def alike(x: Variable, y: Variable) -> bool:
    """Tell whether two arrays look the same in memory, and the first may be written into."""
    same_kind = x.kind is y.kind and x.dtype == y.dtype
    return x.writeable and same_kind and x.shape == y.shape and x.strides == y.strides


def one_axis(variable: Variable, length: int, name: str) -> Variable:
    """Return the variable of an array's elements, or of some of them, along one axis."""
    strides = (variable.dtype.itemsize,)
    return dataclasses.replace(variable, shape=(length,), strides=strides, name=name)
