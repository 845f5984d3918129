"""No wrong derivative passes gradcheck, and no right one is refused, in any precision."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import MODES, refused, run_backward
from hypothesis import settings

from microgrand import Tensor, defvjp, primitive
from microgrand.testing import MICROGRAND, Adapter, GradcheckError, gradcheck

FLOATS = pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
#: What moves an output by more than this part of it is found, as the docstring says.
RESOLUTION = {np.float64: 3e-10, np.float32: 2e-4, np.float16: 0.02}

RTOL = {np.float64: 1e-6, np.float32: 5e-4, np.float16: 5e-2}

#: How often what is tried at random points is tried: more in the thorough profile.
TIMES = 4 if settings.default.max_examples >= 100 else 1


def points(number, size, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(number):
        x = rng.uniform(0.5, 2, size) * rng.choice([-1, 1], size)
        # Also short decimals, which may be whole multiples of a step.
        yield np.round(x, rng.integers(1, 17)).astype(dtype)


# ------------------------------------------------------------------- what is wrong is refused


@FLOATS
def test_a_mistake_above_the_stated_size_is_found_at_every_point(dtype):
    stated = {np.float64: "3e-10 of", np.float32: "2e-4 in", np.float16: "0.02 in"}[dtype]
    assert stated in gradcheck.__doc__
    for x in points(10 * TIMES, 1, dtype):
        # Measured as the values are, with their rounding.
        slope = dtype(1.02 * RESOLUTION[dtype] / abs(float(x[0])))
        while abs(float(slope) * float(x[0])) <= RESOLUTION[dtype]:
            slope = np.nextafter(slope, dtype(2))
        assert refused(lambda x: 0 * x + (dtype(1) + slope * x.data), x), (x, slope)  # noqa: B023


#: Functions that bend, with their derivatives: over a step of a tenth they may seem constant.
BENT = {
    "sine": (np.sin, np.cos),
    "square of a sine": (lambda x: np.sin(x) ** 2, lambda x: np.sin(2 * x)),
    "cosine of a square": (lambda x: np.cos(x * x), lambda x: -2 * x * np.sin(x * x)),
    "power": (lambda x: (x - 2.05) ** 4, lambda x: 4 * (x - 2.05) ** 3),
    "bell": (lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
}


@FLOATS
@pytest.mark.parametrize("name", BENT)
def test_a_mistake_above_the_stated_size_is_found_where_the_function_bends(dtype, name):
    value, derivative = BENT[name]
    hard = [2, 9.5, 11, 33, 36.125, 3.949, 5.578, 6.89]
    scan = np.concatenate([np.linspace(0.3, 40, 3 * TIMES), hard])
    for x in scan.astype(dtype):
        t = np.float64(x)
        # Where the value in this dtype is 0, the smallest normal number counts.
        size = max(abs(value(t)), np.finfo(dtype).tiny)
        missing = abs(derivative(t) * t)
        if missing <= 1.1 * RESOLUTION[dtype] * size or size > 1e4:
            continue
        assert refused(lambda x: Tensor(value(x.data)), np.array([x])), x
        if missing > 2.2 * RTOL[dtype] * (size + missing):  # the other part is recorded
            assert refused(lambda x: Tensor(value(x.data)) * x, np.array([x])), x


def test_what_is_found_in_float16_where_there_is_no_float64():
    assert "There 0.07 is found in float16" in gradcheck.__doc__
    half = replace(MICROGRAND, tensor=lambda a: Tensor(a.astype(np.float16), requires_grad=True))
    for x in points(8 * TIMES, 1, np.float16):
        slope = np.float16(0.075 / abs(float(x[0])))
        assert refused(lambda x: 0 * x + (1 + slope * x.data), x, adapter=half), x  # noqa: B023
        assert gradcheck(lambda x: 1 + slope * x, x, adapter=half)  # noqa: B023


@MODES
def test_a_small_derivative_that_is_not_recorded(mode):
    for x in points(8 * TIMES, 3):
        assert refused(lambda x: Tensor(1 + 1e-7 * x.data), x, mode=mode), x


@MODES
@pytest.mark.parametrize("back", [np.float32, np.float64])
def test_a_function_in_float32_that_is_not_recorded(mode, back):
    assert refused(lambda x: Tensor(x.data.astype(np.float32)) * 3, np.array([1.1, 1.2]), mode=mode)
    for x in points(6 * TIMES, 2):
        assert refused(lambda x: Tensor(x.data.astype(np.float32).astype(back)) * 3, x, mode=mode)


@pytest.mark.parametrize(
    ("dtype", "inside"),
    [(np.float32, np.float32), (np.float32, np.float16), (np.float16, np.float16)],
)
def test_what_is_rounded_in_float64_too_and_not_recorded(dtype, inside):
    def fn(x, inner):
        return 0 * x + inner(x.data).astype(inside).astype(x.dtype)

    for x in points(3 * TIMES, 3, dtype):
        for inner in (lambda x: 3 * x, np.exp, lambda x: np.sin(x.astype(inside))):
            assert refused(lambda x: fn(x, inner), x), x  # noqa: B023


@MODES
@FLOATS
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_a_derivative_that_is_not_finite_is_refused(mode, dtype, wrong):
    exp = primitive(np.exp)
    defvjp(exp, lambda g, out, x: g * out * dtype(wrong))
    assert refused(exp, np.array([0.5, 1.5], dtype), mode=mode)
    assert refused(exp, np.array(0.5, dtype), mode=mode)


@MODES
@FLOATS
@pytest.mark.parametrize("order", [1, 2])
def test_a_vjp_that_ignores_the_cotangent(mode, dtype, order):
    for x in points(3, 4, dtype):
        loss = primitive(lambda x: np.mean(np.square(x)))
        defvjp(loss, lambda g, out, x: 2 * x / x.size)
        assert refused(loss, x, mode=mode, order=order)


@MODES
@FLOATS
@pytest.mark.parametrize("factor", [0.5, 1.5, 3, -1])
def test_a_factor_is_refused_in_any_precision(mode, dtype, factor):
    for x in points(3, 3, dtype):
        exp = primitive(np.exp)
        defvjp(exp, lambda g, out, x: (factor * g * out).astype(x.dtype))
        assert refused(lambda x: exp(x), x, mode=mode)  # noqa: B023


def test_no_cotangent_is_1_and_both_signs_come_up():
    seen = []

    def gradients(outputs, cotangents, leaves, create_graph):
        seen.append([c.data for c in cotangents])
        return MICROGRAND.gradients(outputs, cotangents, leaves, create_graph)

    adapter = replace(MICROGRAND, gradients=gradients)
    for fn, least in ((np.sum, 2), (np.sin, 5), (lambda x: (np.sum(x), x), 6)):
        for mode in ("full", "fast"):
            seen.clear()
            assert gradcheck(fn, np.array([0.3, 0.4, 0.5]), mode=mode, adapter=adapter)
            assert len(seen) == (least if mode == "full" else 2)
            numbers = np.array([np.concatenate([np.ravel(c) for c in given]) for given in seen])
            assert not np.isin(numbers, [1, -1]).any()
            assert np.all((numbers > 0).any(axis=0) & (numbers < 0).any(axis=0))
            assert len({abs(n) for n in numbers.ravel() if n}) == np.count_nonzero(numbers)


# --------------------------------------------------------------------- what is right passes

SMOOTH = {
    "exp": np.exp,
    "cubic": lambda x: x**3 - x,
    "steep": lambda x: np.sin(5 * x) + x,
    "softmax": lambda x: np.exp(x) / np.sum(np.exp(x)),
    "sum of squares": lambda x: np.sum(x * x),
    "cancelling": lambda x: (x + 4) - 4,
    "product": np.prod,
    "saturated": lambda x: np.tanh(4 * x),
    "relu": Tensor.relu,
    "sorted": np.sort,
    "hypot": lambda x: np.sqrt(x * x + 0.01),
}


@MODES
@FLOATS
@pytest.mark.parametrize("name", SMOOTH)
def test_a_right_derivative_passes_in_any_precision(mode, dtype, name):
    for x in points(4, 4, dtype):
        assert gradcheck(SMOOTH[name], x, mode=mode)


@MODES
@FLOATS
def test_right_second_derivatives_pass_in_any_precision(mode, dtype):
    for x in points(3, 3, dtype):
        assert gradcheck(lambda x: np.tanh(x) * x, x, mode=mode, order=2)


class Single:
    """A tensor of a framework that knows float32 only, and multiplication."""

    def __init__(self, array, parents=()):
        self.array = np.asarray(array, np.float32)
        self.parents = parents
        self.grad = None

    def __mul__(self, other):
        return Single(self.array * other.array, [(self, other.array), (other, self.array)])

    def backward(self, g):
        self.grad = g if self.grad is None else self.grad + g
        for parent, factor in self.parents:
            parent.backward(g * factor)


SINGLE = Adapter(tensor=Single, array=lambda x: x.array, gradients=run_backward)


@MODES
def test_a_framework_of_float32_is_checked_as_it_is(mode):
    for x in points(10, 3):
        assert gradcheck(lambda x, y: x * y * x, x, x[::-1] + 3, adapter=SINGLE, mode=mode)
        wrong = replace(SINGLE, gradients=lambda *args: [1.01 * g for g in run_backward(*args)])
        assert refused(lambda x, y: x * y * x, x, x[::-1] + 3, adapter=wrong, mode=mode)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 3e-7, 5.9e-6, 6e-6])
def test_many_kinks_nearby_are_no_mistake(distance):
    rng = np.random.default_rng(0)
    x = np.concatenate([distance * rng.uniform(-2, 2, 30), np.ones(3)])
    for mode in ("full", "fast"):
        assert gradcheck(lambda x: np.abs(x) * np.arange(1, 34), x, mode=mode)
        # All of them at once: they are a sum, moved together.
        assert gradcheck(lambda t: np.sum(np.abs(x[:30] + t)), np.array(0.0), mode=mode)


@MODES
@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.float64, 1e7), (np.float32, 1e3), (np.float16, 20)]
)
def test_large_numbers_that_cancel_are_no_mistake(mode, dtype, largest):
    rng = np.random.default_rng(0)
    for x in points(2, 3, dtype):
        large = dtype(largest / rng.uniform(1, 10))
        for fn in (lambda x: x, lambda x: 3 * np.sin(x), np.sum):
            assert gradcheck(lambda x: fn((x + large) - large), x, mode=mode)  # noqa: B023
        wrong = primitive(lambda x: (x + large) - large)  # noqa: B023
        defvjp(wrong, lambda g, out, x: g * (1.5 if dtype == np.float16 else 1.01))
        assert refused(wrong, x, mode=mode)


@MODES
@pytest.mark.parametrize(
    "x", [[1e-300, 1e300], [1e-300, 1, 1e300], [1e-16, 1, 5], [3e-8, 1e-9, 1e5, 2]]
)
def test_an_element_far_below_the_largest_is_moved_by_its_own_size(mode, x):
    x = np.array(x)
    for fn in (np.log, np.sqrt, np.log1p, lambda x: 2 * x, lambda x: np.sum(np.log(x))):
        assert gradcheck(fn, x, mode=mode)
    for factor in (0, -1, 1.001):
        log = primitive(np.log)
        defvjp(log, lambda g, out, x: g / x * factor)  # noqa: B023
        assert refused(log, x, mode=mode)
    reciprocal = primitive(lambda x: 1 / x)
    defvjp(reciprocal, lambda g, out, x: g / x / x)
    assert refused(reciprocal, x, mode="full")


@MODES
def test_a_function_that_is_steep_within_a_step_of_float16_is_no_mistake(mode):
    x = np.array([[-1.165, 0.436, 0.136, 0.693], [1.192, -1.326, -0.073, -0.646]], np.float16)
    at = np.array([0.653, 1.018, 1.441, 1.764], np.float16)
    for axis in (0, 1):
        along = at[: x.shape[axis]]
        assert gradcheck(lambda x, y: np.gradient(x, y, axis=axis), x, along, mode=mode)  # noqa: B023
    turns = np.array([[-1.02, -5.02], [2.11, -6.66], [3.83, 6.91]], np.float16)
    assert gradcheck(np.unwrap, turns, mode=mode)
    near = np.array([0.795, 1.204, 1.268, 1.37, 1.614, 1.52, 1.142], np.float16)
    for fn in (np.ptp, np.max, np.sort, np.maximum.accumulate, np.fmax.accumulate):
        assert gradcheck(fn, near, mode=mode)


def layer_norm(x):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return centred / np.sqrt(np.var(x, axis=-1, keepdims=True) + x.dtype.type(1e-3))


#: Right functions whose values are what rounding leaves of terms that cancel.
ONLY_ROUNDING = {
    "sum of a layer norm": lambda x: np.sum(layer_norm(x)),
    "means of a layer norm": lambda x: np.mean(layer_norm(x), axis=-1),
    "mean of what is centred": lambda x: np.mean(x - np.mean(x)),
    "sums of what is centred": lambda x: np.sum(x - x.mean(axis=-1, keepdims=True), axis=-1),
    "mean of what is standardised": lambda x: np.mean((x - np.mean(x)) / np.std(x)),
    "sum of a softmax": lambda x: np.sum(np.exp(x) / np.sum(np.exp(x))) - 1,
    "variance in two ways": lambda x: np.mean(x * x) - np.mean(x) ** 2 - np.var(x),
    "norm of a unit vector": lambda x: np.sqrt(np.sum((x / np.sqrt(np.sum(x * x))) ** 2)) - 1,
    "mean in two orders": lambda x: np.mean(x) - np.mean(x[::-1]),
    "logarithm of exp": lambda x: np.log(np.exp(x)) - x,
    "Pythagoras": lambda x: np.sin(x) ** 2 + np.cos(x) ** 2 - 1,
    "beside another": lambda x: (np.mean(x - np.mean(x)), x * x),
}


@MODES
@FLOATS
@pytest.mark.parametrize("name", ONLY_ROUNDING)
def test_values_that_are_only_rounding_are_no_mistake(mode, dtype, name):
    # Where lengths are powers of two, most sums are exact nearby.
    shapes = [(2, 4), (3, 5), (8,), (2, 2), (5,)]
    rng = np.random.default_rng(list(ONLY_ROUNDING).index(name))
    for shape in rng.permutation(np.array(shapes, object))[: 1 if TIMES == 1 else None]:
        x = rng.normal(size=shape) * rng.choice([0.1, 1, 1, 2])
        assert gradcheck(ONLY_ROUNDING[name], x.astype(dtype), mode=mode)


@pytest.mark.parametrize("shape", [(2, 4), (8,), (4, 4)])
def test_rounding_that_is_the_same_nearby_is_no_mistake(shape):
    for seed in range(3 * TIMES):
        x = np.random.default_rng(seed).normal(size=shape)
        assert gradcheck(ONLY_ROUNDING["mean of what is centred"], x)


def test_rounding_that_adds_up_of_small_jumps_is_no_mistake():
    x = [[0.1368121817579892, 0.08412149125772532], [0.028731475029862088, 0.04751795043571452]]
    assert gradcheck(ONLY_ROUNDING["mean of what is centred"], np.array(x))


@MODES
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rounding_that_jumps_once_nearby_is_no_mistake(mode, dtype):
    # x itself is a thousand times as fine as what it is added to.
    for seed in range(3 * TIMES):
        x = 1e-3 * np.random.default_rng(seed).normal(size=(2, 3))
        assert gradcheck(
            lambda x: np.mean(layer_norm(x + x.dtype.type(16)), axis=-1), x.astype(dtype), mode=mode
        )


@FLOATS
@pytest.mark.parametrize("factor", [4, 127])
def test_what_is_rounded_on_purpose_is_not_taken_for_rounding(dtype, factor):
    # Jumps next to the point, and constant in between: the true derivative is 0.
    straight_through = primitive(lambda x: np.rint(x * dtype(factor)) / dtype(factor))
    defvjp(straight_through, lambda g, out, x: g)
    for near in (0.49, 0.499, 0.4):
        x = np.array([near, -near, near / 2, near / 3], dtype) / dtype(factor)
        assert refused(straight_through, x)
        assert refused(lambda x: np.sum(straight_through(x)), x)


@FLOATS
@pytest.mark.parametrize("name", ONLY_ROUNDING)
def test_what_is_not_recorded_shows_in_values_that_are_only_rounding(dtype, name):
    fn = ONLY_ROUNDING[name]
    x = np.random.default_rng(1).normal(size=(3, 5)).astype(dtype)
    size = dtype(128 * np.finfo(dtype).eps)

    def with_more(x):
        first, *others = outputs if isinstance(outputs := fn(x), tuple) else (outputs,)
        return (first + Tensor(size * np.sum(x.data - x0)), *others)

    x0 = x.copy()
    assert refused(with_more, x)


@MODES
@pytest.mark.parametrize(
    ("dtype", "turns"),
    [(np.float64, 1e13), (np.float64, 7e13), (np.float32, 1e8), (np.float32, 3e9)],
)
def test_what_turns_often_is_not_taken_for_rounding(mode, dtype, turns):
    for x in points(3 * TIMES, 1, dtype):
        for size in (0.05, 0.2):

            def fn(x):
                turning = np.sin(x.dtype.type(turns) * x.data)
                return x * x + Tensor(x.dtype.type(size) * np.abs(x.data) * turning)  # noqa: B023

            assert refused(fn, x, mode=mode), (x, size)


def test_a_mistake_in_what_is_only_rounding_has_no_cause():
    x = np.random.default_rng(0).normal(size=(3, 5))
    centred = primitive(lambda x: np.mean(x - np.mean(x)))
    defvjp(centred, lambda g, out, x: g * np.ones_like(x))
    with pytest.raises(GradcheckError, match="the output is only rounding") as caught:
        gradcheck(centred, x)
    assert "cause:" not in str(caught.value)
    zero = primitive(lambda x: np.float64(0))
    defvjp(zero, lambda g, out, x: g * np.full(x.shape, 1e-17))
    with pytest.raises(GradcheckError, match="the output is only rounding"):
        gradcheck(zero, x)


@pytest.mark.parametrize("x", [3e7, 1e9, 7e10, 1e12])
def test_a_function_that_turns_within_a_step_is_no_mistake(x):
    for factor in (1, 0, 0.99, -1):
        sine = primitive(np.sin)
        defvjp(sine, lambda g, out, x: g * np.cos(x) * factor)  # noqa: B023
        assert refused(lambda x: sine(x), np.array([x])) == (factor != 1)  # noqa: B023


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_near_ties_are_no_mistake(dtype):
    rng = np.random.default_rng(0)
    for _ in range(TIMES):
        x = 3 * (1 + rng.permutation(32)[:9] * 2 * np.finfo(dtype).eps).astype(dtype)
        for fn in (np.median, np.max):
            assert gradcheck(fn, x)


def test_values_far_rougher_than_their_dtype_are_reported():
    for back, inside in ((np.float64, "float32"), (np.float32, "float16")):
        noticed = 0
        for x in points(20, 2, back):
            try:
                gradcheck(lambda x: np.exp(x.astype(inside)).astype(back), x)  # noqa: B023
            except GradcheckError as error:
                assert f"is a part of it computed in {inside}?" in str(error)  # noqa: PT017
                noticed += 1
        assert noticed >= 18


@MODES
@FLOATS
def test_a_kink_or_a_jump_at_the_point_is_reported(mode, dtype):
    def jump(x):
        return x + (x.data >= 1.5).astype(x.dtype)

    for fn, x, cause in ((Tensor.relu, [1, 0, -1], "a kink"), (jump, [1, 1.5, 2], "a jump")):
        with pytest.raises(GradcheckError, match=f"cause: {cause} at this point"):
            gradcheck(fn, np.array(x, dtype), mode=mode)
