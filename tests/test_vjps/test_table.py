"""One test for every entry of the table, and one that every function of NumPy has its place."""

import inspect
import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.linalg import LinAlgError
from numpy.testing import assert_allclose, assert_array_equal

from microgrand import Tensor, vjps
from microgrand.checks import name_of
from microgrand.dispatch import Formula, constant_functions, formulas, unwrap
from microgrand.engine import Rules, backpropagate, rules_of
from microgrand.testing import MICROGRAND, GradcheckError, gradcheck
from microgrand.testing.gradcheck import check_values
from microgrand.testing.point import Point

from . import (  # noqa: F401  they register their checks
    calculus,
    elementwise,
    fourier,
    layers,
    linalg,
    products,
    reductions,
    shapes,
    statistics,
)
from .cases import CHECKS, arrays, few


def label(key):
    return f"{key[0].__name__}.{key[1]}" if isinstance(key, tuple) else name_of(key)


def test_every_entry_of_the_table_has_a_check():
    # Other tests may define derivatives of their own functions.
    table = {f for f in rules_of if name_of(f).startswith(("np.", "microgrand.", "operator."))}
    missing = [label(key) for key in (table | set(formulas)) - set(CHECKS)]
    assert not missing, f"no check in CHECKS for {missing}"
    unknown = [label(key) for key in set(CHECKS) - set(rules_of) - set(formulas)]
    assert not unknown, f"CHECKS has {unknown}, which the table has not"


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
    assert not names - unsupported, "neither supported nor documented as unsupported"
    every = {name for namespace in NAMESPACES for name in vars(namespace)}
    assert not (unsupported & every) - names, "documented as unsupported, but supported"


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
        if isinstance(function, (tuple, np.ufunc)) or function is np.pad:
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
        theirs = parameters_of(getattr(function, "raw", function))
        for vjp in filter(None, [*rules.vjps, rules.joint]):
            for name, ours in inspect.signature(vjp).parameters.items():
                if ours.default is not ours.empty and name in theirs:
                    check_default(function, name, ours.default, theirs[name].default)


def scattered(x):
    """Return `x` in memory that is neither contiguous nor in order."""
    x = np.asarray(x)
    every_other = (..., *(slice(None, None, -2),) * x.ndim)
    view = np.zeros([2 * length for length in x.shape], x.dtype)[every_other]
    view[...] = x
    return view


def as_outputs(value):
    return value if isinstance(value, (tuple, list)) else (value,)


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
    return [unwrap(out) for out in outputs], totals


def check(key, case):
    for dtype in (np.float32, np.float64):
        inputs = [x.astype(dtype) for x in case.inputs]
        expected = as_outputs(case.call(*inputs))
        values, grads = gradients(case.call, inputs)
        for value, array in zip(values, expected, strict=True):
            assert_array_equal(value, array, strict=True)
    scattered_values, scattered_grads = gradients(case.call, inputs, scattered)
    for found, expected in zip(scattered_values + scattered_grads, values + grads, strict=True):
        assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    gradcheck(case.call, *case.inputs, order=2)


