"""Hypothesis strategies for gradient checks: arrays, shapes, indices, axes, random programs.

Derivatives can be checked only where they exist, and only where differences are accurate: away
from kinks, from equal elements that compete, and from numbers so large that rounding takes over.
What is drawn here keeps away from all three. It shrinks to a small example, and its ``repr`` is
Python code that makes it again.

>>> import numpy as np
>>> from hypothesis import given
>>> from microgrand.testing import gradcheck, strategies
>>> @given(strategies.arrays())
... def test_tanh(x):
...     gradcheck(np.tanh, x, order=2)
>>> test_tanh()
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..kinds import Array, Shape
from .adapters import Adapter
from .program import Program, names_of_numpy

# --------------------------------------------------------------------------------- arrays


def shapes(
    min_dims: int = 0, max_dims: int = 3, min_side: int = 0, max_side: int = 3
) -> st.SearchStrategy[Shape]:
    """Draw a shape, also that of a 0-d and of an empty array.

    Parameters
    ----------
    min_dims, max_dims
        Bounds for the number of axes.
    min_side, max_side
        Bounds for their lengths.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(shapes(min_dims=1))
    ... def test(shape):
    ...     assert np.zeros(shape).ndim in (1, 2, 3)
    >>> test()
    """
    sides = st.integers(min_side, max_side)
    return st.lists(sides, min_size=min_dims, max_size=max_dims).map(tuple)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: Shape | st.SearchStrategy[Shape] | None = None,
    low: float = -2.0,
    high: float = 2.0,
    kinks: Sequence[float] = (0.0,),
) -> Array:
    """Draw a float64 array where functions are smooth.

    The elements are distinct, so that ``max`` and ``sort`` have derivatives, and small, so that
    ``exp`` does not overflow. They are decimals of few digits, but not round numbers: at 0, 1
    and 2 too many wrong derivatives are right by accident.

    Parameters
    ----------
    shape
        A shape or a strategy for one; by default `shapes`.
    low, high
        The range of the elements, ends excluded: ``low=0.5`` for a logarithm.
    kinks
        Where the function has no derivative: elements stay a twentieth of the range away.

    Raises
    ------
    ValueError
        If the range is empty, or the kinks leave nothing of it.

    Examples
    --------
    >>> from hypothesis import given
    >>> from microgrand.testing import gradcheck
    >>> @given(arrays((2, 3), kinks=(-1, 1)))
    ... def test_clip(x):
    ...     assert np.all(abs(abs(x) - 1) > 0.19)
    ...     assert gradcheck(lambda x: np.clip(x, -1, 1), x)
    >>> test_clip()
    """
    if shape is None:
        shape = shapes()
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    # Between the kinks lie intervals. Places are drawn along all of them, laid end to end.
    margin = (high - low) / 20
    kinks = [kink for kink in sorted(kinks) if low - margin < kink < high + margin]
    starts = np.maximum([low, *(kink + margin for kink in kinks)], low)
    ends = np.minimum([*(kink - margin for kink in kinks), high], high)
    lengths = np.maximum(ends - starts, 0)
    room = float(np.sum(lengths))
    if not room > 0:
        raise ValueError(f"no number from {low} to {high} is away from the kinks {kinks}")
    n = math.prod(shape)
    spacing = room / max(n, 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    places = spacing * (rng.permutation(n) + rng.uniform(0.2, 0.8, n))
    before = np.cumsum(lengths) - lengths
    k = np.searchsorted(np.cumsum(lengths), places)
    digits = 1 + math.ceil(-math.log10(spacing / 10))
    return np.asarray(np.round(starts[k] + places - before[k], digits).reshape(shape))


# --------------------------------------------------------------------- shapes that belong together


def broadcastable_shapes(
    number: int = 2, min_side: int = 0, max_side: int = 3
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Draw shapes that NumPy broadcasts together, with missing axes and axes of length 1.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(broadcastable_shapes(3))
    ... def test(shapes):
    ...     np.broadcast_shapes(*shapes)
    >>> test()
    """
    return hnp.mutually_broadcastable_shapes(
        num_shapes=number, max_dims=3, min_side=min_side, max_side=max_side
    ).map(lambda drawn: drawn.input_shapes)


def matmul_shapes(min_side: int = 0, max_side: int = 3) -> st.SearchStrategy[tuple[Shape, Shape]]:
    """Draw two shapes for ``x @ y``: vectors, matrices, and batches that broadcast.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(matmul_shapes())
    ... def test(shapes):
    ...     x, y = shapes
    ...     np.zeros(x) @ np.zeros(y)
    >>> test()
    """
    return hnp.mutually_broadcastable_shapes(
        signature=np.matmul.signature, max_dims=2, min_side=min_side, max_side=max_side
    ).map(lambda drawn: (drawn.input_shapes[0], drawn.input_shapes[1]))


# -------------------------------------------------------------------------- axes and indices


