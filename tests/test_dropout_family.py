"""The relatives of Dropout, each with wrong versions that its checks reject.

A check is a function of a `Kind`: a class, with an input for it. It passes for ours and must fail
for the wrong ones planted beside it. Statistical checks have fixed seeds; a bound of five standard
deviations, as all of them state, would be broken by a right generator with probability 6e-7.
"""

from dataclasses import replace

import numpy as np
import pytest
from dropout_kinds import (
    ALL,
    ALPHA,
    ALPHAS,
    BRANCHES,
    BY_MASK,
    CLASSIC,
    IMAGES,
    NOISE,
    NOISES,
    SEQUENCE,
    SEQUENCES,
    TIME,
    UNITS,
    VOLUME,
    VOLUMES,
    WEIGHTS,
    WORDS,
    ScalesInEvaluation,
    input_of,
    is_classic,
)
from helpers import FLOATS, REJECTED
from hypothesis import given
from hypothesis import strategies as st
from planting import with_mistake

from microgrand import Tensor, defvjp, nn, primitive
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask, read_only
from microgrand.nn.inputs import as_tensor
from microgrand.testing import gradcheck
from microgrand.testing.strategies import arrays


def factors(kind, module, x=None):
    """Return by what a call multiplied each thing that is dropped or kept as a whole."""
    x = input_of(kind) if x is None else x
    ratio = kind.run(module, x).data / x
    first = ratio[tuple(slice(0, 1) if n == 1 else slice(None) for n in kind.mask_shape)]
    np.testing.assert_allclose(ratio, np.broadcast_to(first, x.shape), rtol=1e-12, atol=0)
    return first


# ------------------------------------------------------------------------------------- the checks


def check_gradients_with_the_mask_held_still(kind):
    rng = np.random.default_rng(3)
    kind = replace(kind, shape=kind.small, mask_shape=kind.small_mask)
    x = rng.uniform(0.5, 2, kind.shape)
    for p in (0.0, 0.4):
        module = kind.make(p)
        for mode in (True, False):
            module.train(mode)
            held = nn.DropoutMasks().hold(lambda x, module=module: kind.run(module, x))
            assert gradcheck(held, x, order=2)


def check_whole_groups_are_dropped_with_probability_p(kind):
    for p in (0.1, 0.75):
        f = factors(kind, kind.make(p))
        assert f.shape == kind.mask_shape
        assert abs(np.mean(f == 0) - p) < 5 * np.sqrt(p * (1 - p) / f.size)


def check_mean_and_variance(kind):
    """The factors have mean 1 and variance p / (1 - p); if classic, 1 - p and p (1 - p)."""
    for p in (0.2, 0.6):
        f = factors(kind, kind.make(p))
        mean, variance = (1 - p, p * (1 - p)) if is_classic(kind) else (1, p / (1 - p))
        assert abs(f.mean() - mean) < 5 * np.sqrt(variance / f.size)
        if issubclass(kind.cls, nn.GaussianDropout):
            fourth = 3 * variance**2
        else:
            unit = variance / (p * (1 - p))  # the square of the factor of what is kept
            fourth = unit**2 * (p * (1 - p) ** 4 + (1 - p) * p**4)
        spread = np.sqrt(fourth - variance**2) + 1e-12  # of a squared deviation
        bound = 5 * spread / np.sqrt(f.size) + 25 * variance / f.size  # as the mean is estimated
        assert abs(f.var() - variance) < bound


def check_independence(kind):
    """Between neighbours, between rows, and between calls."""
    module = kind.make(0.3)
    calls = []
    for _ in range(3):
        f = factors(kind, module)
        calls.append(((f - f.mean()) / f.std()).ravel())  # mean 0, variance 1
    n = calls[0].size
    for a in calls:
        for lag in [*range(1, 9), 100, 200]:
            assert abs(np.mean(a[:-lag] * a[lag:])) < 5 / np.sqrt(n - lag)
    for i in range(3):
        for j in range(i):
            assert abs(np.mean(calls[i] * calls[j])) < 5 / np.sqrt(n)


def check_evaluation(kind):
    module = kind.make(0.25).eval()
    before = module.rng.bit_generator.state
    x = input_of(kind)
    np.testing.assert_array_equal(kind.run(module, x).data, x * 0.75 if is_classic(kind) else x)
    assert module.rng.bit_generator.state == before, "evaluation draws nothing"


