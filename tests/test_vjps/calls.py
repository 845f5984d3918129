"""A function's value is NumPy's own: the same bits, dtype and shape, or the same error."""

import inspect
import warnings

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from microgrand import Tensor
from microgrand.dispatch import data_of

from .cases import label

FLOATS = [np.float64, np.float32, np.float16]
INTEGERS = [np.int8, np.uint8, np.int16, np.int32, np.uint64, np.int64, np.bool_]


def scattered(x):
    """Return `x` in memory that is neither contiguous nor in order."""
    x = np.asarray(x)
    every_other = (..., *(slice(None, None, -2),) * x.ndim)
    view = np.zeros([2 * length for length in x.shape], x.dtype)[every_other]
    view[...] = x
    return view


LAYOUTS = [np.array, lambda x: x.copy("F"), scattered]
NO_END = {np.linalg.svd, np.linalg.pinv, np.linalg.lstsq}  # LAPACK may never return at an infinity


@st.composite
def extreme(draw, shape, dtype, finite=False):
    """Numbers at which formulas and NumPy part: huge, tiny, equal, infinite, missing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = ["ordinary", "alternating", "equal", "zeros", "large", "small"]
    kind = draw(st.sampled_from(kinds + ["infinite", "missing"] * (not finite)))
    x = rng.standard_normal(shape)
    info = np.finfo(dtype)
    huge, tiny = float(info.max) ** 0.65, float(info.tiny) ** 0.65
    with np.errstate(over="ignore"):
        if kind == "alternating":
            x = np.where(np.arange(x.size).reshape(shape) % 2, huge, tiny) * np.sign(x)
        elif kind == "equal":
            x = np.round(x)
        elif kind == "zeros":
            x = x * (rng.random(shape) > 0.5)
        elif kind == "large":
            x = np.sign(x) * float(info.max) / 4
        elif kind == "small":
            x = x * float(info.tiny)
        elif kind in ("infinite", "missing"):
            x = np.where(rng.random(shape) > 0.7, np.inf if kind == "infinite" else np.nan, x)
        return draw(st.sampled_from(LAYOUTS))(np.asarray(x, dtype))


def outcome(call, *args, **kwargs):
    """Return the outputs of a call, or the exception that it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(*args, **kwargs)
        except Exception as error:
            return error


def assert_same(found, expected):
    """Compare outcomes: outputs to the bit, exceptions by their type."""
    if isinstance(expected, Exception):
        assert isinstance(found, type(expected)), f"{found!r}, but NumPy: {expected!r}"
    elif isinstance(expected, (tuple, list)):
        assert not isinstance(found, Exception), repr(found)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert not isinstance(found, Exception), repr(found)
        found = data_of(found)
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)
        assert_array_equal(found, expected, strict=hasattr(expected, "dtype"))


# ----------------------------------------------------------------- any options, mistakes too

