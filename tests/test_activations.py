"""Activations: derivatives, values at any number and of any dtype, conventions, modules, misuse."""

import numpy as np
import pytest
from compiled import assert_runs_as_eager
from helpers import FLOATS, INF, NAN, leaf
from hypothesis import given, settings
from hypothesis import strategies as st

from microgrand import Tensor, compile, grad, nn
from microgrand.nn import functional as F
from microgrand.nn import smooth
from microgrand.nn.normal import normal_cdf
from microgrand.nn.pieces import in_pieces
from microgrand.testing import gradcheck
from microgrand.testing.strategies import arrays, shapes

#: Each activation with options, and the module that stands for it.
ACTIVATIONS = {
    "tanh": (F.tanh, nn.Tanh()),
    "sigmoid": (F.sigmoid, nn.Sigmoid()),
    "logsigmoid": (F.logsigmoid, nn.LogSigmoid()),
    "softplus": (F.softplus, nn.Softplus()),
    "softplus, beta": (lambda x: F.softplus(x, 0.5, 30), nn.Softplus(0.5, 30)),
    "silu": (F.silu, nn.SiLU()),
    "gelu": (F.gelu, nn.GELU()),
    "gelu, tanh": (lambda x: F.gelu(x, "tanh"), nn.GELU("tanh")),
    "leaky_relu": (F.leaky_relu, nn.LeakyReLU()),
    "leaky_relu, slope": (lambda x: F.leaky_relu(x, -0.3), nn.LeakyReLU(-0.3)),
    "elu": (F.elu, nn.ELU()),
    "elu, alpha": (lambda x: F.elu(x, 0.7), nn.ELU(0.7)),
    "selu": (F.selu, nn.SELU()),
    "hardtanh": (F.hardtanh, nn.Hardtanh()),
    "hardtanh, limits": (lambda x: F.hardtanh(x, -0.5, 1.5), nn.Hardtanh(-0.5, 1.5)),
    "softsign": (F.softsign, nn.Softsign()),
    "mish": (F.mish, nn.Mish()),
    "celu": (F.celu, nn.CELU()),
    "celu, alpha": (lambda x: F.celu(x, 0.5), nn.CELU(0.5)),
    "relu6": (F.relu6, nn.ReLU6()),
    "hardsigmoid": (F.hardsigmoid, nn.Hardsigmoid()),
    "hardswish": (F.hardswish, nn.Hardswish()),
    "softshrink": (F.softshrink, nn.Softshrink()),
    "softshrink, width": (lambda x: F.softshrink(x, 1.5), nn.Softshrink(1.5)),
    "hardshrink": (F.hardshrink, nn.Hardshrink()),
    "tanhshrink": (F.tanhshrink, nn.Tanhshrink()),
    "threshold": (lambda x: F.threshold(x, 0.5, -1.0), nn.Threshold(0.5, -1.0)),
    "softmin": (F.softmin, nn.Softmin(dim=-1)),
    "softmax": (lambda x: F.softmax(x, dim=-1), nn.Softmax(dim=-1)),
    "log_softmax": (lambda x: F.log_softmax(x, dim=-1), nn.LogSoftmax(dim=-1)),
}
of_each = pytest.mark.parametrize("name", ACTIVATIONS)
KINKS = (-3.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 3.0, 6.0)


# -------------------------------------------------------------------------- derivatives


@of_each
@settings(max_examples=6)
@given(x=shapes(1, min_side=1).flatmap(lambda shape: arrays(shape, -6, 6, kinks=KINKS)))
def test_derivatives(name, x):
    assert gradcheck(ACTIVATIONS[name][0], x, order=2, mode="fast")


@settings(max_examples=12)
@given(
    st.sampled_from([((4,), 0), ((2, 3), 0), ((3, 2), -1), ((2, 4, 1), 1)]).flatmap(
        lambda case: st.tuples(arrays(case[0], -6, 6), st.just(case[1]))
    )
)
def test_derivatives_of_glu(case):
    x, dim = case
    assert gradcheck(nn.GLU(dim), x, order=2, mode="fast")
    assert gradcheck(lambda x: F.glu(x, dim=dim), x, mode="fast")