def axes(ndim: int) -> st.SearchStrategy[int | tuple[int, ...] | None]:
    """Draw the ``axis`` of a reduction: None, one axis or a tuple of them, of either sign.

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(axes(3))
    ... def test(axis):
    ...     np.sum(np.zeros((1, 2, 3)), axis=axis)
    >>> test()
    """
    if ndim == 0:
        return st.sampled_from([None, ()])
    one = st.integers(-ndim, ndim - 1)
    return st.none() | one | st.lists(one, unique_by=lambda axis: axis % ndim).map(tuple)


def indices(shape: Shape) -> st.SearchStrategy[Any]:
    """Draw an index of an array of a shape, of any kind that NumPy knows.

    Basic indices (numbers, slices, ``...``, ``None``), integer arrays and lists, which may select
    an element twice, boolean masks, and mixtures of all of them.

    Examples
    --------
    >>> from hypothesis import given
    >>> from microgrand.testing import gradcheck
    >>> @given(indices((2, 3)))
    ... def test(index):
    ...     x = np.arange(6.0).reshape(2, 3)
    ...     assert gradcheck(lambda x: x[index], x)
    >>> test()
    """
    kinds = [hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True), masks(shape)]
    if shape and 0 not in shape:
        results = hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
        kinds += [hnp.integer_array_indices(shape, result_shape=results), mixed_indices(shape)]
    return st.one_of(kinds)


@st.composite
def masks(draw: st.DrawFn, shape: Shape) -> Any:
    """Draw a boolean mask of the first axes, alone or beside ``...`` and ``None``."""
    mask = draw(hnp.arrays(bool, shape[: draw(st.integers(0, len(shape)))]))
    around = [mask, (mask, ...), (None, mask)]
    if mask.ndim == len(shape):
        around.append((..., mask, None))
    return draw(st.sampled_from(around))


@st.composite
def mixed_indices(draw: st.DrawFn, shape: Shape) -> tuple[Any, ...]:
    """Draw for each axis a number, a slice, a list or a column, or one mask, with new axes."""
    index: list[Any] = []
    masked = False
    for length in shape:
        place = st.integers(-length, length - 1)
        parts = [
            place,
            st.slices(length),
            st.tuples(place, place).map(list),
            st.tuples(place, place).map(lambda two: np.array(two)[:, None]),
        ]
        if not masked and draw(st.integers(0, 4)) == 4:
            # One element at most, so that it broadcasts with whatever stands beside it.
            mask = np.arange(length) == draw(place) % length
            masked = True
            index.append(mask)
        else:
            index.append(draw(st.one_of(parts)))
        if draw(st.integers(0, 4)) == 4:
            index.append(None)
    return tuple(index)


# -------------------------------------------------------------------------- random programs

Expression = str | tuple[str, str | None] | tuple[str, str | None, str]

#: What a line of a program may compute from one or two earlier values, and, where there are such
#: places, what is 0 where it is not smooth. The simplest first, as Hypothesis shrinks to those.
EXPRESSIONS: list[Expression] = [
    ("{0} + {1}", None),
    ("{0} * {1}", None),
    ("{0} - {1}", None),
    ("{0} / {1}", "{1}"),
    ("-{0}", None),
    ("0.7 * {0}", None),
    ("1.3 - {0}", None),
    ("{0} ** 2", None),
    ("np.sin({0})", None),
    ("np.exp({0})", None),
    ("np.tanh({0})", None),
    ("np.log({0})", "{0}"),
    ("np.sqrt({0})", "{0}"),
    ("np.abs({0})", "{0}"),
    ("np.maximum({0}, {1})", "{0} - {1}"),
    ("np.where({0} < {1}, {0}, {1} ** 2)", "{0} - {1}"),
    ("{0} @ {1}", None),
    ("{0} @ np.swapaxes({1}, -1, -2)", None),
    ("np.sum({0})", None),
    ("np.sum({0}, axis=0)", None),
    ("np.sum({0}, axis=-1, keepdims=True)", None),
    ("np.mean({0}, axis=-1)", None),
    ("np.var({0})", None),
    ("np.prod({0}, axis=0)", None),
    ("np.cumsum({0}, axis=-1)", None),
    ("np.max({0}, axis=-1)", "np.diff(np.sort({0}))"),
    ("np.sort({0}, axis=0)", "np.diff(np.sort({0}, axis=0), axis=0)"),
    ("np.transpose({0})", None),
    ("np.reshape({0}, -1)", None),
    ("np.expand_dims({0}, 0)", None),
    ("np.flip({0}, 0)", None),
    ("np.concatenate([{0}, {1}])", None),
    ("np.stack([{0}, {1}], -1)", None),
    ("{0}[0]", None),
    ("{0}[..., 1:]", None),
    ("{0}[[0, -1, 0]]", None),
    ("{0}[{0} > 0]", "{0}"),
]


