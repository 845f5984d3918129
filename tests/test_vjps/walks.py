"""The tests that each entry of the table has: values, derivatives, and whether those are noticed.

A file of checks imports them all, and they run for the entries that it covers.
"""

import contextlib

import numpy as np
import pytest
from helpers import refused
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.linalg import LinAlgError
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor
from microgrand.dispatch import Formula, data_of, formulas
from microgrand.engine import Rules, backpropagate, rules_of
from microgrand.testing import MICROGRAND, GradcheckError, gradcheck
from microgrand.testing.gradcheck import check_values
from microgrand.testing.point import Point

from .calls import (
    FLOATS,
    NO_END,
    assert_same,
    can_be_called,
    check_any_call,
    extreme,
    outcome,
    scattered,
)
from .cases import CHECKS, FILES, THOROUGH, as_outputs, few, fewer, is_ufunc_method, label

#: What a test may ask for, and which entries of the table that is.
KINDS = {
    "key": lambda key: True,
    "rule": lambda key: key in rules_of,
    "formula": lambda key: key in formulas,
    "of_numpy": lambda key: is_ufunc_method(key) or label(key).startswith("np."),
    "function": can_be_called,
    # The order within the parts is NumPy's choice, and may be another one for each dtype.
    "determined": lambda key: key is not np.partition,
}


def pytest_generate_tests(metafunc):
    """Run a test that asks for an entry for all of that kind that its file covers."""
    for kind, is_one in KINDS.items():
        if kind in metafunc.fixturenames:
            keys = [key for key in CHECKS if FILES[key] == metafunc.module.__name__ and is_one(key)]
            metafunc.parametrize(kind, keys, ids=label)


# ------------------------------------------------------------------------------------- values


@few
@given(data=st.data())
def test_values_at_extreme_inputs(key, data):
    case = data.draw(CHECKS[key])
    dtype = data.draw(st.sampled_from(FLOATS))
    inputs = [data.draw(extreme(x.shape, dtype, key in NO_END)) for x in case.inputs]
    expected = outcome(case.call, *inputs)
    for requires_grad in (True, False):
        tensors = [Tensor(x, requires_grad=requires_grad) for x in inputs]
        assert_same(outcome(case.call, *tensors), expected)


@few
@given(data=st.data())
def test_any_call_has_numpys_outcome(function, data):
    check_any_call(function, data)


# -------------------------------------------------------------------------------- derivatives


def gradients(call, inputs, layout=np.array):
    """Return the values of a call, and the gradients of their sum weighted with 1, 2, 3 ..."""
    leaves = [Tensor(layout(x), requires_grad=True) for x in inputs]
    outputs = as_outputs(call(*leaves))
    totals = [np.zeros_like(x) for x in inputs]
    for out in outputs:
        if not isinstance(out, Tensor) or not out.requires_grad:  # one of several, say
            continue
        cotangent = 1 + np.arange(out.size, dtype=out.dtype).reshape(out.shape)
        found = backpropagate(out, layout(cotangent), set(leaves))
        for total, leaf in zip(totals, leaves, strict=True):
            if leaf in found:
                assert found[leaf].dtype == leaf.dtype
                assert found[leaf].shape == leaf.shape
                total += found[leaf]
    return [data_of(out) for out in outputs], totals