def check_training_expects_what_evaluation_gives(kind):
    module = kind.make(0.4)
    x = np.ones(kind.shape)
    trained = kind.run(module, x).mean()
    evaluated = kind.run(module.eval(), x).mean()
    n = np.prod(kind.mask_shape)
    spread = np.sqrt(0.4 / 0.6) * evaluated
    assert abs(trained.item() - evaluated.item()) < 5 * spread.item() / np.sqrt(n)


def check_the_mask_shows_what_is_kept(kind):
    module = kind.make(0.5)
    assert module.mask is None
    for _ in range(2):
        f = factors(kind, module)
        assert module.mask.dtype == bool
        assert module.mask.nbytes == f.size, "one byte an element"
        np.testing.assert_array_equal(module.mask, f != 0)
        with pytest.raises(ValueError, match="read-only"):
            module.mask[...] = True


def check_the_same_is_zeroed_on_the_way_back(kind):
    module = kind.make(0.5)
    x = Tensor(np.zeros(kind.shape), requires_grad=True)  # neither output nor ratio shows the mask
    first, mask = kind.run(module, x), module.mask
    second = kind.run(module, x)
    scale = 1 if is_classic(kind) else 2
    np.sum(first + 10 * second).backward()
    assert not np.array_equal(mask, module.mask)
    expected = scale * (np.where(mask, 1, 0) + np.where(module.mask, 10, 0))
    np.testing.assert_array_equal(x.grad, np.broadcast_to(expected, kind.shape))


def check_special_values(kind):
    """What is dropped is exactly zero, both ways, in every dtype; what is kept stays inf or nan."""
    kind = replace(kind, shape=kind.small, mask_shape=kind.small_mask)
    for dtype in FLOATS:
        for value, g in (np.inf, np.nan), (np.nan, -np.inf), (-np.inf, 1.0):
            for p in (0.5, 1):
                module = kind.make(p, seed=1)
                x = Tensor(np.full(kind.shape, value, dtype), requires_grad=True)
                out = kind.run(module, x)
                out.backward(np.full(kind.shape, g, dtype))
                dropped = np.broadcast_to(~module.mask, kind.shape)
                assert dropped.any()
                for array, given_value in (out.data, value), (x.grad, g):
                    assert array.dtype == dtype
                    assert not array[dropped].any()
                    assert not np.signbit(array[dropped]).any()
                    if not np.isfinite(given_value):
                        np.testing.assert_array_equal(array[~dropped], given_value)
        for value in (1.0, np.inf):
            out = kind.run(kind.make(1).eval(), np.full(kind.shape, value, dtype))
            assert out.dtype == dtype
            np.testing.assert_array_equal(out.data, 0 if is_classic(kind) else value)


def check_empty_inputs(kind):
    for axis in range(len(kind.small)):
        shape = (*kind.small[:axis], 0, *kind.small[axis + 1 :])
        module = kind.make(0.5)
        x = Tensor(np.ones(shape, np.float32), requires_grad=True)
        out = kind.run(module, x)
        out.sum().backward()
        assert out.shape == x.grad.shape == shape
        assert out.dtype == x.grad.dtype == np.float32


def check_dtypes(kind):
    for dtype in FLOATS:
        for mode in (True, False):
            x = Tensor(np.ones(kind.small, dtype), requires_grad=True)
            out = kind.run(kind.make(np.float64(0.5)).train(mode), x)
            out.sum().backward()
            assert out.dtype == x.grad.dtype == dtype
    with pytest.raises(TypeError, match="astype"):
        kind.run(kind.make(0.5), np.ones(kind.small, int))


def check_mean_0_and_variance_1_are_kept(kind):
    for p in (0.05, 0.3):
        rng = np.random.default_rng(1)
        # A standard normal number for each element of the mask, so that they are independent.
        x = np.broadcast_to(rng.standard_normal(kind.mask_shape), kind.shape)
        out = kind.run(kind.make(p), x).data
        out = out[tuple(slice(0, 1) if n == 1 else slice(None) for n in kind.mask_shape)]
        assert abs(out.mean()) < 5 / np.sqrt(out.size)
        spread = np.std((out - out.mean()) ** 2)
        assert abs(out.var() - 1) < 5 * spread / np.sqrt(out.size)


