"""Every entry of the table has its tests, every function of NumPy its place, and defaults agree."""

import inspect
import re
import sys

import numpy as np
import pytest

from microgrand import vjps
from microgrand.checks import name_of
from microgrand.dispatch import constant_functions, formulas
from microgrand.engine import rules_of

from . import (  # noqa: F401  they register their checks
    test_calculus,
    test_elementwise,
    test_fourier,
    test_images,
    test_linalg,
    test_nn_primitives,
    test_passages,
    test_products,
    test_reductions,
    test_shapes,
    test_statistics,
    walks,
)
from .cases import CHECKS, FILES, is_ufunc_method, label


def test_every_entry_of_the_table_has_a_check():
    # Other tests may define derivatives of functions of their own, and of primitives of NumPy's.
    table = {
        f
        for f in rules_of
        if name_of(f).startswith(("microgrand.", "operator."))
        or (name_of(f).startswith("np.") and not inspect.isfunction(f))
    }
    missing = [label(key) for key in (table | set(formulas)) - set(CHECKS)]
    assert not missing, f"no check in CHECKS for {missing}"
    unknown = [label(key) for key in set(CHECKS) - set(rules_of) - set(formulas)]
    assert not unknown, f"CHECKS has {unknown}, which the table lacks"


def test_every_file_of_checks_has_the_tests_of_its_entries():
    for name in set(FILES.values()):
        assert set(walks.__all__) <= set(vars(sys.modules[name])), name


def documented_as_unsupported():
    entries = re.findall(r"^- ((?:(?!^- ).)*?):\s", vjps.__doc__, re.MULTILINE | re.DOTALL)
    return {name for entry in entries for name in re.findall(r"[\w.=]+", entry)}


NAMESPACES = (np, np.linalg, np.fft, np.lib.stride_tricks)


def test_every_function_of_numpy_is_in_the_table_or_documented_as_unsupported():
    dispatched = (np.ufunc, type(np.sum))  # those that ask a Tensor what to do
    table = set(rules_of) | set(formulas) | constant_functions
    names = {
        name
        for namespace in NAMESPACES
        for name, function in vars(namespace).items()
        if isinstance(function, dispatched) and function not in table
    }
    unsupported = documented_as_unsupported()
    missing = sorted(names - unsupported)
    assert not missing, f"neither supported nor documented as unsupported: {missing}"
    every = {name for namespace in NAMESPACES for name in vars(namespace)}
    supported = sorted((unsupported & every) - names)
    assert not supported, f"documented as unsupported, but supported: {supported}"


# What it means if an argument is left out, where NumPy's signature does not say.
NOT_GIVEN = {"keepdims": False, "where": True, "correction": 0}


def check_default(function, name, ours, theirs):
    if isinstance(theirs, type(np._NoValue)) and theirs is not ours:
        theirs = NOT_GIVEN.get(name)
    assert ours == theirs, (name_of(function), name)


def parameters_of(function):
    """Return a function's parameters; none for those in C, which do not tell before NumPy 2.4."""
    try:
        return inspect.signature(function).parameters
    except ValueError:
        assert np.lib.NumpyVersion(np.__version__) < "2.4.0"
        return {}


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0",
    reason="clip and astype take more since NumPy 2.1",
)
def test_formulas_take_the_arguments_of_numpys_functions():
    for function, formula in formulas.items():
        if isinstance(function, np.ufunc) or is_ufunc_method(function) or function is np.pad:
            continue
        theirs = parameters_of(function)
        if not theirs:
            continue
        ours = inspect.signature(formula.compose).parameters
        named = [
            name for name, p in ours.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        assert set(named) <= set(theirs), name_of(function)
        positional = [
            name for name in named if ours[name].kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        assert positional == list(theirs)[: len(positional)], name_of(function)
        for name in named:
            check_default(function, name, ours[name].default, theirs[name].default)


def test_vjps_have_the_default_values_of_their_functions():
    # A call that leaves an argument out leaves it out of the call of the VJP, too.
    for function, rules in rules_of.items():
        if isinstance(function, np.ufunc):
            continue
        theirs = parameters_of(function)
        for vjp in filter(None, [*rules.vjps, rules.joint]):
            for name, ours in inspect.signature(vjp).parameters.items():
                if ours.default is not ours.empty and name in theirs:
                    check_default(function, name, ours.default, theirs[name].default)
