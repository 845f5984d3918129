"""gradcheck must be able to fail: wrong derivatives are planted, and it must say what is wrong."""

import contextlib

import numpy as np
import pytest
from helpers import MODES, report_of, x34

from microgrand import Tensor, defvjp, primitive
from microgrand.dispatch import data_of
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask
from microgrand.testing import GradcheckError, gradcheck


def with_vjps(function, *vjps):
    """Make a primitive of a function and of VJPs, right or wrong ones."""
    made = primitive(lambda *args: function(*args))
    defvjp(made, *vjps)
    return made


# --------------------------------------------------------------------- what is right passes


@MODES
@pytest.mark.parametrize("order", [1, 2])
def test_right_derivatives_pass(mode, order):
    def several(x, y, z):
        return np.tanh(x @ y) * z, np.sum(x, axis=0), z

    assert gradcheck(several, x34(), np.ones(4), np.array(2.0), mode=mode, order=order)


@MODES
def test_empty_and_constant_functions_pass(mode):
    assert gradcheck(lambda x: x * 2, np.zeros((0, 3)), order=2, mode=mode)
    assert gradcheck(lambda x, y: x[:0], x34(), x34(), order=2, mode=mode)
    assert gradcheck(lambda x: (3.0, np.ones(2)), x34(), order=2, mode=mode)
    assert gradcheck(lambda x: [x * 2, np.argsort(x)], x34(), order=2, mode=mode)


@MODES
@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8, 1e100])
def test_steps_follow_the_scale_of_the_input(mode, scale):
    x = x34() * scale
    assert gradcheck(lambda x: np.log(x) + np.sqrt(x) / np.sqrt(scale), x, mode=mode)
    wrong = with_vjps(np.log, lambda g, out, x: 1.0001 * g / x)
    assert "1.0001 times" in report_of(wrong, x, mode=mode)


@MODES
def test_elements_of_different_scales_pass(mode):
    assert gradcheck(np.log, np.array([1e-4, 1.0, 1e3, 30.0]), mode=mode)
    assert gradcheck(lambda x: x**3, np.array([0.0, 1e-6, 1.0, -1e3]), mode=mode)


@MODES
@pytest.mark.parametrize("fn", [Tensor.relu, lambda x: np.maximum(x, 0) ** 2])
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-7])
def test_a_kink_nearby_is_no_mistake(mode, distance, fn):
    assert gradcheck(fn, np.array([distance, -distance, 1.0]), mode=mode)


@MODES
def test_a_kink_in_the_derivative_is_no_mistake_of_first_order(mode):
    assert gradcheck(lambda x: x.relu() ** 2, np.array([1.0, 0.0, -1.0]), mode=mode)


@MODES
def test_small_derivatives_of_saturated_functions_pass(mode):
    assert gradcheck(np.tanh, np.array([3.0, 7.0, 18.0, 40.0]), order=2, mode=mode)


def test_tensors_that_the_function_closes_over_keep_their_gradients():
    weight = Tensor([1.0, 2.0], requires_grad=True)
    assert gradcheck(lambda x: np.sum(x * weight), np.ones(2), order=2)
    assert weight.grad is None


def test_inputs_are_left_as_they_are():
    x = x34()
    gradcheck(np.sin, x, order=2)
    assert np.array_equal(x, x34())


# ---------------------------------------------------------------------- what is wrong fails


@MODES
@pytest.mark.parametrize(
    ("vjp", "cause"),
    [
        (lambda g, out, x: -2 * g * x, "the sign is wrong"),
        (lambda g, out, x: 4 * g * x, "2 times too large"),
        (lambda g, out, x: g * x, "2 times too small"),
        (lambda g, out, x: -6 * g * x, "3 times too large, and the sign is wrong"),
        (lambda g, out, x: 24 * g * x, "12 times too large"),
        (lambda g, out, x: 2 * g * x / x.size, "so perhaps a 1/n is one too many"),
        (lambda g, out, x: 2.74 * g * x, "found is 1.37 times the expected"),
        (lambda g, out, x: 0 * g, "no gradient arrives"),
        (lambda g, out, x: g * np.nan, "backward produces nan"),
    ],
)
def test_a_wrong_vjp_of_the_square_is_explained(vjp, cause, mode):
    assert cause in report_of(with_vjps(np.square, vjp), x34(), mode=mode)


@MODES
def test_a_missing_division_in_a_mean(mode):
    mean = with_vjps(np.mean, lambda g, out, x: g * np.ones_like(x))
    report = report_of(mean, x34(), mode=mode)
    assert "12 times too large; 12 is also a number of elements here, so perhaps a 1/n" in report


@MODES
def test_a_transposed_result(mode):
    square = with_vjps(np.square, lambda g, out, x: (2 * g * x).T)
    assert "transposed: axes 0 and 1" in report_of(square, x34()[:, :3], mode=mode)


