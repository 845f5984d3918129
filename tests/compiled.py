"""What the tests of `compile` share: the comparison with eager code, and what fails it."""

import numpy as np
from helpers import REJECTED

from microgrand import Tensor, compile


def assert_same_bits(result, expected):
    """Compare what two functions returned: kinds, dtypes, shapes and every bit."""
    if isinstance(expected, (list, tuple)):
        assert type(result) is type(expected)
        assert len(result) == len(expected)
        for r, e in zip(result, expected, strict=True):
            assert_same_bits(r, e)
    elif isinstance(expected, dict):
        assert result.keys() == expected.keys()
        for key in expected:
            assert_same_bits(result[key], expected[key])
    elif isinstance(expected, Tensor):
        assert isinstance(result, Tensor)
        assert_same_bits(result.data, expected.data)
    else:
        assert type(result) is type(expected)
        if isinstance(expected, (np.ndarray, np.generic)):
            assert result.dtype == expected.dtype
            assert result.shape == expected.shape
            same = result.tobytes() == expected.tobytes()
            assert same or np.array_equal(result, expected, equal_nan=True)
            signs = np.isnan(expected) if expected.dtype.kind == "f" else np.zeros(expected.shape)
            assert np.array_equal(
                np.signbit(result)[~np.asarray(signs, bool)] if expected.dtype.kind == "f" else 0,
                np.signbit(expected)[~np.asarray(signs, bool)] if expected.dtype.kind == "f" else 0,
            )
        else:
            assert result == expected or (result != result and expected != expected)


def assert_runs_as_eager(function, *arguments, calls=4):
    """Call a function and its compiled self in turns; the program must have run in the end.

    `arguments` are functions that make the arguments of a call from its number.
    """
    compiled = compile(function)
    for number in range(calls):
        args = [make(number) for make in arguments]
        again = [make(number) for make in arguments]
        assert_same_bits(compiled(*again), function(*args))
    assert len(compiled.traces) == 1
    assert compiled.eager_calls == 0
    return compiled


def rejects(check):
    """Whether a check finds a mistake in the compiler, or fails of it."""
    try:
        with np.errstate(all="ignore"):
            check()
    except (*REJECTED, TypeError, RuntimeError, IndexError, KeyError, NameError):
        return True
    return False
