"""The promises of masks, Dropout's and ReLU's, each with wrong versions that its check rejects.

A check is a function of a module's class; it passes for ours and must fail for the wrong ones
planted beside it. Statistical checks have fixed seeds; where a bound is stated as five standard
deviations, a right generator would break it with probability 6e-7.
"""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microgrand import Tensor, defvjp, manual_seed, nn, primitive
from microgrand.engine import backpropagate
from microgrand.nn import functional as F
from microgrand.nn.activations import positive_mask
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask
from microgrand.nn.inputs import as_tensor

INF, NAN = np.inf, np.nan
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]
SPECIAL = [INF, -INF, NAN, -0.0, 0.0, 1.0, -1.0]


@pytest.fixture(autouse=True)
def seed_the_library():
    manual_seed(0)


def zeros_exactly(array):
    """Whether all elements are zero with the sign bit of +0."""
    return not np.any(array) and not np.signbit(array).any()


# ------------------------------------------------------------------- wrong versions of Dropout


def wrong_dropout(forward, vjp):
    """Make a Dropout whose call is ``forward(x, mask, module)``, with the VJP given."""
    # A function of its own, as the table of derivatives has one entry a function.
    operation = primitive(lambda x, mask, module: forward(x, mask, module))
    defvjp(operation, vjp)

    class WrongDropout(nn.Dropout):
        def forward(self, x):
            x = as_tensor(x)
            if not self.training:
                return x
            rng = np.random.default_rng(0) if self.rng is None else self.rng
            self.mask = bernoulli_mask(x.shape, 1 - self.p, rng)
            return operation(x, self.mask, self)

    return WrongDropout


def scale(module):
    return 1 / (1 - module.p) if module.p < 1 else 1.0


def right_forward(x, mask, module):
    return apply_mask(x, mask, scale(module))


def right_vjp(g, out, x, mask, module):
    return apply_mask(g, mask, scale(module))


class IgnoresEvaluation(nn.Dropout):
    def forward(self, x):
        self.training = True
        return super().forward(x)


class ScalesInEvaluation(nn.Dropout):
    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x) * (1 - self.p)


class KeepsWithProbabilityP(nn.Dropout):
    def forward(self, x):
        keep_prob, self.p = self.p, 1 - self.p
        out = super().forward(x)
        self.p = keep_prob
        return out


class ShowsWhatIsDropped(nn.Dropout):
    def forward(self, x):
        out = super().forward(x)
        self.mask = ~self.mask
        return out


class ShowsTheScaledMask(nn.Dropout):
    def forward(self, x):
        out = super().forward(x)
        self.mask = self.mask * np.float32(1 / (1 - self.p))
        return out


class ShowsTheFirstMask(nn.Dropout):
    def forward(self, x):
        first = self.mask
        out = super().forward(x)
        self.mask = self.mask if first is None else first
        return out


class ShowsAWritableMask(nn.Dropout):
    def forward(self, x):
        out = super().forward(x)
        self.mask = self.mask.copy()
        return out


class DrawsOneMaskForAllRows(nn.Dropout):
    def forward(self, x):
        x = as_tensor(x)
        self.mask = np.broadcast_to(bernoulli_mask(x.shape[1:], 1 - self.p, self.rng), x.shape)
        return self.drop(x, self.mask)


