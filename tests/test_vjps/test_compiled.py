"""Every entry of the table, compiled: value and cotangents have eager's bits."""

import numpy as np
import pytest
from compiled import assert_same_bits
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import compile, vjp
from microgrand.transforms import map_tree

from .cases import CHECKS
from .test_table import label


def value_and_cotangents(call):
    """Make the function that returns the value of a call, and what a cotangent comes back as."""

    def function(*inputs):
        value, pullback = vjp(call, *inputs)
        return value, pullback(map_tree(lambda part: np.sin(part) + 1, value))

    return function


#: Whose checks call np.asarray on an array that they close over, or index a list of theirs by one
#: that is recorded: both are refused.
REFUSED = {np.select, np.interp}


@pytest.mark.parametrize("key", [key for key in CHECKS if key not in REFUSED], ids=label)
@given(data=st.data())
@settings(max_examples=max(2, settings.default.max_examples // 10))
def test_compiled(key, data):
    case = data.draw(CHECKS[key])
    dtype = data.draw(st.sampled_from([np.float64, np.float32]))
    inputs = [x.astype(dtype) if x.dtype == np.float64 else x for x in case.inputs]
    eager = value_and_cotangents(case.call)
    compiled = compile(eager)
    with np.errstate(all="ignore"):
        try:
            expected = eager(*inputs)
        except TypeError:  # in float32, a few functions cannot be differentiated
            return
        for _ in range(3):
            assert_same_bits(compiled(*inputs), expected)
    assert compiled.traces
    assert compiled.eager_calls == 0