@MODES
def test_a_derivative_that_forgets_one_use(mode):
    # x * (a constant that is x) lacks half of the derivative.
    assert "2 times too small" in report_of(lambda x: x * x.detach(), x34(), mode=mode)
    assert "no gradient arrives" in report_of(lambda x: x.detach() * 2, x34(), mode=mode)


@MODES
def test_one_nan_is_found_where_it_is(mode):
    def vjp(g, out, x):
        return np.where(x == 3, np.nan, 2 * g * x)

    report = report_of(with_vjps(np.square, vjp), np.array([1.0, 2.0, 3.0, 4.0]), mode=mode)
    assert "d input 0[2]" in report
    assert "backward produces nan" in report


def test_the_report_names_input_and_element_and_numbers():
    def vjp(g, out, x, y):
        share = g * x
        share[2] *= 1.25
        return share

    wrong = with_vjps(np.multiply, lambda g, out, x, y: g * y, vjp)
    report = report_of(wrong, np.array([1.0, 2.0, 4.0]), np.ones(3))
    assert "d output[2] / d input 1[2]" in report
    assert "found by backward: 5\n" in report
    assert "expected from differences: 4" in report
    assert "relative error: 0.2," in report
    assert "cause" not in report
    assert "input 1[2]" in report_of(wrong, np.array([1.0, 2.0, 4.0]), np.ones(3), mode="fast")


def test_outputs_of_a_tuple_are_numbered():
    wrong = with_vjps(np.sin, lambda g, out, x: g)
    report = report_of(lambda x: (x, wrong(x)), x34())
    assert "d output 1[0, 0] / d input 0[0, 0]" in report


@MODES
def test_a_wrong_second_derivative(mode):
    # Right at first order; but this derivative does not depend on x.
    wrong = with_vjps(np.sin, lambda g, out, x: g * np.cos(data_of(x)))
    assert gradcheck(wrong, x34(), mode=mode)
    report = report_of(wrong, x34(), order=2, mode=mode)
    assert "wrong derivative d gradient of input 0[0, 0] / d input 0[0, 0]" in report or (
        mode == "fast" and "(gradient of input along a random cotangent) / d input 0[" in report
    )
    assert "no gradient arrives" in report


def test_one_wrong_element_of_many_is_found():
    def vjp(g, out, x):
        share = 2 * g * x
        share[65_432] += 1e-2
        return share

    report = report_of(with_vjps(np.square, vjp), np.linspace(1, 2, 100_000), mode="fast")
    assert "d input 0[65432]" in report


def test_the_fast_mode_takes_a_handful_of_evaluations():
    calls = []

    def fn(x):
        calls.append(x)
        return np.tanh(x)

    assert gradcheck(fn, np.linspace(-1, 1, 1000), mode="fast")
    assert len(calls) == 7


def test_a_check_does_the_same_every_time():
    wrong = with_vjps(np.sin, lambda g, out, x: 2 * g * np.cos(x))
    assert report_of(wrong, x34(), mode="fast") == report_of(wrong, x34(), mode="fast")


# ------------------------------------------------- what is not differentiable, not precise ...


@MODES
@pytest.mark.parametrize("order", [1, 2])
def test_a_kink(mode, order):
    x = np.array([1.0, 0.0, -1.0])
    # For order 2 the kink is in the derivative only.
    report = report_of(lambda x: x.relu() ** order, x, mode=mode, order=order)
    assert "a kink at this point" in report
    assert "input 0[1]" in report
    if mode == "full" and order == 1:
        assert "the slope is 0 on the left and 1 on the right" in report


@MODES
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("above", [np.greater, np.greater_equal])
@pytest.mark.parametrize("size", [1.0, -1e-4])
def test_a_jump(mode, order, above, size):
    # For order 2 the jump is in the derivative.
    def fn(x):
        return x + np.where(above(x, 1.5), size * (x - 1.5 + (order == 1)) ** order, 0)

    report = report_of(fn, np.array([1.0, 1.5, 2.0]), mode=mode, order=order)
    assert ("a jump" if order == 1 else "a kink") in report
    assert "input 0[1]" in report
    if mode == "full" and order == 1 and size == 1:
        assert "is 1.5 on the left" in report
        assert "2.5 on the right" in report


@MODES
@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-7])
def test_a_jump_nearby_is_no_mistake(mode, distance):
    x = 1.5 + np.array([-distance, distance])
    assert gradcheck(lambda x: np.where(x > 1.5, x**2, x), x, mode=mode)


@MODES
def test_equal_maxima_are_a_kink(mode):
    wrong = with_vjps(np.max, lambda g, out, x: g * (np.arange(x.size) == np.argmax(x)))
    assert "a kink at this point" in report_of(wrong, np.array([1.0, 2.0, 2.0]), mode=mode)