class DrawsPairs(nn.Dropout):
    """Two neighbours share their fate, though each is dropped with the right probability."""

    def forward(self, x):
        x = as_tensor(x)
        pairs = bernoulli_mask((-(-x.size // 2),), 1 - self.p, self.rng)
        self.mask = np.repeat(pairs, 2)[: x.size].reshape(x.shape)
        return self.drop(x, self.mask)


class RoundsTo256ths(nn.Dropout):
    def forward(self, x):
        x = as_tensor(x)
        draws = self.rng.integers(0, 256, x.shape, dtype=np.uint8)
        self.mask = draws < round(256 * (1 - self.p))
        return self.drop(x, self.mask)


class TruncatesTo256ths(nn.Dropout):
    def forward(self, x):
        x = as_tensor(x)
        draws = self.rng.integers(0, 256, x.shape, dtype=np.uint8)
        self.mask = draws < int(256 * (1 - self.p))
        return self.drop(x, self.mask)


class IgnoresTheSeed(nn.Dropout):
    def forward(self, x):
        self.rng = np.random.default_rng()
        return super().forward(x)


class DrawsTheSameMaskAgain(nn.Dropout):
    def forward(self, x):
        self.rng = np.random.default_rng(0)
        return super().forward(x)


class DropsAFixedNumber(nn.Dropout):
    """The right number on average in every row, and never another."""

    def forward(self, x):
        x = as_tensor(x)
        kept = np.arange(x.size) >= round(self.p * x.size)
        self.mask = self.rng.permutation(kept).reshape(x.shape)
        return self.drop(x, self.mask)


class AlwaysScales(nn.Dropout):
    """Divides by 1 - p also for p = 1."""

    def forward(self, x):
        x = as_tensor(x)
        self.mask = bernoulli_mask(x.shape, 1 - self.p, np.random.default_rng())
        return apply_mask(x, self.mask, np.float64(1) / (1 - self.p))


RedrawsInBackward = wrong_dropout(
    right_forward,
    lambda g, out, x, mask, module: apply_mask(
        g, bernoulli_mask(x.shape, 1 - module.p, np.random.default_rng(1)), scale(module)
    ),
)
NoScaleInBackward = wrong_dropout(
    right_forward, lambda g, out, x, mask, module: apply_mask(g, mask)
)
NoScaleForward = wrong_dropout(lambda x, mask, module: apply_mask(x, mask), right_vjp)
ScalesByKeep = wrong_dropout(
    lambda x, mask, module: apply_mask(x, mask, 1 - module.p),
    lambda g, out, x, mask, module: apply_mask(g, mask, 1 - module.p),
)
UsesTheLatestMask = wrong_dropout(
    right_forward, lambda g, out, x, mask, module: apply_mask(g, module.mask, scale(module))
)
MultipliesForward = wrong_dropout(
    lambda x, mask, module: x * mask.astype(x.dtype) * scale(module) + 0.0, right_vjp
)
MultipliesBackward = wrong_dropout(
    right_forward, lambda g, out, x, mask, module: g * mask.astype(g.dtype) * scale(module) + 0.0
)
LeavesMinusZero = wrong_dropout(
    lambda x, mask, module: np.where(mask, x * scale(module), np.copysign(0, x)), right_vjp
)
RebuildsFromRatio = wrong_dropout(
    right_forward, lambda g, out, x, mask, module: g * np.nan_to_num(out / x)
)
RebuildsFromOutput = wrong_dropout(
    right_forward, lambda g, out, x, mask, module: apply_mask(g, out != 0, scale(module))
)
ZeroesForwardOnly = wrong_dropout(right_forward, lambda g, out, x, mask, module: g)
ScaleBeforeNarrowMask = wrong_dropout(
    lambda x, mask, module: apply_mask(x, mask) * scale(module), right_vjp
)
ChangesDtype = wrong_dropout(
    lambda x, mask, module: apply_mask(x, mask) * np.float64(scale(module)), right_vjp
)


# ------------------------------------------------------------------- the promises of Dropout


def check_p_is_the_probability_of_dropping(dropout_class):
    for p in 0.1, 0.25, 0.75:
        module = dropout_class(p, rng=np.random.default_rng(0))
        out = module(np.ones(200_000))
        dropped = np.count_nonzero(out.data == 0) / out.size
        assert abs(dropped - p) < 5 * np.sqrt(p * (1 - p) / out.size)


def check_the_keep_probability_is_exact(dropout_class):
    n = 2**24
    x = np.ones(n, np.float32)
    for p in 1 / 512, 0.501:
        module = dropout_class(p, rng=np.random.default_rng(0))
        module(x)
        kept = np.count_nonzero(module.mask)
        assert abs(kept - n * (1 - p)) < 5 * np.sqrt(n * p * (1 - p))


def check_units_are_dropped_independently(dropout_class):
    rows, width = 2000, 48
    module = dropout_class(0.3, rng=np.random.default_rng(0))
    module(np.ones((rows, width)))
    kept = (module.mask - 0.7) / np.sqrt(0.3 * 0.7)  # mean 0, variance 1
    flat = kept.ravel()
    for lag in [*range(1, 17), width, 2 * width]:
        products = flat[:-lag] * flat[lag:]
        assert abs(products.mean()) < 5 / np.sqrt(products.size)
    # Every position is kept as often as any other.
    assert np.abs(kept.mean(axis=0)).max() < 5 / np.sqrt(rows)
    # The number dropped varies as that of independent units does.
    counts = np.array([np.count_nonzero(draw(module)) for _ in range(400)])
    assert 0.7 < counts.var() / (100 * 0.3 * 0.7) < 1.4  # 5 standard deviations are 0.35


def draw(module):
    module(np.ones(100))
    return module.mask


def check_survivors_are_scaled(dropout_class):
    for p, factor in (0.5, 2.0), (0.75, 4.0), (0.2, 1.25):
        module = dropout_class(p, rng=np.random.default_rng(0))
        x = np.linspace(1, 2, 64)
        out = module(x).data
        kept = out != 0
        assert kept.any()
        np.testing.assert_allclose(out[kept], factor * x[kept], rtol=1e-15)
        # So the expected value stays what it was: mean 1, standard deviation sqrt(p / (1-p)).
        ones = module(np.ones(100_000)).data
        assert abs(ones.mean() - 1) < 5 * np.sqrt(p / (1 - p) / ones.size)


def check_evaluation_is_the_identity(dropout_class):
    module = dropout_class(0.5, rng=np.random.default_rng(0))
    module(np.ones(4))
    mask = module.mask
    before = module.rng.bit_generator.state
    module.eval()
    x = Tensor(np.array([*SPECIAL, 3.0]), requires_grad=True)
    for _ in range(3):
        out = module(x)
        np.testing.assert_array_equal(out.data.view(np.int64), x.data.view(np.int64))
    assert module.rng.bit_generator.state == before, "evaluation draws no masks"
    assert module.mask is mask
    out.backward(np.arange(8.0))
    np.testing.assert_array_equal(x.grad, np.arange(8.0))
    assert not np.array_equal(module.train()(np.ones(64)).data, np.ones(64))


def check_the_mask_shows_what_is_kept(dropout_class):
    module = dropout_class(0.5, rng=np.random.default_rng(0))
    for shape in (8, 8), (100,), (100,):
        out = module(np.ones(shape))
        assert module.mask.dtype == bool
        assert module.mask.nbytes == out.size, "one byte a unit"
        np.testing.assert_array_equal(module.mask, out.data != 0)


def check_the_mask_is_read_only(dropout_class):
    module = dropout_class(0.5, rng=np.random.default_rng(0))
    for shape in (4,), ():
        module(np.ones(shape))
        with pytest.raises(ValueError, match="read-only"):
            module.mask[...] = True


def check_the_same_units_are_zeroed_forward_and_backward(dropout_class):
    module = dropout_class(0.5, rng=np.random.default_rng(0))
    # Zero at most units, kept ones, too: there neither output nor ratio shows the mask.
    x = Tensor(np.where(np.arange(64) % 4, 0.0, 1.5), requires_grad=True)
    out = module(x)
    g = np.linspace(1, 2, 64)
    out.backward(g)
    np.testing.assert_array_equal(out.data, np.where(module.mask, 2 * x.data, 0))
    np.testing.assert_array_equal(x.grad, np.where(module.mask, 2 * g, 0))


def check_the_mask_belongs_to_the_call(dropout_class):
    module = dropout_class(0.5, rng=np.random.default_rng(0))
    xs = [Tensor(np.ones(64), requires_grad=True) for _ in range(3)]
    outs, masks = [], []
    for x in xs:
        outs.append(module(x))
        masks.append(module.mask)
    assert not np.array_equal(masks[0], masks[1])
    np.sum(outs[0] + 3 * outs[1] + 5 * outs[2]).backward()
    for x, mask, factor in zip(xs, masks, (1, 3, 5), strict=True):
        np.testing.assert_array_equal(x.grad, np.where(mask, 2.0 * factor, 0))
    # Also when it is one input that goes through twice.
    x = Tensor(np.ones(64), requires_grad=True)
    first, mask_of_first = module(x), module.mask
    second = module(x)
    np.sum(first + 3 * second).backward()
    np.testing.assert_array_equal(x.grad, 2.0 * mask_of_first + 6.0 * module.mask)


def check_dropped_is_exactly_zero(dropout_class):
    x = np.repeat(SPECIAL, 16)
    for dtype in FLOATS:
        module = dropout_class(0.5, rng=np.random.default_rng(0))
        leaf = Tensor(x.astype(dtype), requires_grad=True)
        out = module(leaf)
        out.backward(x[::-1].astype(dtype))
        assert out.dtype == leaf.grad.dtype == dtype
        for result, given_values in (out.data, x), (leaf.grad, x[::-1]):
            assert zeros_exactly(result[~module.mask])
            np.testing.assert_array_equal(result[module.mask], 2 * given_values[module.mask])


def check_dropped_is_zero_where_the_scale_overflows(dropout_class):
    module = dropout_class(1 - 1e-6, rng=np.random.default_rng(0))  # 1e6 is inf in float16
    x = Tensor(np.ones(256, np.float16), requires_grad=True)
    with np.errstate(over="ignore"):
        out = module(x)
        out.backward(np.ones(256, np.float16))
    assert zeros_exactly(out.data[~module.mask])
    assert zeros_exactly(x.grad[~module.mask])


def check_p_of_0_and_1(dropout_class):
    with np.errstate(all="raise"):
        x = Tensor(np.array(SPECIAL), requires_grad=True)
        module = dropout_class(0)
        out = module(x)
        assert module.mask.all()
        np.testing.assert_array_equal(out.data.view(np.int64), x.data.view(np.int64))
        out.backward(np.array(SPECIAL))
        np.testing.assert_array_equal(x.grad, SPECIAL)
        x.grad = None
        module.p = 1
        out = module(x)
        assert not module.mask.any()
        assert zeros_exactly(out.data)
        out.backward(np.array(SPECIAL))
        assert zeros_exactly(x.grad)


def check_one_seed_gives_one_sequence_of_masks(dropout_class):
    def masks():
        manual_seed(3)
        library = dropout_class(0.5)
        own = dropout_class(0.5, rng=np.random.default_rng(4))
        drawn = []
        for module in library, library, own, own:
            module(np.ones(64))
            drawn.append(module.mask)
        return drawn

    first, second = masks(), masks()
    np.testing.assert_array_equal(first, second)
    for i in range(4):
        for j in range(i):
            assert not np.array_equal(first[i], first[j]), "each call draws its own mask"


def check_the_dtype_is_kept(dropout_class):
    for dtype in FLOATS:
        for p in 0.5, np.float64(0.5), np.float32(0.5), 0, 1:
            assert dropout_class(p)(np.ones(3, dtype)).dtype == dtype


DROPOUT = {
    check_p_is_the_probability_of_dropping: [KeepsWithProbabilityP],
    check_the_keep_probability_is_exact: [RoundsTo256ths, TruncatesTo256ths],
    check_units_are_dropped_independently: [
        DrawsOneMaskForAllRows,
        DrawsPairs,
        DropsAFixedNumber,
    ],
    check_survivors_are_scaled: [NoScaleForward, ScalesByKeep, KeepsWithProbabilityP],
    check_evaluation_is_the_identity: [IgnoresEvaluation, ScalesInEvaluation],
    check_the_mask_shows_what_is_kept: [
        ShowsWhatIsDropped,
        ShowsTheScaledMask,
        ShowsTheFirstMask,
    ],
    check_the_mask_is_read_only: [ShowsAWritableMask],
    check_the_same_units_are_zeroed_forward_and_backward: [
        RedrawsInBackward,
        NoScaleInBackward,
        NoScaleForward,
        ScalesByKeep,
        RebuildsFromRatio,
        RebuildsFromOutput,
        ZeroesForwardOnly,
        ShowsWhatIsDropped,
    ],
    check_the_mask_belongs_to_the_call: [
        UsesTheLatestMask,
        RedrawsInBackward,
        DrawsTheSameMaskAgain,
        NoScaleInBackward,
    ],
    check_dropped_is_exactly_zero: [
        MultipliesForward,
        MultipliesBackward,
        LeavesMinusZero,
        ZeroesForwardOnly,
        ChangesDtype,
    ],
    check_dropped_is_zero_where_the_scale_overflows: [ScaleBeforeNarrowMask],
    check_p_of_0_and_1: [AlwaysScales],
    check_one_seed_gives_one_sequence_of_masks: [IgnoresTheSeed, DrawsTheSameMaskAgain],
    check_the_dtype_is_kept: [ChangesDtype],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("check", DROPOUT, ids=lambda check: check.__name__)
def test_dropout(check):
    check(nn.Dropout)


# What the wrong versions divide by zero and so on is no matter.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        pytest.param(check, wrong, id=f"{check.__name__}-{i}")
        for check, wrong_versions in DROPOUT.items()
        for i, wrong in enumerate(wrong_versions)
    ],
)
def test_the_checks_of_dropout_reject(check, wrong):
    with pytest.raises((AssertionError, FloatingPointError, pytest.fail.Exception)):
        check(wrong)


def test_only_what_is_planted_is_wrong():
    for check in DROPOUT:
        if check is not check_one_seed_gives_one_sequence_of_masks:  # it always draws from one seed
            check(wrong_dropout(right_forward, right_vjp))
    for check in RELU:
        check(wrong_relu(masked, masked_vjp))


# --------------------------------------------------------------- masks on any array whatever


@st.composite
def arrays_with_masks(draw):
    """Draw a float array of any layout, and a mask and a cotangent of its shape."""
    dtype = np.dtype(draw(st.sampled_from([*"efdg", ">f4", ">f8"])))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    values = st.sampled_from([*SPECIAL, 0.1, -2.5, float(np.finfo(np.float16).max)])
    x, g = (draw(hnp.arrays(np.float64, shape, elements=values)).astype(dtype) for _ in "xg")
    mask = draw(hnp.arrays(bool, shape))
    if shape:
        step = draw(st.sampled_from([1, -1, 2]))
        x, g, mask = x[::step], g[::step], mask[::step]
    return x.T, g.T, mask.T


def test_a_kept_zero_is_zero_also_where_the_scale_overflows():
    zeros = np.zeros(3, np.float16)
    assert apply_mask(zeros, np.ones(3, bool), 1e6).tolist() == [0, 0, 0]


@given(arrays_with_masks(), st.sampled_from([1.0, 2.0, 1.25]))
def test_a_mask_zeroes_exactly_and_changes_nothing_else(given_arrays, scale):
    x, g, mask = given_arrays
    before = x.tobytes(), g.tobytes(), mask.tobytes()
    leaf = Tensor(x, requires_grad=True)
    with np.errstate(over="ignore"):  # 1.25 times the largest float16
        out = apply_mask(leaf, mask, scale)
        out.backward(g)
        for result, array in (out.data, x), (leaf.grad, g):
            assert result.shape == x.shape
            assert result.dtype.newbyteorder("=") == x.dtype.newbyteorder("=")
            result = np.asarray(result)
            assert zeros_exactly(result[~mask])
            np.testing.assert_array_equal(result[mask], (array * scale)[mask])
            np.testing.assert_array_equal(np.signbit(result[mask]), np.signbit(array[mask]))
    assert (x.tobytes(), g.tobytes(), mask.tobytes()) == before


def test_a_mask_may_broadcast_either_way():
    for x_shape, mask_shape in ((3, 4), (4,)), ((3, 1), (3, 4)), ((4,), (3, 4)):
        x = Tensor(np.ones(x_shape), requires_grad=True)
        mask = np.arange(np.prod(mask_shape)).reshape(mask_shape) % 3 == 0
        out = apply_mask(x, mask, 2.0)
        np.testing.assert_array_equal(out.data, np.where(mask, 2.0, 0) * np.ones((3, 4)))
        out.sum().backward()
        counts = np.broadcast_to(2.0 * mask, (3, 4))
        if x_shape == (3, 1):
            counts = counts.sum(axis=1, keepdims=True)
        elif x_shape == (4,):
            counts = counts.sum(axis=0)
        np.testing.assert_array_equal(x.grad, counts)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32])