def check_alpha_formula(kind):
    """Against PyTorch's way to write it, with alpha = 1.7580993408473766."""
    for p in (0.1, 0.5, 0.9):
        module = kind.make(p)
        x = np.random.default_rng(1).standard_normal(kind.shape)
        x.flat[:7] = [np.inf, -np.inf, np.nan, 0, -0.0, 1e300, -1e300]
        leaf = Tensor(x, requires_grad=True)
        out = kind.run(module, leaf)
        g = np.random.default_rng(2).standard_normal(kind.shape)
        out.backward(g)
        alpha, keep = 1.7580993408473766, np.broadcast_to(module.mask, kind.shape)
        a = 1 / np.sqrt((alpha**2 * p + 1) * (1 - p))
        np.testing.assert_allclose(out.data[keep], (a * x + alpha * a * p)[keep], 1e-12, 1e-14)
        np.testing.assert_allclose(out.data[~keep], -alpha * a + alpha * a * p, rtol=1e-12)
        np.testing.assert_allclose(leaf.grad, np.where(keep, a * g, 0), rtol=1e-12)
        assert 0.5 * (1 - p) < keep.mean() < 1 - 0.5 * p
    out = kind.run(kind.make(1), x)
    np.testing.assert_array_equal(out.data, np.zeros(kind.shape))
    np.testing.assert_array_equal(kind.run(kind.make(0), x[1:] * 0 + 3).data, 3)


def check_the_noise_is_shown(kind):
    module = kind.make(0.5)
    assert module.noise is None
    for dtype in FLOATS:
        x = input_of(kind).astype(dtype)
        out = kind.run(module, x)
        assert module.noise.dtype == dtype
        assert module.noise.shape == kind.mask_shape
        np.testing.assert_array_equal(out.data, x * module.noise)
        with pytest.raises(ValueError, match="read-only"):
            module.noise[...] = 1


# --------------------------------------------------------------------------------- wrong versions


def wrong_mask(cls, shape_of, wrong_draw=None):
    """Make a version of `cls` whose mask has another shape, or is drawn in another way."""

    class Wrong(cls):
        def mask_shape(self, shape):
            super().mask_shape(shape)
            return shape_of(shape)

        def draw(self, shape, rng):
            return wrong_draw(shape, 1 - self.p, rng) if wrong_draw else super().draw(shape, rng)

    return Wrong


def elementwise(cls):
    return wrong_mask(cls, lambda shape: shape)


def for_the_whole_batch(cls):
    return wrong_mask(cls, lambda shape: (1,) * len(shape))


def drawn(cls, draw):
    class Wrong(cls):
        def draw(self, shape, rng):
            return read_only(draw(self, shape, rng))

    return Wrong