def programs(
    max_lines: int = 10,
    expressions: Sequence[Expression] = EXPRESSIONS,
    namespace: Mapping[str, Any] | None = None,
    adapter: Adapter | None = None,
) -> st.SearchStrategy[Program]:
    """Draw a `Program` of one or two inputs: a graph whose values may be used several times.

    Its intermediate values stay finite, below 100 and away from kinks. A test that fails shrinks
    to the fewest lines that fail, and Hypothesis prints them as code.

    Parameters
    ----------
    max_lines
        The largest number of lines.
    expressions
        What a line may compute. Each is a template such as ``"{0} * {1}"`` for one or two earlier
        values; or a tuple of a template, of what is 0 where that is not smooth (or None), and, if
        NumPy does not understand the template, of one that it does, with ``np``.
    namespace
        What the names in templates mean, for tensors. NumPy's meaning of ``sin`` is ``np.sin``.
    adapter
        The framework. What it raises an exception for is left out.

    Examples
    --------
    >>> from hypothesis import given
    >>> from microgrand.testing import gradcheck
    >>> @given(programs())
    ... def test_derivatives(program):
    ...     assert gradcheck(program, *program.inputs, order=2)
    >>> test_derivatives()

    For another framework; `gradcheck` compares the values with NumPy's first:

    >>> from microgrand import Tensor
    >>> from microgrand.testing import Adapter
    >>> mine = Adapter.guess(Tensor)
    >>> known = ["{0} + {1}", "{0} * {1}", "sin({0})", ("{0}.relu()", "{0}", "np.maximum({0}, 0)")]
    >>> @given(programs(expressions=known, namespace={"sin": np.sin}, adapter=mine))
    ... def test_mine(program):
    ...     gradcheck(program, *program.inputs, adapter=mine, reference=program.reference)
    >>> test_mine()
    """
    if isinstance(expressions, str) or not expressions:
        raise TypeError(
            f"programs expects expressions, a list of templates such as ['{{0}} * {{1}}'], got "
            f"{expressions!r}"
        )
    return programs_of(max_lines, expressions, namespace, adapter)


@st.composite
def programs_of(
    draw: st.DrawFn,
    max_lines: int,
    expressions: Sequence[Expression],
    namespace: Mapping[str, Any] | None,
    adapter: Adapter | None,
) -> Program:
    """Do what `programs` does."""
    inputs = [draw(arrays(shape)) for shape in draw(broadcastable_shapes(2, min_side=1))]
    names = {"np": np, **(namespace or {})}
    known = names_of_numpy(names)
    values: dict[str, Any] = {f"x{k}": x for k, x in enumerate(inputs)}
    tensors: dict[str, Any] = {}
    if adapter is not None:
        with contextlib.suppress(Exception):
            tensors = {name: adapter.tensor(x.copy()) for name, x in values.items()}
        assume(all(np.shape(adapter.array(tensors[x])) == values[x].shape for x in tensors))
        assume(tensors)
    lines: list[tuple[str, str, str, set[str]]] = []
    # Operands are numbered back from the latest value. That is often the first one, so that long
    # chains come up, and always the simplest.
    back = st.tuples(st.sampled_from([0, 0, 0, 1, 2, 3]), st.integers(0, 5))
    step = st.tuples(st.sampled_from(list(expressions)), back)
    for expression, places in draw(st.lists(step, min_size=1, max_size=max_lines)):
        template, zero_at_kinks, for_numpy = parts_of(expression)
        operands = [list(values)[-1 - i % len(values)] for i in places]
        # That a 0-d array has an axis 0 for np.sum, though not for np.sort, is not to be relied on.
        if "axis" in template and values[operands[0]].ndim == 0:
            continue
        if zero_at_kinks:
            distance = evaluate(zero_at_kinks.format(*operands), {**known, **values})
            if distance is None or np.any(np.abs(distance) < 0.1):
                continue
        line = template.format(*operands)
        for_numpy = for_numpy.format(*operands)
        value = evaluate(for_numpy, {**known, **values})
        if value is None or not 0 < value.size < 100 or not np.all(np.abs(value) < 100):
            continue
        name = f"v{len(lines)}"
        if adapter is not None:
            try:
                tensors[name] = eval(line, {**names, **tensors})
                if tensors[name] is not None:  # of which gradcheck tells
                    adapter.array(tensors[name])
            except Exception:
                continue
        values[name] = value
        used = set(operands if "{1}" in template else operands[:1])
        lines.append((f"{name} = {line}", f"{name} = {for_numpy}", name, used))
    assume(lines)
    # Keep only what the result depends on.
    kept: list[tuple[str, str]] = []
    needed = {lines[-1][2]}
    for line, for_numpy, name, used in reversed(lines):
        if name in needed:
            kept.insert(0, (line, for_numpy))
            needed |= used
    of_tensors, of_numpy = zip(*kept, strict=True)
    return Program(
        *of_tensors,
        namespace=namespace,
        reference=of_numpy,
        **{x: values[x] for x in ("x0", "x1") if x in needed},
    )


def parts_of(expression: Expression) -> tuple[str, str | None, str]:
    """Return an expression's template, what is 0 where it is not smooth, and NumPy's template."""
    if isinstance(expression, str):
        return expression, None, expression
    return expression if len(expression) == 3 else (*expression, expression[0])


def evaluate(expression: str, values: dict[str, Any]) -> Any:
    """Return the value of an expression, or None if it does not fit the shapes."""
    try:
        with np.errstate(all="ignore"):
            return eval(expression, {"np": np, **values})
    except (TypeError, ValueError, IndexError):
        return None