def test_a_mask_that_is_not_boolean_is_refused(dtype):
    with pytest.raises(TypeError, match="boolean"):
        apply_mask(np.ones(8), np.ones(8, dtype))


@given(
    st.sampled_from(FLOATS),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_dropout_takes_any_shape_dtype_and_p(dtype, shape, p, seed):
    x = Tensor(np.full(shape, INF, dtype), requires_grad=True)
    modules = nn.Dropout(p, rng=np.random.default_rng(seed))
    with np.errstate(over="ignore"):
        out = modules(x)
        out.backward(np.full(shape, NAN))
        function = F.dropout(x, p, rng=np.random.default_rng(seed))
    assert modules.mask.shape == out.shape == shape
    np.testing.assert_array_equal(out.data, np.where(modules.mask, INF, 0))
    np.testing.assert_array_equal(x.grad, np.where(modules.mask, NAN, 0))
    np.testing.assert_array_equal(function.data, out.data)


def test_the_second_derivative_goes_through_the_same_mask():
    module = nn.Dropout(0.5, rng=np.random.default_rng(0))
    x = Tensor(np.linspace(1, 2, 16), requires_grad=True)
    loss = np.sum(module(x) ** 3)
    (first,) = backpropagate(loss, Tensor(1.0), {x}, create_graph=True).values()
    np.sum(first).backward()
    np.testing.assert_allclose(x.grad, np.where(module.mask, 6 * 8 * x.data, 0))


# ---------------------------------------------------------------------------- misuse, threads


@pytest.mark.parametrize(
    "p", [-0.1, 1.1, NAN, INF, -INF, 10**400, "0.5", None, True, 0.5j, [0.5], np.array(0.5)]
)
def test_what_is_no_probability_is_refused(p):
    module = nn.Dropout(0.25)

    def assign():
        module.p = p

    for use in (lambda: nn.Dropout(p)), (lambda: F.dropout(np.ones(2), p)), assign:
        with pytest.raises((TypeError, ValueError), match=r"p = 1 - keep_prob"):
            use()
    with pytest.raises((TypeError, ValueError), match=r"p = 1 - keep_prob"):
        F.dropout(np.ones(2), p, training=False)
    assert module.p == 0.25


@pytest.mark.parametrize("rng", [0, "0", np.random, np.random.RandomState(0)])
def test_what_is_no_generator_is_refused_at_once(rng):
    for use in (lambda: nn.Dropout(rng=rng)), (lambda: F.dropout(np.ones(2), rng=rng)):
        with pytest.raises(TypeError, match=r"np\.random\.default_rng\(seed\)"):
            use()


def test_the_function_in_evaluation_is_the_identity():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    x = Tensor(np.array(SPECIAL))
    assert F.dropout(x, 0.5, training=False, rng=rng) is x
    assert F.dropout(x, 0.5, False, rng) is x
    assert rng.bit_generator.state == before


def test_p_may_change_later():
    module = nn.Dropout(0.5, rng=np.random.default_rng(0))
    module.p = 0.75
    assert repr(module) == "Dropout(p=0.75)"
    assert set(module(np.ones(100)).data) == {0.0, 4.0}


def test_threads_may_draw_from_the_librarys_generator_at_once():
    failures = []
    start = threading.Barrier(8)

    def work():
        module = nn.Dropout(0.3)
        start.wait()
        for _ in range(50):
            x = Tensor(np.ones(1000), requires_grad=True)
            out = module(x)
            out.sum().backward()
            if not np.array_equal(x.grad, np.where(module.mask, 1 / (1 - 0.3), 0)):
                failures.append("another thread's mask")
        kept.append(module.mask)

    kept = []
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(kept) == 8, "no thread died"
    assert len({mask.tobytes() for mask in kept}) == 8, "each drew its own"


# ------------------------------------------------------------------------------ ReLU's promises


def wrong_relu(forward, vjp, mask_of=positive_mask):
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
WritableReLUMask = wrong_relu(masked, masked_vjp, lambda x: positive_mask(x).copy())


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


def test_relu_of_complex_numbers_is_refused():
    for f in positive_mask, F.relu, nn.ReLU():
        with pytest.raises(TypeError, match="complex"):
            f(np.ones(2, complex))