# What a parameter of such a name may be given, right or wrong.
ARRAYS = [
    "a", "x", "x1", "x2", "ary", "arr", "array", "m", "y", "p", "f", "fp", "xp", "b", "v", "z",
    "arrays", "tup", "values", "weights", "q",
]  # fmt: skip
OPTIONS = {
    "axis": [None, 0, 1, -1, 2, -3, (0, 1), (1, -1), (), "0", 1.0],
    "axes": [None, 0, 1, (1, 0), (0, 0), ((0,), (1,)), 3],
    "keepdims": [True, False],
    "dtype": [None, np.float64, np.float32, int, complex],
    "ddof": [0, 1, 2.5, 9],
    "correction": [0, 1],
    "n": [0, 1, 2, 3, -1, None],
    "N": [0, 1, 2, -1, None],
    "k": [0, 1, -2, 5],
    "kth": [0, 1, -1, 7, (0, 1)],
    "mode": ["full", "same", "valid", "constant", "edge", "wrap", "clip", "raise", "foo"],
    "order": ["C", "F", "A", "K", "Z"],
    "ord": [None, 0, 1, 2, -1, 3, np.inf, -np.inf, "fro", "nuc", "foo"],
    "norm": [None, "ortho", "forward", "foo"],
    "s": [None, (2, 2), (1,), 2],
    "offset": [0, 1, -1, 7],
    "axis1": [0, 1, -1, 2],
    "axis2": [0, 1, -1, 2],
    "source": [0, 1, (0, 1), 5],
    "destination": [0, 1, (1, 0), -1],
    "shape": [(-1,), (2, -1), (6,), (3, 2), (5,), 6, ()],
    "newshape": [(-1,)],
    "start": [0, 1, 3],
    "shift": [0, 1, (1, 2), 1.5],
    "reps": [0, 1, (2, 1), -1],
    "repeats": [0, 1, 2, [1, 2], -1],
    "indices": [0, [0, 1], [[0, 1], [1, 0]], 9, -1, [0.5]],
    "obj": [0, [0, 1], slice(1, 2), 9, True],
    "indices_or_sections": [1, 2, 3, [1], [1, 5], 0],
    "pad_width": [0, 1, ((1, 0), (0, 2)), -1],
    "num": [0, 1, 2, 5, -1],
    "endpoint": [True, False],
    "retstep": [True, False],
    "decimals": [0, 1, -1],
    "edge_order": [1, 2, 3],
    "increasing": [True, False],
    "period": [None, 1.5, 0],
    "rowvar": [True, False],
    "bias": [True, False],
    "returned": [True, False],
    "method": ["linear", "lower", "hazen", "foo"],
    "hermitian": [False],
    "full_matrices": [True, False],
    "compute_uv": [True, False],
    "UPLO": ["L", "U", "X"],
    "upper": [True, False],
    "p": [None, 1, 2, -2, np.inf, "fro", 7],
    "ind": [1, 2, 0],
    "sparse": [True, False],
    "indexing": ["xy", "ij", "foo"],
    "subscripts": ["ij->ji", "ij", "ij,jk", "ii"],
    "window_shape": [1, 2, (1, 2), 9],
    "condition": [[True, False], [[True, False, True]], [1, 0, 2]],
    "weights": [None],
    "include_initial": [True, False],
    "copy": [True],
    "posinf": [None, 3.0],
    "nan": [0.0, 7.0],
    "to_end": [None, 1.0],
    "to_begin": [None, [1.0, 2.0]],
    "stable": [None, True],
    "kind": [None, "stable", "foo"],
    "minlength": [0, 3],
    "prepend": [0.0],
    "initial": [0.5],
    "deg": [True, False],
    "discont": [None, 1.0],
}
SHAPES = [(), (3,), (2, 3), (3, 3), (2, 1), (0, 3), (2, 3, 3)]
NOT_CALLED = {
    *(np.apply_along_axis, np.apply_over_axes, np.block, np.select, np.choose),
    *(np.empty_like, np.can_cast),  # not determined; asks for the dtype that a Tensor has, too
}


def can_be_called(function):
    """Does a function of NumPy tell its parameters?"""
    if isinstance(function, (tuple, np.ufunc)) or not label(function).startswith("np."):
        return False
    if function in NOT_CALLED or function in NO_END:
        return False
    try:
        inspect.signature(function)
    except ValueError:
        return False
    return True


@st.composite
def calls(draw, function):
    """Draw arguments by the names of the parameters: ``(args, kwargs)`` with arrays of floats."""
    args, kwargs = [], {}
    dtype = draw(st.sampled_from(FLOATS))
    shape = draw(st.sampled_from(SHAPES))
    for name, parameter in inspect.signature(function).parameters.items():
        needed = parameter.default is parameter.empty
        by_name = parameter.kind is parameter.KEYWORD_ONLY
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            break
        if (name in ARRAYS and (needed or name == "y")) or (name not in OPTIONS and needed):
            if not needed and draw(st.booleans()):
                continue
            if draw(st.integers(0, 3)) == 0:
                shape = draw(st.sampled_from(SHAPES))
            kind = dtype if draw(st.integers(0, 2)) else draw(st.sampled_from(FLOATS + INTEGERS))
            if np.dtype(kind).kind == "f":
                value = draw(extreme(shape, kind))
            else:
                numbers = draw(extreme(shape, np.float16, finite=True))
                with np.errstate(all="ignore"):
                    value = (numbers * 50).astype(kind)
            if name in ("arrays", "tup"):
                value = [value, value]
        elif name in OPTIONS and (needed or draw(st.integers(0, 2)) == 0):
            value = draw(st.sampled_from(OPTIONS[name]))
        else:
            if not by_name and not needed:
                break
            continue
        if by_name:
            kwargs[name] = value
        else:
            args.append(value)
    return args, kwargs


REFUSALS = (
    "differentiable",
    "derivative",
    "not supported",
    "only floating-point results",
    "which has no graph",
)


def as_tensors(value, requires_grad):
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [as_tensors(item, requires_grad) for item in value]
    if not isinstance(value, np.ndarray):
        return value
    return Tensor(value, requires_grad=requires_grad and value.dtype.kind == "f")


def check_any_call(function, data):
    """Call a function with any arguments, right or wrong: of arrays, and of tensors."""
    args, kwargs = data.draw(calls(function))
    expected = outcome(function, *args, **kwargs)
    for requires_grad in (False, True):
        tensors = [as_tensors(value, requires_grad) for value in args]
        named = {name: as_tensors(value, requires_grad) for name, value in kwargs.items()}
        found = outcome(function, *tensors, **named)
        refused = isinstance(found, (TypeError, ValueError)) and any(
            part in str(found) for part in REFUSALS
        )
        if not (refused and requires_grad):
            assert_same(found, expected)