@settings(max_examples=12)
@given(
    st.sampled_from([((), 1), ((3,), 1), ((2, 3), 3), ((2, 3), 1), ((2, 2, 1, 2), 2)]).flatmap(
        lambda case: st.tuples(arrays(case[0], -3, 3, kinks=(0.0,)), arrays((case[1],), -1, 1))
    )
)
def test_derivatives_of_prelu(case):
    assert gradcheck(F.prelu, *case, order=2, mode="fast")


@of_each
def test_modules_are_their_functions(name):
    function, module = ACTIVATIONS[name]
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    np.testing.assert_array_equal(module(x).data, function(Tensor(x)).data)


@of_each
def test_compiled_they_have_the_same_bits(name):
    function, _ = ACTIVATIONS[name]
    draw = np.random.default_rng(0).normal(0, 4, (5, 2, 3)).astype(np.float32)
    assert_runs_as_eager(grad(lambda x: np.sum(np.square(function(x)))), lambda i: draw[i])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, number: F.softplus(x, number, number),
        F.leaky_relu,
        F.elu,
        F.celu,
        lambda x, number: F.hardtanh(x, -number, number),
        lambda x, number: nn.Hardtanh(-number, number)(x),
        F.softshrink,
        F.hardshrink,
        lambda x, number: F.threshold(x, number, number),
    ],
)
def test_numbers_of_numpy_change_no_dtype(function):
    for dtype in np.float16, np.float32:
        assert function(np.array([-1.0, 1.0], dtype), np.float64(0.25)).dtype == dtype


@pytest.mark.parametrize("make", [nn.Softplus, nn.Threshold, nn.LeakyReLU, nn.ELU, nn.CELU])
def test_layers_with_numbers_of_numpy_are_compiled(make):
    layer = make(*[np.float32(0.25)] * (1 if make in (nn.LeakyReLU, nn.ELU, nn.CELU) else 2))
    assert_runs_as_eager(layer, lambda i: np.arange(-2.0, 2.0) + i)


# --------------------------------------------------------------------------- any number


def exact(name, x):
    """What an activation gives, and its derivative, in long doubles or by their limits."""
    x = np.longdouble(x)
    s, complement = 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
    if name == "tanh":
        return np.tanh(x), 1 - np.tanh(x) ** 2
    if name == "sigmoid":
        return s, s * complement
    if name == "logsigmoid":
        return min(x, 0) - np.log1p(np.exp(-abs(x))), complement
    if name == "softplus":
        return max(x, 0) + np.log1p(np.exp(-abs(x))), s
    if name == "silu":
        return x * s, s * (1 + x * complement)
    if name == "softsign":
        return x / (1 + abs(x)), 1 / (1 + abs(x)) / (1 + abs(x))
    if name == "mish":
        gate, more = s * (1 + complement) / (1 + complement**2), 1 + complement**2
        return x * gate, gate + x * (4 * s * complement**2 / more**2)
    if name == "tanhshrink":
        series = x**3 / 3 - 2 * x**5 / 15 + 17 * x**7 / 315
        return (series if abs(x) < 0.1 else x - np.tanh(x)), np.tanh(x) ** 2
    if name == "elu":
        return (x, 1) if x > 0 else (np.expm1(x), np.exp(x))
    return x, 1


RANGE = [-1e4, -700, -90, -30, -3, -1e-3, -1e-30, 0, 1e-40, 1e-3, 2, 30, 90, 1e4]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name",
    [
        *("tanh", "sigmoid", "logsigmoid", "softplus", "silu", "elu"),
        *("softsign", "mish", "tanhshrink"),
    ],
)
def test_values_and_derivatives_over_the_whole_range(name, dtype):
    x = Tensor(np.array(RANGE, dtype), requires_grad=True)
    f = (lambda x: F.softplus(x, threshold=INF)) if name == "softplus" else ACTIVATIONS[name][0]
    out = f(x)
    assert out.dtype == dtype
    np.sum(out).backward()
    with np.errstate(all="ignore"):
        expected = [exact(name, number) for number in x.data]
    eps, smallest = np.finfo(dtype).eps, np.finfo(dtype).smallest_subnormal
    for found, wanted in (out.data, 0), (x.grad, 1):
        wanted = np.array([pair[wanted] for pair in expected])
        tolerance = 8 * eps * np.abs(wanted) + 2 * smallest
        if name == "tanh" and found is x.grad:
            tolerance = tolerance + 4 * eps  # 1 - tanh(x)^2 is exact to the rounding of tanh(x)
        assert (np.abs(found - wanted) <= tolerance).all(), (found, wanted)