def pairs(self, shape, rng):
    """Each two neighbours share their fate."""
    mask = bernoulli_mask(((np.prod(shape, dtype=int) + 1) // 2,), 1 - self.p, rng)
    return np.repeat(mask, 2)[: np.prod(shape, dtype=int)].reshape(shape)


def the_same_again(self, shape, rng):
    return bernoulli_mask(shape, 1 - self.p, np.random.default_rng(0))


def keeps_with_probability_p(self, shape, rng):
    return bernoulli_mask(shape, self.p, rng)


def with_operation(cls, forward, vjp):
    """Make a version of `cls` that applies its mask with another forward, or another VJP."""
    operation = primitive(lambda x, mask, p: forward(x, mask, p))
    defvjp(operation, vjp)

    class Wrong(cls):
        def drop(self, x, mask):
            return operation(x, mask, self.p)

    return Wrong


def scaled(x, mask, p):
    return apply_mask(x, mask, 1 / (1 - p) if p < 1 else 1.0)


def no_scale_in_backward(cls):
    return with_operation(cls, scaled, lambda g, out, x, mask, p: apply_mask(g, mask))


def redrawn_in_backward(cls):
    return with_operation(
        cls,
        scaled,
        lambda g, out, x, mask, p: scaled(
            g, bernoulli_mask(mask.shape, 1 - p, np.random.default_rng(1)), p
        ),
    )


def not_masked_in_backward(cls):
    return with_operation(cls, scaled, lambda g, out, x, mask, p: g / (1 - p))


def never_scaled(cls):
    return with_operation(cls, apply_mask_only, lambda g, out, x, mask, p: apply_mask(g, mask))


def apply_mask_only(x, mask, p):
    return apply_mask(x, mask)


def multiplied(cls):
    return with_operation(
        cls,
        lambda x, mask, p: x * (mask / (1 - p) if p < 1 else mask * 1.0).astype(x.dtype) + 0.0,
        lambda g, out, x, mask, p: scaled(g, mask, p),
    )


def float64_results(cls):
    return with_operation(
        cls,
        lambda x, mask, p: scaled(x, mask, p).astype(float),
        lambda g, out, x, mask, p: scaled(g, mask, p),
    )


def shown(cls, show):
    """Make a version of `cls` whose `mask` is not the one that was applied."""

    class Wrong(cls):
        def drop(self, x, mask):
            self.mask = show(mask)
            return super().drop(x, mask)

    return Wrong


def shows_what_is_dropped(cls):
    return shown(cls, lambda mask: read_only(~mask))


def shows_a_copy(cls):
    return shown(cls, lambda mask: mask.copy())


def shows_all_units(cls):
    return shown(cls, lambda mask: read_only(np.repeat(mask, 2, axis=-1)))


def always_training(cls):
    class Wrong(cls):
        def train(self, mode=True):
            return self

    return Wrong


class ClassicForgetsEvaluation(nn.Dropout):
    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x)


class ClassicScalesInTraining(nn.Dropout):
    def forward(self, x):
        out = super().forward(x)
        return out / (1 - self.p) if self.training else out


def noise_of(deviation):
    return drawn(
        nn.GaussianDropout,
        lambda self, shape, rng: 1 + deviation(self.p) * rng.standard_normal(shape),
    )


class DropsToZero(nn.AlphaDropout):
    """Forgets that zero is nothing special to a SELU."""

    def drop(self, x, mask):
        return scaled(x, mask, self.p)


def alpha(right, wrong):
    """Make an AlphaDropout with a mistake in its formula."""
    return type(
        "Wrong", (nn.AlphaDropout,), {"drop": with_mistake(nn.AlphaDropout.drop, right, wrong)}
    )


def wrongs(kind, *versions):
    return [replace(kind, cls=version(kind.cls)) for version in versions]


def instead(kind, *classes):
    return [replace(kind, cls=cls) for cls in classes]


CHECKS = {
    check_gradients_with_the_mask_held_still: (
        ALL,
        [
            wrong
            for kind in (UNITS, TIME, SEQUENCES, IMAGES, VOLUME, BRANCHES, WORDS, WEIGHTS)
            for wrong in wrongs(
                kind, no_scale_in_backward, redrawn_in_backward, not_masked_in_backward
            )
        ],
    ),
    check_whole_groups_are_dropped_with_probability_p: (
        [*BY_MASK, WEIGHTS],
        [
            *(
                wrong
                for kind in (TIME, SEQUENCES, SEQUENCE, IMAGES, VOLUMES, BRANCHES, WORDS)
                for wrong in wrongs(kind, elementwise, for_the_whole_batch)
            ),
            *instead(UNITS, drawn(nn.Dropout, keeps_with_probability_p)),
            *instead(WEIGHTS, drawn(nn.DropConnect, keeps_with_probability_p)),
            *instead(WORDS, wrong_mask(nn.WordDropout, lambda shape: (1, shape[1]))),
            *instead(IMAGES, wrong_mask(nn.Dropout2d, lambda s: (*s[:1], 1, *s[2:]))),
            *instead(SEQUENCES, wrong_mask(nn.Dropout1d, lambda s: (1, s[1], 1))),
            *instead(BRANCHES, wrong_mask(nn.DropPath, lambda s: (s[0], s[1], 1))),
        ],
    ),
    check_mean_and_variance: (
        [*BY_MASK, WEIGHTS, *NOISES],
        [
            *wrongs(UNITS, never_scaled),
            *wrongs(WEIGHTS, never_scaled),
            *wrongs(WORDS, never_scaled),
            *instead(CLASSIC, ClassicScalesInTraining),
            *instead(
                NOISE,
                noise_of(lambda p: p / (1 - p)),
                noise_of(lambda p: p**0.5),
                noise_of(lambda p: ((1 - p) / p) ** 0.5),
            ),
        ],
    ),
    check_independence: (
        [*BY_MASK, WEIGHTS, *NOISES],
        [
            *(
                replace(kind, cls=drawn(kind.cls, draw))
                for kind in (UNITS, SEQUENCES, IMAGES, BRANCHES, WORDS, WEIGHTS)
                for draw in (pairs, the_same_again)
            ),
            *instead(WEIGHTS, wrong_mask(nn.DropConnect, lambda shape: (shape[0], 1))),
            *instead(
                NOISE,
                drawn(
                    nn.GaussianDropout,
                    lambda self, shape, rng: np.random.default_rng(0).normal(1, 1, shape),
                ),
            ),
        ],
    ),
    check_evaluation: (
        ALL,
        [
            *(replace(kind, cls=always_training(kind.cls)) for kind in ALL),
            *instead(UNITS, ScalesInEvaluation),
            *instead(CLASSIC, ClassicForgetsEvaluation),
        ],
    ),
    check_training_expects_what_evaluation_gives: (
        [*BY_MASK, WEIGHTS, *NOISES],
        [
            *instead(CLASSIC, ClassicForgetsEvaluation, ClassicScalesInTraining),
            *instead(UNITS, ScalesInEvaluation),
            *wrongs(UNITS, never_scaled),
        ],
    ),
    check_the_mask_shows_what_is_kept: (
        [*BY_MASK, WEIGHTS],
        [
            wrong
            for kind in (UNITS, IMAGES, BRANCHES, WORDS, WEIGHTS)
            for wrong in wrongs(kind, shows_what_is_dropped, shows_a_copy, shows_all_units)
        ],
    ),
    check_the_same_is_zeroed_on_the_way_back: (
        [*BY_MASK, WEIGHTS],
        [
            wrong
            for kind in (UNITS, IMAGES, BRANCHES, WORDS, WEIGHTS)
            for wrong in wrongs(
                kind, no_scale_in_backward, redrawn_in_backward, not_masked_in_backward
            )
        ],
    ),
    check_special_values: (
        BY_MASK,
        [
            wrong
            for kind in (UNITS, IMAGES, BRANCHES, WORDS)
            for wrong in wrongs(kind, multiplied, float64_results)
        ]
        + instead(CLASSIC, ScalesInEvaluation),  # which multiplies by zero for p = 1
    ),
    check_empty_inputs: ([*BY_MASK, *NOISES, *ALPHAS], wrongs(UNITS, float64_results)),
    check_dtypes: ([*BY_MASK, *NOISES, *ALPHAS], wrongs(UNITS, float64_results)),
    check_mean_0_and_variance_1_are_kept: (
        ALPHAS,
        instead(
            ALPHA,
            DropsToZero,
            alpha("** -0.5", "** -1.0"),
            alpha("b = -a * p * SELU_LIMIT", "b = a * p * SELU_LIMIT"),
            alpha("1 - self.p", "self.p"),
        ),
    ),
    check_alpha_formula: (
        ALPHAS,
        instead(ALPHA, DropsToZero, alpha("np.where(mask, b, a * SELU_LIMIT + b)", "(b + 0 * x)")),
    ),
    check_the_noise_is_shown: (
        NOISES,
        instead(
            NOISE,
            drawn(nn.GaussianDropout, lambda self, shape, rng: rng.normal(1, 1, (1, *shape))),
        ),
    ),
}


def name(kind):
    options = "".join(f"-{value}" for value in kind.options.values())
    return f"{kind.cls.__name__}{len(kind.shape)}{options}"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("check", "kind"),
    [
        pytest.param(check, kind, id=f"{check.__name__}-{name(kind)}")
        for check, (kinds, _) in CHECKS.items()
        for kind in kinds
    ],
)
def test_the_family(check, kind):
    with np.errstate(invalid="ignore"):
        check(kind)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        pytest.param(check, wrong, id=f"{check.__name__}-{i}")
        for check, (_, wrong_kinds) in CHECKS.items()
        for i, wrong in enumerate(wrong_kinds)
    ],
)
def test_the_checks_reject(check, wrong):
    with pytest.raises(REJECTED):
        check(wrong)


@given(st.sampled_from(ALL), st.data(), st.floats(0, 0.95), st.integers(0, 99))
def test_gradients_of_the_family(kind, data, p, seed):
    least = 1 if kind is WEIGHTS else 0
    shape = data.draw(st.tuples(*[st.integers(least, 3)] * len(kind.shape)))
    x = data.draw(arrays(shape))
    module = replace(kind, shape=shape).make(p, seed)
    assert gradcheck(nn.DropoutMasks().hold(lambda x: kind.run(module, x)), x, order=2)


@pytest.mark.parametrize("cls", [nn.Dropout, nn.Dropout2d, nn.GaussianDropout, nn.AlphaDropout])
def test_only_p_may_be_given_by_position(cls):
    assert cls(p=0.25).p == cls(0.25).p == 0.25
    with pytest.raises(TypeError, match="positional"):
        cls(0.25, ())
