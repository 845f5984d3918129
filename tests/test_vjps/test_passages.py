"""Checks of the primitives that only pass cotangents on: those of hooks and of `remat`."""

import numpy as np
from hypothesis import strategies as st

from microgrand import nn, recomputing, remat
from microgrand.nn import hooks

from .cases import Case, arrays, covers, shapes
from .walks import *  # noqa: F403  the tests of all that this file has checks for


@covers(hooks.begin_of_backward, hooks.end_of_backward)
def hooked(function):
    def call(x):
        module = nn.Tanh()
        module.register_full_backward_hook(lambda module, g_input, g_output: None)
        return module(x)

    return st.builds(lambda x: Case(call, [x]), arrays(shapes()))


@covers(recomputing.remat_output)
def recomputed(function):
    call = remat(lambda x, y: np.tanh(x) * y)
    return st.builds(lambda x: Case(call, [x, x + 1]), arrays(shapes()))
