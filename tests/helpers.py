"""What several files of tests use."""

import pickle
import sys
from unittest import mock

import numpy as np
import pytest

from microgrand import Tensor, defvjp, primitive
from microgrand.testing import GradcheckError, gradcheck

#: The dtypes that have derivatives.
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
INF, NAN = np.inf, np.nan
#: What a multiplication by a mask would not make +0, or not leave as it is.
SPECIAL = [INF, -INF, NAN, -0.0, 0.0, 1.0, -1.0]
#: What a check raises that rejects a wrong version.
REJECTED = (AssertionError, FloatingPointError, ValueError, pytest.fail.Exception)
#: The modes of `gradcheck`.
MODES = pytest.mark.parametrize("mode", ["full", "fast"])


def x34():
    """Make an array of positive numbers, the same at each call."""
    return np.random.default_rng(0).uniform(0.5, 2, (3, 4))


def leaf(*values, dtype=float):
    """Make a vector that requires a gradient."""
    return Tensor(np.array(values, dtype), requires_grad=True)


def grads_of(fn, *inputs, weights=1.0):
    """Return the gradients of ``sum(weights * fn(*inputs))``."""
    leaves = [Tensor(np.array(x, dtype=float), requires_grad=True) for x in inputs]
    with np.errstate(invalid="ignore"):  # inf - inf in the sum
        total = np.sum(fn(*leaves) * weights)
    total.backward()
    return [leaf.grad for leaf in leaves]


def make(function, *vjps, **joint):
    """Make a primitive, with its derivative if there is one."""
    wrapped = primitive(function)
    if vjps or joint:
        defvjp(wrapped, *vjps, **joint)
    return wrapped


def by_pickle(value):
    """Copy a value by pickling it."""
    return pickle.loads(pickle.dumps(value))


def zeros_exactly(array):
    """Whether all elements are zero with the sign bit of +0."""
    return not np.any(array) and not np.signbit(array).any()


def report_of(fn, *inputs, **options):
    """Return what gradcheck raises."""
    with pytest.raises(GradcheckError) as caught:
        gradcheck(fn, *inputs, **options)
    return str(caught.value)


def run_backward(outputs, cotangents, leaves, create_graph):
    """An adapter's `gradients` for a framework that has only ``backward`` and ``grad``."""
    for output, cotangent in zip(outputs, cotangents, strict=True):
        output.backward(cotangent.array)
    return [leaf.grad for leaf in leaves]


class Unexplained:
    """A failure whose cause nobody asks for."""

    def __init__(self, *args):
        pass

    def report(self):
        return ""


def refused(fn, *inputs, **options):
    """Whether `gradcheck` refuses a function; it does not find out why, which takes longer."""
    module = sys.modules["microgrand.testing.gradcheck"]  # its name is the function's, too
    with mock.patch.object(module, "Failure", Unexplained):
        try:
            gradcheck(fn, *inputs, **options)
        except GradcheckError:
            return True
    return False