@pytest.mark.filterwarnings("ignore:(Mean of empty|All-NaN) slice", "ignore:invalid value")
@pytest.mark.parametrize("key", CHECKS, ids=label)
@given(data=st.data())
def test_values_and_derivatives(key, data):
    check(key, data.draw(CHECKS[key]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", CHECKS, ids=label)
@few
@given(data=st.data())
def test_values_of_any_precision_are_those_of_a_reference_in_float64(key, data):
    case = data.draw(CHECKS[key])
    for dtype in (np.float64, np.float32, np.float16):
        inputs = [x.astype(dtype) for x in case.inputs]
        try:
            point = Point(case.call, inputs, MICROGRAND, [""] * len(inputs), "output")
        except (GradcheckError, TypeError):
            assert dtype == np.float16  # which LAPACK does not have
        else:
            check_values(point, case.call)


@pytest.mark.parametrize("name", elementwise.COMPLEX)
@given(data=st.data())
def test_complex_values_in_between(name, data):
    function = elementwise.COMPLEX[name]
    x, y = data.draw(arrays((2, 2))), data.draw(arrays((2, 2)))
    gradcheck(lambda x, y: function(x + 1j * y), x + 3 * np.eye(2), y, order=2)


def real_parts(value):
    """List the real and imaginary parts of outputs that may be complex, and may be nested."""
    parts = []
    for out in as_outputs(value):
        if isinstance(out, (tuple, list)):
            parts += real_parts(out)
        elif hasattr(out, "dtype"):
            parts += [np.real(out), np.imag(out)]
    return parts


OF_NUMPY = [key for key in CHECKS if isinstance(key, tuple) or name_of(key).startswith("np.")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", OF_NUMPY, ids=label)
@few
@given(data=st.data())
def test_functions_of_complex_numbers_have_right_derivatives_or_refuse(key, data):
    case = data.draw(CHECKS[key])
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
        gradcheck(lambda *parts: [1 + part for part in fn(*parts)], *case.inputs, *imaginary)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", CHECKS, ids=label)
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


def scaled(vjp):
    return lambda g, *args, **kwargs: vjp(1.001 * g, *args, **kwargs)


def scaled_joint(joint):
    def wrong(*args, **kwargs):
        return [None if share is None else 1.001 * share for share in joint(*args, **kwargs)]

    return wrong


def without_graph(vjp):
    return lambda *args, **kwargs: unwrap(vjp(*args, **kwargs))


def without_g(vjp):
    return lambda g, *args, **kwargs: vjp(np.ones_like(unwrap(g)), *args, **kwargs)


def not_recorded(vjp):
    def wrong(*args, **kwargs):
        found = vjp(*args, **kwargs)
        if isinstance(found, (list, tuple)):
            return [share if share is None else 0 * share for share in found]
        return 0 * found

    return wrong


@pytest.mark.parametrize("wrong", [scaled, without_graph, without_g, not_recorded])
@pytest.mark.parametrize("key", [key for key in CHECKS if key in rules_of], ids=label)
def test_checks_notice_a_wrong_derivative(key, wrong, monkeypatch):
    # In each argument: off by a thousandth; right at first order and a constant at second; as if
    # the cotangent were 1; nothing at all.
    rules = rules_of[key]
    if rules.joint:
        change = scaled_joint if wrong is scaled else wrong
        mutants = [Rules((), change(rules.joint))]
    else:
        mutants = [
            Rules((*rules.vjps[:i], wrong(vjp), *rules.vjps[i + 1 :]), None)
            for i, vjp in enumerate(rules.vjps)
            # A derivative that is 0 is the same if scaled.
            if vjp and (key, i) not in {(np.copysign, 1), (np.heaviside, 0)}
        ]

    # More examples than elsewhere, as some cases tell nothing; the first that does ends
    # the search.
    @settings(
        max_examples=200,
        phases=[Phase.generate],
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(CHECKS[key])
    def run(case):
        gradcheck(case.call, *case.inputs, order=2, mode="fast")

    for mutant in mutants:
        monkeypatch.setitem(rules_of, key, mutant)
        with pytest.raises(GradcheckError):
            run()


class CalledError(Exception):
    """Raised instead of what should be checked, to see that the check calls it."""


@pytest.mark.parametrize("key", [key for key in CHECKS if key in formulas], ids=label)
def test_checks_call_what_they_check(key, monkeypatch):
    def called(*args, **kwargs):
        raise CalledError

    @settings(phases=[Phase.generate], database=None, print_blob=False, report_multiple_bugs=False)
    @given(CHECKS[key])
    def run(case):
        gradients(case.call, case.inputs)

    monkeypatch.setitem(formulas, key, Formula(called, exact=True, plain=()))
    with pytest.raises(CalledError):
        run()


# ------------------------------------------------------------------------ constant functions

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
    if isinstance(key, tuple):
        ufunc, method = key
        return getattr(ufunc, method)(*[x] * (2 if method == "outer" else 1))
    if isinstance(key, np.ufunc):
        return key(*[x] * key.nin)
    return CONSTANT_CALLS.get(key, lambda f, x: f(x))(key, x)


@pytest.mark.parametrize("key", sorted(constant_functions, key=label), ids=label)
def test_constant_functions_return_plain_values(key):
    integers = key in ON_INTEGERS
    x = np.array([0, 1, 2]) if integers else np.array([-1.5, 0.5, 2.5])
    found = call_constant(key, Tensor(x, requires_grad=not integers))
    assert unwrap(found) is found or isinstance(found, (list, tuple))
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