@MODES
def test_a_random_mask_must_be_held_still(mode):
    generator = np.random.default_rng(0)

    def dropout(x):
        return apply_mask(x, bernoulli_mask(x.shape, 0.5, generator), 2.0)

    report = report_of(dropout, x34(), mode=mode)
    assert "not deterministic: two evaluations at one point gave" in report
    assert "nn.DropoutMasks().hold(fn)" in report
    mask = bernoulli_mask((3, 4), 0.5, generator)
    assert gradcheck(lambda x: apply_mask(x, mask, 2.0), x34(), mode=mode, order=2)


@MODES
@pytest.mark.parametrize("call", range(7))
def test_one_random_evaluation_is_noticed_whichever_it_is(mode, call):
    # The fast mode makes no more than seven.
    count = iter(range(1000))
    report = report_of(lambda x: x * (1 + (next(count) == call)), np.ones(3), mode=mode)
    assert "not deterministic: two evaluations at one point gave" in report


def test_a_function_that_is_random_in_a_tenth_of_its_calls_is_noticed():
    # 30 evaluations all miss it with probability 0.9^30 = 0.042, so 100 functions are passed
    # 4.2 times on average, and more than 12 times with probability 3e-4.
    noticed = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        with contextlib.suppress(GradcheckError):
            noticed -= gradcheck(lambda x: x * (1 + (generator.random() < 0.1)), np.ones(1))  # noqa: B023
        noticed += 1
    assert noticed >= 88


def test_a_draw_that_shows_only_later_is_noticed():
    # The same values on the first two evaluations: the mistake shows first, the cause then.
    count = iter(range(1000))
    report = report_of(lambda x: x * (1 if next(count) < 3 else 1 + next(count) / 7), np.ones(2))
    assert "not deterministic" in report


@MODES
def test_float32_on_the_way_is_noticed(mode):
    def fn(x):
        return np.exp(x.astype(np.float32)).astype(np.float64)

    report = report_of(fn, x34(), mode=mode)
    assert "is a part of it computed in float32?" in report


@MODES
def test_a_mistake_in_float32_is_named(mode):
    exp = with_vjps(np.exp, lambda g, out, x: 3 * g * out)
    assert "3 times too large" in report_of(exp, x34().astype(np.float32), mode=mode)
    assert "3 times too large" in report_of(exp, x34().astype(np.float16), mode=mode)
    for offset in (0, 100):
        exp = with_vjps(
            lambda x, c: c + np.exp(x.astype(np.float32)).astype(np.float64),
            lambda g, out, x, c: -g * (out - c),
            lambda g, out, x, c: g,
        )
        report = report_of(lambda x: exp(x, offset), x34(), mode=mode)  # noqa: B023
        assert "the sign is wrong" in report


@pytest.mark.parametrize("x", np.linspace(1, 2, 50))
def test_float32_on_the_way_is_noticed_at_any_point(x):
    # At some of these, a step is a whole number of float32's spacings, so that equal ones hide it.
    report = report_of(lambda x: x.astype(np.float32).astype(np.float64) * 3, np.array([x]))
    assert "is a part of it computed in float32?" in report


@MODES
def test_outside_the_domain(mode):
    assert "inside its domain" in report_of(np.log, np.array([1.0, -1.0]), mode=mode)


# ------------------------------------------------------------------------------------ misuse


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        (np.arange(3), {}, TypeError, "input 0 has dtype int64, expected float64"),
        ((np.ones(2), np.ones(3)), {}, TypeError, r"tuple of arrays, .* gradcheck\(f, \*inputs\)"),
        ([np.ones(2), np.ones(2)], {}, TypeError, r"list of arrays, .* gradcheck\(f, \*inputs\)"),
        (Tensor([1.0]), {}, TypeError, "an array"),
        (np.array([1.0, np.inf]), {}, ValueError, "input 0 is not finite"),
        (np.ones(2), {"order": 3}, ValueError, "order 1 or 2"),
        (np.ones(2), {"mode": "slow"}, ValueError, "mode 'full' or 'fast'"),
    ],
)
def test_misuse(given, options, error, message):
    with pytest.raises(error, match=message):
        gradcheck(np.sin, given, **options)


def test_complex_outputs_are_refused():
    with pytest.raises(TypeError, match=r"complex; return np\.real and np\.imag"):
        gradcheck(np.fft.fft, np.ones(3))
    assert gradcheck(lambda x: (np.real(np.fft.fft(x)), np.imag(np.fft.fft(x))), np.ones(3))


def test_a_check_without_inputs_is_refused():
    with pytest.raises(TypeError, match="at least one input"):
        gradcheck(lambda: 1.0)
