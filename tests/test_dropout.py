"""Dropout's promises, each with wrong versions that its check rejects.

A check is a function of a module's class; it passes for ours and must fail for the wrong ones
planted beside it. Statistical checks have fixed seeds; where a bound is stated as five standard
deviations, a right generator would break it with probability 6e-7.
"""

import threading

import numpy as np
import pytest
from dropout_kinds import ScalesInEvaluation
from helpers import FLOATS, INF, NAN, SPECIAL, zeros_exactly

from microgrand import Tensor, defvjp, manual_seed, nn, primitive
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask
from microgrand.nn.inputs import as_tensor

# ---------------------------------------------------------------------- wrong versions of Dropout


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


# ------------------------------------------------------------------------ the promises of Dropout


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


def test_only_what_is_planted_in_dropout_is_wrong():
    for check in DROPOUT:
        if check is not check_one_seed_gives_one_sequence_of_masks:  # it always draws from one seed
            check(wrong_dropout(right_forward, right_vjp))


# -------------------------------------------------------------------------------- misuse, threads


@pytest.mark.parametrize(
    "p", [-0.1, 1.1, NAN, INF, -INF, 10**400, "0.5", None, True, 0.5j, [0.5], np.array(0.5)]
)
def test_only_probabilities_are_accepted(p):
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
def test_only_generators_are_accepted(rng):
    module = nn.Dropout()

    def assign():
        module.rng = rng

    for use in (lambda: nn.Dropout(rng=rng)), (lambda: F.dropout(np.ones(2), rng=rng)), assign:
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
