"""Functions whose derivative is zero, or that return no numbers: they give plain values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from microgrand import Tensor
from microgrand.dispatch import constant_functions, data_of

from .calls import can_be_called, check_any_call
from .cases import as_outputs, few, is_ufunc_method, label

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
    **dict.fromkeys([np.shares_memory, np.may_share_memory], lambda f, x: f(x, x)),
    getattr(np, "in1d", None): lambda f, x: f(x, x),  # until NumPy 2.3
    **dict.fromkeys(
        [np.tril_indices_from, np.triu_indices_from, np.diag_indices_from],
        lambda f, x: f(np.reshape(x, (1, -1))[:, :1]),
    ),
    np.ravel_multi_index: lambda f, x: f((x, x), (3, 3)),
    np.unravel_index: lambda f, x: f(x, (3, 3)),
}
ON_INTEGERS = {
    *(np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.left_shift, np.right_shift),
    *(np.bitwise_count, np.gcd, np.lcm, np.ravel_multi_index, np.unravel_index),
}


def call_constant(key, x):
    if is_ufunc_method(key):
        return key(*[x] * (2 if key.__name__ == "outer" else 1))
    if isinstance(key, np.ufunc):
        return key(*[x] * key.nin)
    return CONSTANT_CALLS.get(key, lambda f, x: f(x))(key, x)


@pytest.mark.parametrize("key", sorted(constant_functions, key=label), ids=label)
def test_constant_functions_return_plain_values(key):
    integers = key in ON_INTEGERS
    x = np.array([0, 1, 2]) if integers else np.array([-1.5, 0.5, 2.5])
    found = call_constant(key, Tensor(x, requires_grad=not integers))
    assert data_of(found) is found or isinstance(found, (list, tuple))
    if key not in (np.empty_like, np.array_repr, np.array_str, np.array2string):
        for part, expected in zip(
            as_outputs(found), as_outputs(call_constant(key, x)), strict=True
        ):
            assert not isinstance(part, Tensor)
            assert_array_equal(part, expected)


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("key", sorted(constant_functions - ON_INTEGERS, key=label), ids=label)
def test_constant_functions_have_derivative_zero(key, complex_numbers):
    if key in (np.array_repr, np.array_str, np.array2string, np.empty_like):
        return
    x = np.array([-1.4, 0.3, 2.7])
    if complex_numbers:
        x = x + np.array([0.4j, -1.3j, 0.8j])
        try:
            call_constant(key, x)
        except (TypeError, ValueError):
            return  # NumPy has it for real numbers only
        if key is np.sign:
            with pytest.raises(TypeError, match=r"np\.sign"):
                np.sign(Tensor(np.array([1.0, 2.0]), requires_grad=True) * 1j)
            return
    for step in (1e-9, -1e-9, 1e-9j) if complex_numbers else (1e-9, -1e-9):
        for found, expected in zip(
            as_outputs(call_constant(key, x * (1 + step))),
            as_outputs(call_constant(key, x)),
            strict=True,
        ):
            assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "function", sorted(filter(can_be_called, constant_functions), key=label), ids=label
)
@few
@given(data=st.data())
def test_any_call_has_numpys_outcome(function, data):
    check_any_call(function, data)
