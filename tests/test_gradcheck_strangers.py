"""gradcheck and frameworks that fail: what they raise or return is reported, and hides nothing."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import MODES, report_of
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from microgrand import Tensor, defvjp, primitive
from microgrand.testing import MICROGRAND, GradcheckError, gradcheck

FLOATS = pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
X = np.array([[0.5, 1.5, -0.7], [1.1, -0.4, 0.9]])


def raise_error(*args):
    raise RuntimeError("out of order")


@MODES
@pytest.mark.parametrize(
    ("part", "role"),
    [
        ("tensor", "adapter.tensor raised RuntimeError: out of order"),
        (
            "array",
            "adapter.array, given the tensor of input 0, of type Tensor, raised RuntimeError",
        ),
        ("gradients", "adapter.gradients raised RuntimeError: out of order"),
    ],
)
def test_what_an_adapter_raises_is_reported_with_its_role(part, role, mode):
    adapter = replace(MICROGRAND, **{part: raise_error})
    with pytest.raises(GradcheckError) as caught:
        gradcheck(np.sin, X, adapter=adapter, mode=mode)
    assert role in str(caught.value)
    assert "(2, 3)" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


@MODES
def test_what_the_function_raises_is_reported(mode):
    with pytest.raises(GradcheckError, match="the function raised RuntimeError") as caught:
        gradcheck(raise_error, X, mode=mode)
    assert isinstance(caught.value.__cause__, RuntimeError)


NO_TENSORS = [None, "text", {}, object(), np.array(["text"]), [[1.0], [1.0, 2.0]]]


@MODES
@pytest.mark.parametrize("wrong", NO_TENSORS, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("part", ["function", "tensor", "array", "gradients", "gradient"])
def test_results_other_than_tensors_are_reported(part, wrong, mode):
    if part == "function":
        if isinstance(wrong, list):  # several outputs, which are constants
            return
        report = report_of(lambda x: wrong, X, mode=mode)
    elif part == "gradient":
        adapter = replace(MICROGRAND, gradients=lambda *args: [wrong])
        if wrong is None:  # no gradient arrives
            assert "wrong derivative" in report_of(np.sin, X, mode=mode, adapter=adapter)
            return
        report = report_of(np.sin, X, mode=mode, adapter=adapter)
    else:
        report = report_of(
            np.sin, X, mode=mode, adapter=replace(MICROGRAND, **{part: lambda *args: wrong})
        )
    assert "adapter." in report or "is None" in report or "function" in report


@MODES
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: [g, g], "returned 2 gradients, expected 1"),
        (lambda g: [], "returned 0 gradients, expected 1"),
        (lambda g: g, "expected a list of 1 gradients"),
        (lambda g: {0: g}, "returned dict, expected a list of 1 gradients"),
        (lambda g: [g[0]], r"has shape (3,), expected (2, 3)"),
        (lambda g: [float(g.data[0, 0])], r"has shape (), expected (2, 3)"),
        (lambda g: [(1.0, 2.0)], r"has shape (2,), expected (2, 3)"),
        (lambda g: [g.data.astype(int)], "found by backward: "),
        (lambda g: [g.data * 1j], "is complex, expected real numbers"),
    ],
)
def test_gradients_that_make_no_sense_are_reported(wrong, message, mode):
    def gradients(*args):
        return wrong(Tensor(MICROGRAND.gradients(*args)[0]))

    assert message in report_of(
        np.sin, X, mode=mode, adapter=replace(MICROGRAND, gradients=gradients)
    )


@MODES
@pytest.mark.parametrize("kind", [np.asarray, list, np.ndarray.tolist, Tensor])
def test_gradients_may_be_arrays_and_lists(kind, mode):
    adapter = replace(
        MICROGRAND,
        array=lambda t: t.data,  # which an array has, too, and it is something else
        gradients=lambda *args: [kind(g) for g in MICROGRAND.gradients(*args)],
    )
    assert gradcheck(np.sin, X, mode=mode, adapter=adapter)
    wrong = primitive(np.sin)
    defvjp(wrong, lambda g, out, x: -g * np.cos(x))
    assert "the sign is wrong" in report_of(wrong, X, mode=mode, adapter=adapter)


@MODES
@pytest.mark.parametrize("number", [float, np.float64, np.asarray])
def test_gradients_of_a_number_may_be_numbers(number, mode):
    adapter = replace(
        MICROGRAND, gradients=lambda *args: [number(g) for g in MICROGRAND.gradients(*args)]
    )
    assert gradcheck(np.sin, np.array(0.4), mode=mode, adapter=adapter)


@MODES
def test_tensors_of_another_shape_or_of_integers_are_reported(mode):
    row = replace(MICROGRAND, tensor=lambda a: Tensor(np.atleast_1d(a), requires_grad=True))
    assert "has shape (1,)" in report_of(np.sin, np.array(0.5), adapter=row, mode=mode)
    whole = replace(MICROGRAND, tensor=lambda a: Tensor(a.astype(int)))
    assert "has dtype int64" in report_of(np.sin, X, adapter=whole, mode=mode)


def test_a_result_whose_shape_depends_on_values_is_reported():
    threshold = X[0, 1] + 1e-9
    assert "returns shapes" in report_of(lambda x: x[x.data > threshold], X)


@MODES
def test_an_experiment_that_fails_does_not_hide_the_finding(mode):
    # It takes one output, and one call, as some frameworks do.
    calls = []

    def gradients(outputs, cotangents, leaves, create_graph):
        (output,), (cotangent,) = outputs, cotangents
        calls.append(output)
        if len(calls) > 8:
            raise RuntimeError("no more")
        return MICROGRAND.gradients([output], [cotangent], leaves, create_graph)

    wrong = primitive(np.sin)
    defvjp(wrong, lambda g, out, x: g * x)
    adapter = replace(MICROGRAND, gradients=gradients)
    report = report_of(wrong, X[0], mode=mode, adapter=adapter)
    assert "wrong derivative" in report


def test_rejected_examples_of_hypothesis_are_no_failures():
    seen = []

    @settings(suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 10))
    def run(n):
        def fn(x):
            assume(n > 5)
            seen.append(n)
            return x * 2

        assert gradcheck(fn, X)

    run()
    assert min(seen) > 5


def test_interrupts_pass():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gradcheck(interrupted, X)


# ---------------------------------------------------------------------------------- values


@MODES
def test_values_are_compared_with_a_reference_first(mode):
    assert gradcheck(np.sin, X, mode=mode, reference=np.sin)
    assert gradcheck(lambda x: (x * 2, np.sum(x)), X, reference=lambda x: [2 * x, x.sum()])
    # The derivative is that of the value.
    report = report_of(lambda x: np.sin(x) + 1e-3, X, mode=mode, reference=np.sin)
    assert "wrong value of output[0, 0]" in report
    assert "wrong derivative" not in report
    report = report_of(lambda x: x * 2, X, mode=mode, reference=lambda x: (2 * x).T)
    assert "wrong shape: the function returns [(2, 3)], and the reference [(3, 2)]" in report
    report = report_of(lambda x: x * 2, X, mode=mode, reference=lambda x: (x, x))
    assert "wrong shape" in report
    assert "reference raised RuntimeError" in report_of(np.sin, X, reference=raise_error)
    assert "reference returned complex" in report_of(np.sin, X, reference=lambda x: x + 0j)
    assert "reference returned NoneType" in report_of(np.sin, X, reference=lambda x: None)
    report = report_of(lambda x: x * (1 + 1e-9), np.ones(1), reference=lambda x: x)
    assert "found by the function: 1.000000001\nexpected by the reference: 1\n" in report


@FLOATS
def test_values_are_compared_as_the_precision_allows(dtype):
    x = X.astype(dtype)
    assert gradcheck(lambda x: np.exp(np.sin(x)), x, reference=lambda x: np.exp(np.sin(x)))
    off = {np.float64: 1e-9, np.float32: 1e-3, np.float16: 0.2}[dtype]
    report = report_of(lambda x: x * dtype(1 + off), x, reference=lambda x: x)
    assert "wrong value" in report


@FLOATS
def test_a_small_value_beside_a_large_one_is_compared_by_its_own_size(dtype):
    eps = float(np.finfo(dtype).eps)
    stated = {np.float64: 1.5e-10, np.float32: 1e-4, np.float16: 0.04}[dtype]
    error, large = dtype(3 * stated), stated / (8 * eps)
    x = np.array([large, 1, -1, 0.5], dtype)
    assert gradcheck(lambda x: x * 2, x, reference=lambda x: 2 * x)
    off = np.array([1, 1, 1 + error, 1], dtype)
    report = report_of(lambda x: x * 2 * off, x, reference=lambda x: 2 * x)
    assert "wrong value of output[2]" in report
    # Where terms cancel that are so large, the same error is rounding.
    terms = np.array([2 * large, -2 * large, large, -large, 1], dtype)
    assert gradcheck(lambda x: np.sum(x) + error, terms, reference=lambda x: x.sum())


def test_a_reference_that_works_at_the_point_only_hides_nothing():
    def reference(x):
        assert np.array_equal(x, X)
        return x

    assert gradcheck(lambda x: x * 1, X, reference=reference)
    assert "wrong value" in report_of(lambda x: x * 1.01, X, reference=reference)


def test_nan_and_infinite_values_are_compared():
    assert "wrong value" in report_of(lambda x: x * np.nan, X, reference=lambda x: x)
    assert "wrong value" in report_of(lambda x: x, X, reference=lambda x: x * np.inf)