@pytest.mark.filterwarnings("ignore:(Mean of empty|All-NaN) slice", "ignore:invalid value")
@fewer
@given(data=st.data())
def test_values_and_derivatives(key, data):
    case = data.draw(CHECKS[key])
    for dtype in (np.float32, np.float64):
        inputs = [x.astype(dtype) for x in case.inputs]
        expected = as_outputs(case.call(*inputs))
        values, grads = gradients(case.call, inputs)
        for value, array in zip(values, expected, strict=True):
            assert_array_equal(value, array, strict=True)
    scattered_values, scattered_grads = gradients(case.call, inputs, scattered)
    for found, expected in zip(scattered_values + scattered_grads, values + grads, strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    # Entry by entry takes long, and random projections tell of the same mistakes.
    mode = data.draw(st.sampled_from(["fast", "fast", "fast", "full"]))
    gradcheck(case.call, *case.inputs, order=2 if mode == "fast" or THOROUGH else 1, mode=mode)


def real_parts(value):
    """List the real and imaginary parts of outputs that may be complex, and may be nested."""
    parts = []
    for out in as_outputs(value):
        if isinstance(out, (tuple, list)):
            parts += real_parts(out)
        elif hasattr(out, "dtype"):
            parts += [np.real(out), np.imag(out)]
    return parts


@pytest.mark.filterwarnings("ignore")
@few
@given(data=st.data())
def test_values_of_any_precision_are_those_of_a_reference_in_float64(determined, data):
    case = data.draw(CHECKS[determined])
    for dtype in (np.float64, np.float32, np.float16):
        inputs = [x.astype(dtype) for x in case.inputs]
        try:
            point = Point(case.call, inputs, MICROGRAND, [""] * len(inputs), "output")
        except (GradcheckError, TypeError):
            assert dtype == np.float16  # which LAPACK does not have
        else:
            check_values(point, case.call)


@pytest.mark.filterwarnings("ignore")
@few
@given(data=st.data())
def test_functions_of_complex_numbers_have_right_derivatives_or_refuse(of_numpy, data):
    case = data.draw(CHECKS[of_numpy])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    imaginary = [rng.uniform(0.3, 1, x.shape) for x in case.inputs]
    n = len(imaginary)

    def fn(*parts):
        return real_parts(
            case.call(*(x + 1j * y for x, y in zip(parts[:n], parts[n:], strict=True)))
        )

    try:
        fn(*case.inputs, *imaginary)
    except (TypeError, ValueError):
        return  # NumPy has it for real numbers only
    try:
        gradients(fn, [*case.inputs, *imaginary])
    except TypeError as error:
        assert "differentiable" in str(error)  # noqa: PT017
    else:
        inputs = [*case.inputs, *imaginary]
        gradcheck(lambda *parts: [1 + part for part in fn(*parts)], *inputs, mode="fast")


@pytest.mark.filterwarnings("ignore")
@few
@given(data=st.data())
def test_integer_operands_are_converted_before_a_derivative_computes_with_them(key, data):
    case = data.draw(CHECKS[key])
    if len(case.inputs) < 2:
        return
    i = data.draw(st.integers(0, len(case.inputs) - 1))
    dtype = data.draw(st.sampled_from([np.uint8, np.int8, np.uint32, np.int64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    numbers = rng.integers(1, 120, case.inputs[i].shape).astype(dtype)
    others = [*case.inputs[:i], *case.inputs[i + 1 :]]

    def with_operand(operand):
        return lambda *others: case.call(*others[:i], operand, *others[i:])

    try:
        values, found = gradients(with_operand(numbers), others)
    except (TypeError, ValueError, LinAlgError):
        return  # refused, by NumPy or by the function
    expected_values, expected = gradients(with_operand(numbers.astype(np.float64)), others)
    for value, expected_value in zip(values, expected_values, strict=True):
        if not np.allclose(value, expected_value, equal_nan=True):
            return  # NumPy itself computes with integers
    for ours, theirs in zip(found, expected, strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.max(np.abs(theirs), initial=0))


# ------------------------------------------------------------------ do the checks see anything?

#: Settings of a search that the first exception ends.
SEARCH = {
    "phases": [Phase.generate],
    "database": None,
    "print_blob": False,
    "report_multiple_bugs": False,
}


def scaled(vjp):
    return lambda g, *args, **kwargs: vjp(1.001 * g, *args, **kwargs)


def scaled_joint(joint):
    def wrong(*args, **kwargs):
        return [None if share is None else 1.001 * share for share in joint(*args, **kwargs)]

    return wrong


def without_graph(vjp):
    return lambda *args, **kwargs: data_of(vjp(*args, **kwargs))


def without_g(vjp):
    return lambda g, *args, **kwargs: vjp(np.ones_like(data_of(g)), *args, **kwargs)


def not_recorded(vjp):
    def wrong(*args, **kwargs):
        found = vjp(*args, **kwargs)
        if isinstance(found, (list, tuple)):
            return [share if share is None else 0 * share for share in found]
        return 0 * found

    return wrong


def mutants_of(key):
    """Name wrong rules: in each argument off by a thousandth; right at first order and a constant
    at second; as if the cotangent were 1; nothing at all."""
    rules = rules_of[key]
    mutants = {}
    for wrong in (scaled, without_graph, without_g, not_recorded):
        if rules.joint:
            change = scaled_joint if wrong is scaled else wrong
            mutants[wrong.__name__] = Rules((), change(rules.joint))
            continue
        for i, vjp in enumerate(rules.vjps):
            # A derivative that is 0 is the same if scaled.
            if vjp and (key, i) not in {(np.copysign, 1), (np.heaviside, 0)}:
                vjps = (*rules.vjps[:i], wrong(vjp), *rules.vjps[i + 1 :])
                mutants[f"{wrong.__name__}, argument {i}"] = Rules(vjps, None)
    return mutants


class NoticedError(Exception):
    """Raised where all has been noticed, to end a search."""


def test_checks_notice_a_wrong_derivative(rule, monkeypatch):
    mutants = mutants_of(rule)

    # More examples than elsewhere, as some cases tell nothing.
    @settings(max_examples=200, **SEARCH)
    @given(CHECKS[rule])
    def run(case):
        for name, mutant in list(mutants.items()):
            monkeypatch.setitem(rules_of, rule, mutant)
            if refused(case.call, *case.inputs, order=2, mode="fast"):
                del mutants[name]
        if not mutants:
            raise NoticedError

    with contextlib.suppress(NoticedError):
        run()
    assert not mutants, "not noticed"


def test_checks_call_what_they_check(formula, monkeypatch):
    def called(*args, **kwargs):
        raise NoticedError

    @settings(**SEARCH)
    @given(CHECKS[formula])
    def run(case):
        gradients(case.call, case.inputs)

    monkeypatch.setitem(formulas, formula, Formula(called, exact=True, constant_results=()))
    with pytest.raises(NoticedError):
        run()


# The tests, and what gives them their entries.
__all__ = [name for name in globals() if name.startswith(("test_", "pytest_"))]
