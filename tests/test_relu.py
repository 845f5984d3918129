"""ReLU's promises, each with wrong versions that its check rejects."""

import numpy as np
import pytest
from helpers import FLOATS, INF, NAN, SPECIAL, zeros_exactly

from microgrand import Tensor, defvjp, nn, primitive
from microgrand.nn import functional as F
from microgrand.nn.activations import relu_mask
from microgrand.nn.dropout.masks import apply_mask
from microgrand.nn.inputs import as_tensor


def wrong_relu(forward, vjp, mask_of=relu_mask):
    """Make a ReLU whose call is ``forward(x, mask, module)``, with the VJP given."""
    # A function of its own, as the table of derivatives has one entry a function.
    operation = primitive(lambda x, mask, module: forward(x, mask, module))
    defvjp(operation, vjp)

    class WrongReLU(nn.ReLU):
        def forward(self, x):
            x = as_tensor(x)
            self.mask = mask_of(x.data)
            return operation(x, self.mask, self)

    return WrongReLU


def masked(x, mask, module):
    return apply_mask(x, mask)


def masked_vjp(g, out, x, mask, module):
    return apply_mask(g, mask)


OneAtZero = wrong_relu(masked, masked_vjp, lambda x: ~(x < 0))
NanVanishes = wrong_relu(masked, masked_vjp, lambda x: x > 0)
HalfAtZero = wrong_relu(
    masked, lambda g, out, x, mask, module: g * np.heaviside(x, np.asarray(0.5, x.dtype))
)
MultipliesReLUForward = wrong_relu(lambda x, mask, module: x * mask + 0.0, masked_vjp)
MultipliesReLUBackward = wrong_relu(masked, lambda g, out, x, mask, module: g * mask + 0.0)
UsesTheLatestReLUMask = wrong_relu(
    masked, lambda g, out, x, mask, module: apply_mask(g, module.mask)
)
PassesAll = wrong_relu(masked, lambda g, out, x, mask, module: g)
WritableReLUMask = wrong_relu(masked, masked_vjp, lambda x: relu_mask(x).copy())


class LeavesMinusZeroReLU(nn.ReLU):
    def forward(self, x):
        super().forward(x)
        return np.where(self.mask, x, np.copysign(0, as_tensor(x).data))


class KeepsNoMask(nn.ReLU):
    def forward(self, x):
        return F.relu(x)


def check_relu_at_special_values(relu_class):
    with np.errstate(all="raise"):
        for dtype in FLOATS:
            x = Tensor(np.array([*SPECIAL, 2.0], dtype), requires_grad=True)
            out = relu_class()(x)
            expected = np.array([INF, 0, NAN, 0, 0, 1, 0, 2])
            np.testing.assert_array_equal(out.data, expected)
            assert not np.signbit(out.data[[1, 3, 4, 6]]).any(), "+0 rather than -0"
            out.backward(np.arange(1, 9))
            np.testing.assert_array_equal(x.grad, [1, 0, 3, 0, 0, 6, 0, 8])
            assert out.dtype == x.grad.dtype == dtype


def check_relu_stops_special_cotangents(relu_class):
    for dtype in FLOATS:
        x = Tensor(np.array([-1.0, -1.0, 0.0, -INF, -1.0], dtype), requires_grad=True)
        relu_class()(x).backward(np.array([INF, NAN, NAN, INF, -1.0]))
        assert zeros_exactly(x.grad)


def check_relu_shows_its_latest_mask(relu_class):
    relu = relu_class()
    assert relu.mask is None
    for x in np.array([[-1.0, 0.0], [2.0, NAN]]), np.array(-1.0), np.ones((0, 3)):
        out = relu(x)
        assert isinstance(relu.mask, np.ndarray)
        assert relu.mask.dtype == bool
        assert relu.mask.nbytes == out.size
        np.testing.assert_array_equal(relu.mask, np.isnan(x) | (x > 0))
        if x.size:
            with pytest.raises(ValueError, match="read-only"):
                relu.mask[...] = True


def check_relu_keeps_a_mask_for_each_call(relu_class):
    relu = relu_class()
    a = Tensor(np.array([1.0, -1.0, 1.0]), requires_grad=True)
    b = Tensor(np.array([-1.0, 1.0, 1.0]), requires_grad=True)
    np.sum(relu(a) + 3 * relu(b)).backward()
    np.testing.assert_array_equal(a.grad, [1, 0, 1])
    np.testing.assert_array_equal(b.grad, [0, 3, 3])


RELU = {
    check_relu_at_special_values: [
        OneAtZero,
        HalfAtZero,
        NanVanishes,
        MultipliesReLUForward,
        PassesAll,
        LeavesMinusZeroReLU,
    ],
    check_relu_stops_special_cotangents: [MultipliesReLUBackward, PassesAll, HalfAtZero],
    check_relu_shows_its_latest_mask: [WritableReLUMask, NanVanishes, OneAtZero, KeepsNoMask],
    check_relu_keeps_a_mask_for_each_call: [UsesTheLatestReLUMask, PassesAll],
}


@pytest.mark.parametrize("check", RELU, ids=lambda check: check.__name__)
def test_relu(check):
    check(nn.ReLU)


@pytest.mark.parametrize("f", [F.relu, lambda x: as_tensor(x).relu()], ids=["F.relu", "method"])
def test_the_other_ways_to_call_relu(f):
    for check in RELU:
        if check is not check_relu_shows_its_latest_mask:
            check(lambda: f)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        pytest.param(check, wrong, id=f"{check.__name__}-{i}")
        for check, wrong_versions in RELU.items()
        for i, wrong in enumerate(wrong_versions)
    ],
)
def test_the_checks_of_relu_reject(check, wrong):
    with pytest.raises((AssertionError, FloatingPointError, pytest.fail.Exception)):
        check(wrong)


def test_only_what_is_planted_in_relu_is_wrong():
    for check in RELU:
        check(wrong_relu(masked, masked_vjp))


def test_relu_of_complex_numbers_is_refused():
    for f in F.relu, nn.ReLU():
        with pytest.raises(TypeError, match="complex"):
            f(np.ones(2, complex))