LIMITS = {  # value and derivative at minus infinity and at infinity
    "tanh": (-1, 0, 1, 0),
    "sigmoid": (0, 0, 1, 0),
    "logsigmoid": (-INF, 1, 0, 0),
    "softplus": (0, 0, INF, 1),
    "silu": (0, 0, INF, 1),
    "gelu": (0, 0, INF, 1),
    "gelu, tanh": (0, 0, INF, 1),
    "leaky_relu": (-INF, 0.01, INF, 1),
    "elu": (-1, 0, INF, 1),
    "selu": (-1.7580993, 0, INF, 1.0507010),
    "hardtanh": (-1, 0, 1, 0),
    "softsign": (-1, 0, 1, 0),
    "mish": (0, 0, INF, 1),
    "celu, alpha": (-0.5, 0, INF, 1),
    "relu6": (0, 0, 6, 0),
    "hardsigmoid": (0, 0, 1, 0),
    "hardswish": (0, 0, INF, 1),
    "softshrink": (-INF, 1, INF, 1),
    "hardshrink": (-INF, 1, INF, 1),
    "tanhshrink": (-INF, 1, INF, 1),
    "threshold": (-1, 0, INF, 1),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LIMITS)
def test_limits_at_infinity_and_missing_numbers(name, dtype):
    x = leaf(-INF, INF, NAN, np.finfo(dtype).max, np.finfo(dtype).min, dtype=dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        out = ACTIVATIONS[name][0](x)
        out.backward(np.ones(5))
    low, low_slope, high, high_slope = LIMITS[name]
    np.testing.assert_allclose(out.data[:3].astype(float), [low, high, NAN], rtol=2e-3)
    np.testing.assert_allclose(x.grad[:2].astype(float), [low_slope, high_slope], rtol=2e-3)
    assert not np.isnan(out.data[3:]).any()
    assert not np.isnan(x.grad[3:]).any()


# -------------------------------------------------------------------- the normal distribution


# Phi(x), with 25 digits.
NORMAL = {
    "-37": "5.725571222524576822683193e-300",
    "-20": "2.753624118606233695075623e-89",
    "-5.5": "1.898956246588771938385127e-8",
    "-2": "0.02275013194817920720028264",
    "-0.5": "0.3085375387259868963622954",
    "-0.0009765625": "0.4996104079912194589932242",
    "0": "0.5",
    "1.25": "0.8943502263331447423112272",
    "4": "0.9999683287581668800787462",
}


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_normal_distribution_to_the_last_bits_in_its_tail_too(dtype):
    at = np.array(list(NORMAL), np.longdouble)
    expected = np.array(list(NORMAL.values()), np.longdouble)
    x = at.astype(dtype)
    known = (x == at) & (expected > np.finfo(dtype).tiny)
    found = normal_cdf(x)
    assert found.dtype == dtype
    assert known.sum() >= 5
    off = np.abs(found - expected)[known] / expected[known]
    assert off.max() < 4 * max(np.finfo(dtype).eps, 1e-19)


def test_gelu_keeps_its_digits_where_it_is_small():
    for name in "gelu", "gelu, tanh":
        x = leaf(-8.0)
        out = ACTIVATIONS[name][0](x)
        out.backward(np.ones(1))
        assert -1e-10 < out.data[0] < 0
        assert -1e-9 < x.grad[0] < 0
    assert abs(F.gelu([-8.0]).data[0] / -4.9767684594174273e-15 - 1) < 1e-12


@pytest.mark.parametrize("dtype", FLOATS)
def test_gelu_in_pieces_has_the_bits_of_the_whole(dtype, tmp_path):
    x = np.random.default_rng(0).normal(0, 4, (301, 503)).astype(dtype)
    program = compile(grad(lambda x: F.gelu(x)[0, 0] + F.gelu(x).mean()))
    for number in x, x.T, x[::2, ::3]:
        whole = smooth.unit_and_slope(number)
        assert all(map(np.array_equal, in_pieces(smooth.unit_and_slope, number), whole))
        assert len({program(number).astype(float).tobytes() for _ in range(3)}) == 1
    program.save(tmp_path / "saved.py")  # it needs NumPy only


# -------------------------------------------------------------------------- conventions


def test_conventions_at_kinks_are_pytorchs():
    for f, x, expected in [
        (F.leaky_relu, 0.0, 0.01),
        (F.elu, 0.0, 1.0),
        (lambda x: F.elu(x, 0.5), 0.0, 0.5),
        (F.hardtanh, 1.0, 0.0),
        (F.hardtanh, -1.0, 0.0),
        (F.relu6, 0.0, 0.0),
        (F.relu6, 6.0, 0.0),
        (F.hardsigmoid, -3.0, 0.0),
        (F.hardsigmoid, 3.0, 0.0),
        (F.hardswish, -3.0, 0.0),
        (F.hardswish, 3.0, 1.0),
        (F.softshrink, 0.5, 0.0),
        (F.softshrink, -0.5, 0.0),
        (F.hardshrink, 0.5, 0.0),
        (lambda x: F.threshold(x, 0.5, 7.0), 0.5, 0.0),
        (lambda x: F.celu(x, 0.5), 0.0, 1.0),
        (lambda x: F.prelu(x, [0.3]), 0.0, 0.3),
        (F.softsign, 0.0, 1.0),
    ]:
        assert grad(lambda x, f=f: np.sum(f(x)))(np.array(x)) == expected


def test_softplus_is_the_line_beyond_its_threshold():
    x = np.array([19.0, 21.0])
    assert (F.softplus(x).data > x).tolist() == [True, False]
    assert (F.softplus(x, threshold=INF).data > x).all()


# ------------------------------------------------------------------------ logsumexp, xlogy


@given(st.data())
def test_derivatives_of_logsumexp(data):
    x = data.draw(shapes(1, min_side=1).flatmap(lambda shape: arrays(shape, -3, 3)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    keepdims = data.draw(st.booleans())
    assert gradcheck(lambda x: F.logsumexp(x, dim=axis, keepdim=keepdims), x, order=2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", FLOATS)
def test_logsumexp_of_any_numbers(dtype):
    largest = np.finfo(dtype).max
    rows = [[-INF, -INF], [-INF, 3], [largest, -largest], [0, 0], [INF, 0], [NAN, 0]]
    x = Tensor(np.array(rows, dtype), requires_grad=True)
    with np.errstate(invalid="ignore"):
        out = F.logsumexp(x)
        out.backward(np.ones(6))
    expected = np.array([-INF, 3, largest, np.log(2), INF, NAN], dtype)
    np.testing.assert_allclose(out.data, expected, rtol=1e-3)
    np.testing.assert_allclose(x.grad[:4].astype(float), [[0, 0], [0, 1], [1, 0], [0.5, 0.5]])
    assert out.dtype == x.grad.dtype == dtype


@given(st.data())
def test_derivatives_of_xlogy(data):
    x, y = (data.draw(arrays((2, 3), 0.2, 3)) for _ in range(2))
    assert gradcheck(F.xlogy, x, y, order=2)


@pytest.mark.filterwarnings("error")
def test_xlogy_of_zero_is_zero_but_a_nan_stays():
    x, y = leaf(0, 0, 0, 2), leaf(0, -1, NAN, 1)
    out = F.xlogy(x, y)
    np.testing.assert_array_equal(out.data, [0, 0, NAN, 0])
    out.backward(np.ones(4))
    np.testing.assert_array_equal(y.grad, [0, 0, NAN, 2])
    np.testing.assert_array_equal(x.grad, [0, 0, NAN, 0])


# -------------------------------------------------------------------------------- modules


def test_reprs_are_pytorchs():
    for module, expected in [
        (nn.Tanh(), "Tanh()"),
        (nn.Sigmoid(), "Sigmoid()"),
        (nn.LogSigmoid(), "LogSigmoid()"),
        (nn.SiLU(), "SiLU()"),
        (nn.SELU(), "SELU()"),
        (nn.Softplus(), "Softplus(beta=1.0, threshold=20.0)"),
        (nn.GELU(), "GELU(approximate='none')"),
        (nn.LeakyReLU(), "LeakyReLU(negative_slope=0.01)"),
        (nn.ELU(), "ELU(alpha=1.0)"),
        (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)"),
        (nn.Softmax(dim=1), "Softmax(dim=1)"),
        (nn.LogSoftmax(1), "LogSoftmax(dim=1)"),
        (nn.ReLU(inplace=False), "ReLU()"),
    ]:
        assert repr(module) == expected


def test_what_is_refused():
    for make, error, match in [
        (lambda: F.gelu([1.0], "erf"), ValueError, "'none', 'tanh'"),
        (lambda: nn.GELU("erf"), ValueError, "'none', 'tanh'"),
        (lambda: nn.Softplus(0), ValueError, "positive"),
        (lambda: nn.Softplus("1"), TypeError, "number"),
        (lambda: nn.LeakyReLU([0.1]), TypeError, "number"),
        (lambda: nn.ELU(None), TypeError, "number"),
        (lambda: nn.Hardtanh(1, 1), ValueError, "min_val < max_val"),
        (lambda: F.hardtanh([1.0], 1, -1), ValueError, "min_val < max_val"),
        (lambda: nn.CELU(0), ValueError, "CELU's alpha is a number other than 0"),
        (lambda: F.celu([1.0], 0.0), ValueError, "other than 0"),
        (lambda: nn.Softshrink(-1), ValueError, "from 0"),
        (lambda: F.softshrink([1.0], -1), ValueError, "softshrink's lambd is a number from 0"),
        (lambda: nn.Hardshrink("1"), TypeError, "number"),
        (lambda: nn.Threshold(None, 1), TypeError, "Threshold's threshold is a number"),
        (lambda: nn.PReLU(0), ValueError, "at least 1"),
        (lambda: nn.PReLU(3)(np.ones((2, 4))), ValueError, r"one for each channel.*\(3,\)"),
        (lambda: F.prelu([1.0, 1.0], [0.1, 0.2]), ValueError, "one slope"),
        (lambda: F.glu(np.ones((2, 3))), ValueError, r"must be even, got an input of shape \(2, 3"),
        (lambda: F.glu(np.ones((2, 3)), 2), ValueError, "which has no axis 2"),
        (lambda: F.glu(np.ones((2, 3)), 1.0), TypeError, "number of an axis"),
        (
            lambda: nn.Softmax2d()(np.ones((2, 3))),
            ValueError,
            "Softmax2d got an input",
        ),
    ]:
        with pytest.raises(error, match=match):
            make()


def test_nothing_is_computed_in_place():
    makes = [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Hardtanh, nn.ReLU6, nn.SiLU]
    makes += [nn.Mish, nn.Hardswish, nn.Hardsigmoid, lambda **kw: nn.Threshold(0.0, 0.0, **kw)]
    functions = [F.relu, F.leaky_relu, F.elu, F.selu, F.celu, F.hardtanh, F.relu6, F.silu]
    functions += [F.mish, F.hardswish, F.hardsigmoid]
    functions += [lambda x, **kw: F.threshold(x, 0.0, 0.0, **kw)]
    x = np.array([-1.0, 2.0])
    for make, function in zip(makes, functions, strict=True):
        assert make(inplace=False)(x).data.tolist() == function(x, inplace=False).data.tolist()
        for call in make, lambda function=function, **kw: function(x, **kw):
            with pytest.raises(ValueError, match=r"computes a new tensor.*got inplace=True"):
                call(inplace=True)
    assert x.tolist() == [-1, 2]


def test_a_slope_for_each_channel_is_learned_and_saved():
    layer = nn.PReLU(2, init=0.5)
    assert list(layer.state_dict()) == ["weight"]
    assert layer.weight.dtype == np.float32
    out = layer(np.array([[-1.0, 3.0], [-2.0, -4.0]]))
    assert out.data.tolist() == [[-0.5, 3], [-1, -2]]
    np.sum(out).backward()
    assert layer.weight.grad.tolist() == [-3, -4]


@of_each
def test_integers_and_complex_numbers_are_refused(name):
    for x in [1, 2], np.ones(2, complex), np.ones(2, bool):
        for f in ACTIVATIONS[name]:
            with pytest.raises(TypeError, match=r"floating-point|ambiguous|complex|expects"):
                f(np.asarray(x))


@of_each
def test_an_empty_batch(name):
    for f in ACTIVATIONS[name]:
        assert f(np.zeros((0, 3))).shape == (0, 3)
