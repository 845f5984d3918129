"""The relatives of Dropout, each with wrong versions that its checks reject; masks held still.

A check is a function of a `Kind`: a class, with an input for it. It passes for ours and must fail
for the wrong ones planted beside it. Statistical checks have fixed seeds; a bound of five standard
deviations, as all of them state, would be broken by a right generator with probability 6e-7.
"""

import asyncio
import contextvars
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from helpers import FLOATS
from hypothesis import given
from hypothesis import strategies as st
from planting import with_mistake

from microgrand import Tensor, defvjp, manual_seed, nn, primitive
from microgrand.nn import checks
from microgrand.nn import functional as F
from microgrand.nn.dropout.masks import apply_mask, bernoulli_mask, read_only
from microgrand.nn.dropout.replay import Replay, source
from microgrand.nn.inputs import as_tensor
from microgrand.testing import GradcheckError, gradcheck
from microgrand.testing.strategies import arrays

REJECTED = (AssertionError, FloatingPointError, ValueError, pytest.fail.Exception)


@dataclass(frozen=True)
class Kind:
    """A kind of dropout: its class, the shape of an input, and that of the mask for it.

    `small` and `small_mask` are shapes of the same kind for gradient checks.
    """

    cls: Any
    shape: tuple
    mask_shape: tuple
    small: tuple
    small_mask: tuple
    options: Mapping[str, Any] = field(default_factory=dict)

    def make(self, p, seed=0, **options):
        return self.cls(p, rng=np.random.default_rng(seed), **self.options, **options)

    def run(self, module, x):
        """Apply the module to what it drops parts of."""
        return module(x)


class DropConnectKind(Kind):
    """Drops weights: what comes out of an identity matrix is the weight that took part."""

    def make(self, p, seed=0):
        rng = np.random.default_rng(seed)
        out_features, in_features = self.shape
        return self.cls(in_features, out_features, p, bias=False, dtype=np.float64, rng=rng)

    def run(self, module, x):
        own = module.weight
        vars(module)["weight"] = as_tensor(x)  # past the check that this is a Parameter
        try:
            return module(np.eye(x.shape[1])).T
        finally:
            vars(module)["weight"] = own


UNITS = Kind(nn.Dropout, (200, 100), (200, 100), (2, 3), (2, 3))
CLASSIC = replace(UNITS, options={"scaling": "classic"})
TIME = Kind(nn.Dropout, (200, 3, 100), (200, 1, 100), (2, 2, 3), (2, 1, 3), {"shared_axes": 1})
LAST_TWO = Kind(
    nn.Dropout, (20_000, 2, 2), (20_000, 1, 1), (3, 2, 2), (3, 1, 1), {"shared_axes": (-1, -2)}
)
SEQUENCES = Kind(nn.Dropout1d, (200, 100, 3), (200, 100, 1), (2, 3, 2), (2, 3, 1))
SEQUENCE = Kind(nn.Dropout1d, (20_000, 3), (20_000, 1), (3, 2), (3, 1))
IMAGES = Kind(nn.Dropout2d, (200, 100, 2, 2), (200, 100, 1, 1), (2, 2, 1, 2), (2, 2, 1, 1))
VOLUMES = Kind(
    nn.Dropout3d, (200, 100, 1, 2, 2), (200, 100, 1, 1, 1), (2, 2, 2, 1, 2), (2, 2, 1, 1, 1)
)
VOLUME = Kind(nn.Dropout3d, (20_000, 2, 1, 2), (20_000, 1, 1, 1), (3, 2, 1, 2), (3, 1, 1, 1))
BRANCHES = Kind(nn.DropPath, (20_000, 2, 2), (20_000, 1, 1), (4, 2, 1), (4, 1, 1))
WORDS = Kind(nn.WordDropout, (20_000, 3), (20_000, 1), (4, 2), (4, 1))
WEIGHTS = DropConnectKind(nn.DropConnect, (100, 200), (100, 200), (2, 3), (2, 3))
NOISE = Kind(nn.GaussianDropout, (200, 100), (200, 100), (2, 3), (2, 3))
ALPHA = Kind(nn.AlphaDropout, (200, 100), (200, 100), (2, 3), (2, 3))
ALPHA_CHANNELS = Kind(nn.FeatureAlphaDropout, (200, 100, 3), (200, 100, 1), (2, 3, 2), (2, 3, 1))

BY_MASK = [
    UNITS, CLASSIC, TIME, LAST_TWO, SEQUENCES, SEQUENCE, IMAGES, VOLUMES, VOLUME, BRANCHES,
    WORDS, replace(BRANCHES, options={"scaling": "classic"}),
]  # fmt: skip
ALPHAS = [ALPHA, ALPHA_CHANNELS, replace(TIME, cls=nn.AlphaDropout)]
NOISES = [NOISE, replace(TIME, cls=nn.GaussianDropout)]
ALL = [*BY_MASK, WEIGHTS, *NOISES, *ALPHAS]


def is_classic(kind):
    return kind.options.get("scaling") == "classic"


def input_of(kind, seed=9):
    return np.random.default_rng(seed).uniform(1, 2, kind.shape)


def factors(kind, module, x=None):
    """Return by what a call multiplied each thing that is dropped or kept as a whole."""
    x = input_of(kind) if x is None else x
    ratio = kind.run(module, x).data / x
    first = ratio[tuple(slice(0, 1) if n == 1 else slice(None) for n in kind.mask_shape)]
    np.testing.assert_allclose(ratio, np.broadcast_to(first, x.shape), rtol=1e-12, atol=0)
    return first


# ------------------------------------------------------------------------------- the checks


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


# --------------------------------------------------------------------------- wrong versions


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


class ScalesInBothModes(nn.Dropout):
    """Inverted in training, and classic in evaluation."""

    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x) * (1 - self.p)


class ClassicForgetsEvaluation(nn.Dropout):
    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x)


class ClassicScalesInTraining(nn.Dropout):
    def forward(self, x):
        out = super().forward(x)
        return out / (1 - self.p) if self.training else out


class ClassicMultipliesByZero(nn.Dropout):
    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x) * (1 - self.p)


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
            *instead(UNITS, ScalesInBothModes),
            *instead(CLASSIC, ClassicForgetsEvaluation),
        ],
    ),
    check_training_expects_what_evaluation_gives: (
        [*BY_MASK, WEIGHTS, *NOISES],
        [
            *instead(CLASSIC, ClassicForgetsEvaluation, ClassicScalesInTraining),
            *instead(UNITS, ScalesInBothModes),
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
        + instead(CLASSIC, ClassicMultipliesByZero),
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


def test_gradients_of_the_input_and_bias_of_dropconnect():
    layer = nn.DropConnect(3, 2, p=0.5, dtype=np.float64, rng=np.random.default_rng(0))
    x = Tensor(np.arange(12.0).reshape(4, 3) / 7, requires_grad=True)
    out = layer(x)
    g = np.linspace(-1, 1, 8).reshape(4, 2)
    out.backward(g)
    assert 0 < layer.mask.sum() < 6
    weight = np.where(layer.mask, 2 * layer.weight.data, 0)
    np.testing.assert_allclose(out.data, x.data @ weight.T + layer.bias.data)
    np.testing.assert_allclose(x.grad, g @ weight)
    np.testing.assert_allclose(layer.bias.grad, g.sum(axis=0))
    np.testing.assert_allclose(layer.weight.grad, np.where(layer.mask, 2 * g.T @ x.data, 0))
    assert gradcheck(nn.DropoutMasks().hold(layer), x.data, order=2)


def test_dropconnect_drops_infinite_weights_exactly():
    layer = nn.DropConnect(2, 2, p=1, bias=False)
    layer.weight.data = np.array([[np.inf, np.nan], [-np.inf, 1]], np.float32)
    out = layer(np.ones((3, 2)))
    out.sum().backward()
    assert not out.data.any()
    assert not layer.weight.grad.any()


def test_dropconnect_is_a_linear_layer():
    layer = nn.DropConnect(3, 2, p=0.25, rng=np.random.default_rng(0))
    linear = nn.Linear(3, 2, rng=np.random.default_rng(0))
    assert repr(layer) == "DropConnect(in_features=3, out_features=2, bias=True, p=0.25)"
    linear.load_state_dict(layer.state_dict())
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(layer.eval()(x).data, linear(x).data)
    assert layer.weight.dtype == np.float32
    assert nn.DropConnect(3, 2, bias=False).bias is None


def test_both_scalings_are_the_same_up_to_the_scale():
    x = input_of(UNITS)
    inverted, classic = UNITS.make(0.25), CLASSIC.make(0.25)
    np.testing.assert_allclose(classic(x).data / 0.75, inverted(x).data)
    np.testing.assert_allclose(classic.eval()(x).data / 0.75, inverted.eval()(x).data)


def test_one_mask_over_all_time_steps():
    module = nn.Dropout(0.5, shared_axes=1, rng=np.random.default_rng(0))
    out = module(np.ones((4, 10, 8))).data
    assert (out == out[:, :1]).all()
    assert not (out == out[:1]).all()
    # The same from the end, and for several axes.
    for axes in -2, (-2,), [np.int64(1)], (1, -2):
        again = nn.Dropout(0.5, shared_axes=axes, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(again(np.ones((4, 10, 8))).data, out)


def test_the_first_axis_counted_from_the_end():
    module = nn.Dropout(0.5, shared_axes=-2)
    module(np.ones((5, 7)))
    assert module.mask.shape == (1, 7)


def test_residual_blocks_of_dropped_paths_are_the_identity():
    module = nn.DropPath(0.5, rng=np.random.default_rng(0))
    x = Tensor(np.arange(1.0, 13).reshape(6, 2), requires_grad=True)
    out = x + module(x**2)
    out.sum().backward()
    dropped = ~module.mask[:, 0]
    assert 0 < dropped.sum() < 6
    np.testing.assert_array_equal(out.data[dropped], x.data[dropped])
    np.testing.assert_array_equal(x.grad[dropped], 1)
    np.testing.assert_array_equal(out.data[~dropped], (x.data + 2 * x.data**2)[~dropped])


def test_all_occurrences_of_a_word_share_its_fate():
    embedding = Tensor(np.arange(1.0, 21).reshape(10, 2), requires_grad=True)
    module = nn.WordDropout(0.5, rng=np.random.default_rng(0))
    words = np.random.default_rng(1).integers(0, 10, (5, 7))
    rows = module(embedding)[words]
    rows.sum().backward()
    kept = module.mask[:, 0]
    np.testing.assert_array_equal((rows.data != 0).all(axis=-1), kept[words])
    np.testing.assert_array_equal((rows.data != 0).any(axis=-1), kept[words])
    counts = np.bincount(words.ravel(), minlength=10)
    np.testing.assert_array_equal(embedding.grad[:, 0], np.where(kept, 2 * counts, 0))


@pytest.mark.parametrize(
    ("make", "function", "shape"),
    [
        (nn.Dropout, F.dropout, (3, 4)),
        (nn.Dropout1d, F.dropout1d, (3, 4, 2)),
        (nn.Dropout1d, F.dropout1d, (8, 2)),
        (nn.Dropout2d, F.dropout2d, (3, 4, 2, 2)),
        (nn.Dropout3d, F.dropout3d, (3, 4, 1, 2, 2)),
        (nn.Dropout3d, F.dropout3d, (8, 1, 2, 2)),
        (nn.AlphaDropout, F.alpha_dropout, (3, 4)),
        (nn.FeatureAlphaDropout, F.feature_alpha_dropout, (3, 4, 2)),
        (nn.FeatureAlphaDropout, F.feature_alpha_dropout, (3, 4)),
    ],
)
def test_the_functions_do_what_the_modules_do(make, function, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for p in 0.5, np.float64(0.25), 0, 1:
        out = function(x, p, rng=np.random.default_rng(5))
        assert out.dtype == np.float32
        np.testing.assert_array_equal(out.data, make(p, rng=np.random.default_rng(5))(x).data)
    default = function(x, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(default.data, make(rng=np.random.default_rng(5))(x).data)
    tensor = Tensor(x)
    assert function(tensor, 0.5, training=False) is tensor
    with pytest.raises(TypeError, match="training is True or False"):
        function(x, 0.5, 1)
    for wrong in (-0.1, 1.1, None, "0.5"):
        with pytest.raises((TypeError, ValueError), match="p = 1 - keep_prob"):
            function(x, wrong, training=False)


# ---------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda: nn.Dropout(scaling="keras"), ValueError, "'inverted'.*'classic'"),
        (lambda: nn.Dropout(shared_axes=1.5), TypeError, "numbers of axes, got 1.5"),
        (lambda: nn.Dropout(shared_axes=None), TypeError, "numbers of axes, got None"),
        (lambda: setattr(nn.Dropout2d(), "scaling", "classik"), ValueError, "got 'classik'"),
        (lambda: nn.Dropout1d().eval()(np.ones(3)), ValueError, "dropout1d got"),
        (lambda: nn.Dropout2d().eval()(np.ones((1, 2, 3))), ValueError, "dropout2d got"),
        (lambda: nn.Dropout3d().eval()(np.ones((2, 3))), ValueError, "dropout3d got"),
        (lambda: nn.DropPath().eval()(np.ones(())), ValueError, "first axis is that of the batch"),
        (lambda: nn.WordDropout().eval()(np.ones(3)), ValueError, "takes the embedding matrix"),
        (lambda: nn.FeatureAlphaDropout().eval()(np.ones(3)), ValueError, "feature_alpha"),
        (lambda: nn.Dropout(shared_axes=1).eval()(np.ones(3)), ValueError, "has no axis 1"),
        (lambda: nn.AlphaDropout(shared_axes=1).eval()(np.ones(3)), ValueError, "has no axis 1"),
        (lambda: nn.DropoutMasks(5), TypeError, "takes a list of masks.*got 5"),
        (lambda: nn.DropoutMasks(np.array([True, False])), TypeError, "wrap it in a list"),
        (lambda: nn.DropoutMasks().hold(3), TypeError, "a module or a function.*got 3"),
        (lambda: nn.Dropout(shared_axes=(True,)), TypeError, "numbers of axes"),
        (lambda: nn.Dropout(shared_axes=("time",)), TypeError, "numbers of axes"),
        (lambda: nn.Dropout(shared_axes=2)(np.ones((2, 3))), ValueError, "no axis 2"),
        (lambda: nn.Dropout(shared_axes=-3)(np.ones((2, 3))), ValueError, "no axis -3"),
        (lambda: nn.Dropout1d()(np.ones(3)), ValueError, r"\(n, channels, length\) or \(channels"),
        (lambda: nn.Dropout1d()(np.ones((1, 2, 3, 4))), ValueError, "dropout1d got"),
        (lambda: nn.Dropout2d()(np.ones((1, 2, 3))), ValueError, r"x\[None\].*dropout1d"),
        (lambda: nn.Dropout2d()(np.ones((2, 3))), ValueError, "height, width"),
        (lambda: F.dropout2d(np.ones((2, 3, 4)), training=False), ValueError, "height, width"),
        (lambda: nn.Dropout3d()(np.ones((1, 2, 3))), ValueError, "depth, height, width"),
        (lambda: nn.DropPath()(np.ones(())), ValueError, "first axis is that of the batch"),
        (lambda: nn.WordDropout()(np.ones(3)), ValueError, r"word_dropout\(weight\)\[words\]"),
        (lambda: nn.FeatureAlphaDropout()(np.ones(3)), ValueError, r"\(n, channels, \.\.\.\)"),
        (lambda: nn.GaussianDropout(1), ValueError, "less than 1"),
        (lambda: nn.GaussianDropout(1.5), ValueError, "from 0 to 1"),
        (lambda: nn.DropConnect(0, 2), ValueError, "in_features"),
        (lambda: nn.DropConnect(3, 2, p=2), ValueError, "keep_prob"),
        (lambda: nn.DropConnect(3, 2)(np.ones((4, 2))), ValueError, "last axis must be 3"),
    ],
)
def test_misuse(use, error, words):
    with pytest.raises(error, match=words):
        use()


def test_texts():
    assert repr(nn.Dropout(0.5)) == "Dropout(p=0.5)"
    assert repr(nn.Dropout(0.5, shared_axes=1, scaling="classic")) == (
        "Dropout(p=0.5, shared_axes=(1,), scaling='classic')"
    )
    assert repr(nn.DropoutMasks([])) == "DropoutMasks([]), for passes without dropout"
    assert repr(nn.GaussianDropout(0.25)) == "GaussianDropout(p=0.25)"
    assert repr(nn.Dropout2d(0.25)) == "Dropout2d(p=0.25)"


# ------------------------------------------------------------------------ masks held still


def two_calls(module):
    """A net that calls one module twice."""
    return lambda x: module(x) + 10 * module(x)


X = np.linspace(1, 2, 12).reshape(3, 4)


def check_a_pass_is_repeated():
    module = nn.Dropout(0.5)
    net = two_calls(module)
    masks = nn.DropoutMasks()
    with masks:
        first = net(X)
    assert len(masks) == 2
    assert not np.array_equal(masks[0], masks[1]), "a module called twice has two masks"
    np.testing.assert_array_equal(first.data, 2 * X * (masks[0] + 10 * masks[1]))
    for _ in range(3):
        net(X)  # in between, chance rules
        with masks:
            np.testing.assert_array_equal(net(X).data, first.data)
        np.testing.assert_array_equal(module.mask, masks[1])
    assert not np.array_equal(net(X).data, first.data)


def check_too_many_calls_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        module(X)
    with (
        pytest.raises(RuntimeError, match=r"ran out: there are 1, and Dropout\(p=0.5\) asks"),
        masks,
    ):
        two_calls(module)(X)
    with pytest.raises(RuntimeError, match="a function asks"), nn.DropoutMasks([]):
        F.dropout(X)


def check_too_few_calls_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        two_calls(module)(X)
    with pytest.raises(RuntimeError, match="used 1 of 2 masks"), masks:
        module(X)
    with pytest.raises(RuntimeError, match="evaluation mode"), masks:
        two_calls(module.eval())(X)


def check_another_shape_is_an_error():
    masks = nn.DropoutMasks()
    with masks:
        nn.Dropout(0.5)(X)
    for shape in (3, 1), (4,), (1, 3, 4), (12,), ():
        with pytest.raises(RuntimeError, match=r"needs .*np\.broadcast_to"), masks:
            nn.Dropout(0.5)(np.ones(shape))


def check_another_order_is_an_error():
    first, second = nn.Dropout(0.5), nn.Dropout(0.5)
    masks = nn.DropoutMasks()
    with masks:
        second(first(X))
    with pytest.raises(RuntimeError, match="for another module of this net"), masks:
        first(second(X))


def check_a_block_ends():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with masks:
        held = module(X)
    with pytest.raises(KeyError), masks:
        raise KeyError
    assert source.get() is None
    assert any(not np.array_equal(module(X).data, held.data) for _ in range(9))


def check_a_failed_first_pass_keeps_nothing():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with pytest.raises(TypeError), masks:
        module(module(X).data > 1)
    with masks:
        two_calls(module)(X)
    assert len(masks) == 2


def check_nested_blocks():
    module = nn.Dropout(0.5)
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    with outer:
        a = module(X)
        with inner:
            b = module(X)  # drawn from the block around, which has it, too
        c = module(X)
    assert len(outer) == 3
    np.testing.assert_array_equal(outer[1], inner[0])
    with outer:
        np.testing.assert_array_equal(module(X).data, a.data)
        again = nn.DropoutMasks()
        with again:
            np.testing.assert_array_equal(module(X).data, b.data)
        np.testing.assert_array_equal(module(X).data, c.data)
    with nn.DropoutMasks([np.zeros(X.shape, bool)]):
        with inner:  # the innermost counts
            np.testing.assert_array_equal(module(X).data, b.data)
        assert not module(X).data.any()


def check_other_threads_draw_by_chance():
    module = nn.Dropout(0.5)
    zeros = nn.DropoutMasks([np.zeros(X.shape, bool)])
    seen = []
    with zeros:
        thread = threading.Thread(target=lambda: seen.append(module(X).data.any()))
        thread.start()
        thread.join()
        assert not module(X).data.any()
    assert seen == [True]


CHECKED = "checks.check_replayed_mask(self, i, shape, owner)"


def drawn_if(condition):
    """Draw a mask, where the right version raises."""
    return f"if {condition}:\n            return draw(shape, generator(rng))\n        {CHECKED}"


HELD = {
    check_a_pass_is_repeated: [
        ("next_mask", "self.calls += 1", "self.calls += 2"),
        ("next_mask", "self.masks.append(mask)", "self.masks[:] = [mask]"),
        ("next_mask", "if not self.records:", "if False:"),
        ("next_mask", "self.masks[i]", "self.masks[0]"),
    ],
    check_too_many_calls_are_an_error: [
        ("next_mask", CHECKED, drawn_if("i >= len(self.masks)")),
        ("next_mask", "i = self.calls", "i = self.calls % max(len(self.masks), 1)"),
    ],
    check_too_few_calls_are_an_error: [("check_all_masks_used", "used < number", "False")],
    check_another_shape_is_an_error: [
        ("check_replayed_mask", "replay.masks[i].shape != shape", "False"),
        ("check_replayed_mask", ".shape != shape", ".size != np.prod(shape)"),
        ("next_mask", CHECKED, drawn_if("self.masks[i].shape != shape")),
    ],
    check_another_order_is_an_error: [
        ("check_replayed_mask", "owner is not replay.owners[i]", "False")
    ],
    check_nested_blocks: [
        (
            "next_mask",
            "mask = self.outer.next_mask(shape, draw, rng, training, owner)",
            "mask = draw(shape, generator(rng))",
        )
    ],
    check_a_block_ends: [],
    check_a_failed_first_pass_keeps_nothing: [],
    check_other_threads_draw_by_chance: [],
}


@pytest.mark.parametrize("check", HELD, ids=lambda check: check.__name__)
def test_masks_held_still(check):
    check()


@pytest.mark.parametrize(
    ("check", "mistake"),
    [
        pytest.param(check, mistake, id=f"{check.__name__}-{i}")
        for check, mistakes in HELD.items()
        for i, mistake in enumerate(mistakes)
    ],
)
def test_the_checks_of_held_masks_reject(check, mistake, monkeypatch):
    name, right, wrong = mistake
    owner = checks if hasattr(checks, name) else Replay
    monkeypatch.setattr(owner, name, with_mistake(getattr(owner, name), right, wrong))
    with pytest.raises((*REJECTED, RuntimeError)):
        check()


def test_a_gradient_check_of_a_net_in_training():
    net = nn.Sequential(
        nn.Linear(4, 5, dtype=np.float64),
        nn.Dropout(0.5),
        nn.DropConnect(5, 6, dtype=np.float64),
        nn.AlphaDropout(0.3),
        nn.GaussianDropout(0.3),
    )
    assert gradcheck(nn.DropoutMasks().hold(net), X, order=2)
    assert gradcheck(nn.DropoutMasks().hold(net), X, order=2, mode="fast")
    with pytest.raises(GradcheckError, match=r"nn\.DropoutMasks\(\)\.hold\(fn\)"):
        gradcheck(net, X)


def test_two_nets_under_one_mask():
    plain, wide = (nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, n)) for n in (1, 7))
    masks = nn.DropoutMasks()
    with masks:
        plain(X)
    with masks:
        wide(X)
    np.testing.assert_array_equal(plain[1].mask, wide[1].mask)
    with masks, pytest.raises(RuntimeError, match="needs"):
        nn.Dropout(0.5)(np.ones((3, 9)))


def test_the_whole_family_and_the_functions_are_covered():
    masks = nn.DropoutMasks()
    x = np.ones((2, 3, 2, 2))

    def run():
        outs = [
            module(x)
            for module in (
                nn.Dropout(0.5), nn.Dropout2d(0.5), nn.DropPath(0.5), nn.GaussianDropout(0.5),
                nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5), nn.DropConnect(2, 2),
            )
        ]  # fmt: skip
        outs += [nn.WordDropout(0.5)(x[0, 0]), F.dropout(x), F.dropout2d(x), F.dropout1d(x[0])]
        outs += [F.alpha_dropout(x), F.dropout3d(x)]
        return outs

    manual_seed(1)
    first = masks.hold(run)()
    manual_seed(1)
    drawn_again = run()
    for a, b in zip(first, drawn_again, strict=True):
        np.testing.assert_array_equal(a.data, b.data), "a block draws what would have been drawn"
    assert len(masks) == len(first)
    assert [mask.dtype.kind for mask in masks].count("f") == 1
    del first[6], drawn_again
    manual_seed(2)
    again = masks.hold(run)()
    del again[6]  # another weight
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_given_masks_are_applied():
    mask = np.array([[True, False], [False, True]])
    masks = nn.DropoutMasks([mask, mask.tolist()])
    mask[:] = False  # a copy has been taken
    module = nn.Dropout(0.5)
    with masks:
        x = Tensor(np.full((2, 2), np.inf), requires_grad=True)
        out = module(x)
        np.testing.assert_array_equal(out.data, [[np.inf, 0], [0, np.inf]])
        out.backward(np.ones((2, 2)))
        np.testing.assert_array_equal(x.grad, [[2, 0], [0, 2]])
        assert module.mask is masks[0]
        F.dropout(np.ones((2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        masks[0][...] = True
    assert repr(masks) == "DropoutMasks() of shapes (2, 2), (2, 2)"
    with nn.DropoutMasks([np.broadcast_to([True, False], (3, 2))]):
        np.testing.assert_array_equal(nn.Dropout(0.5)(np.ones((3, 2))).data, [[2, 0]] * 3)
    with nn.DropoutMasks([np.full(2, 3.0)]):
        np.testing.assert_array_equal(nn.GaussianDropout(0.5)(np.ones(2, np.float32)).data, [3, 3])


@pytest.mark.parametrize("module", [nn.Dropout(), nn.AlphaDropout(), nn.DropPath()])
def test_noise_is_no_mask(module):
    shape = (2, 1)
    with pytest.raises(TypeError, match="boolean"), nn.DropoutMasks([np.ones(shape)]):
        module(np.ones(shape))
    with pytest.raises(TypeError, match="floats"), nn.DropoutMasks([np.ones(shape, bool)]):
        nn.GaussianDropout()(np.ones(shape))


@pytest.mark.parametrize("mask", [[0, 1], np.ones(3, np.uint8), "mask", [1j], None])
def test_what_is_no_mask_is_refused(mask):
    with pytest.raises(TypeError, match="mask 0 is of dtype"):
        nn.DropoutMasks([mask])


def test_no_module_asks_for_a_mask_in_evaluation():
    masks = nn.DropoutMasks()
    net = nn.Sequential(nn.Dropout(0.5), nn.DropConnect(4, 2), nn.GaussianDropout(0.5)).eval()
    with masks:
        net(X)
        assert repr(masks) == "DropoutMasks(), to be drawn in the first pass"
    assert len(masks) == 0
    with pytest.raises(RuntimeError, match="ran out"), masks:
        net.train()(X)


def a_generator(masks, module):
    with masks:
        yield module(X)
        yield module(X)


def test_a_block_that_outlives_another_ends_with_an_error():
    module = nn.Dropout(0.5)
    # The generator begins first, and ends first.
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    outputs = a_generator(outer, module)
    next(outputs)
    with inner:
        module(X)
        next(outputs)
        with pytest.raises(RuntimeError, match="leave it before the yield"):
            next(outputs)
        module(X)
    assert len(inner) == 3
    assert len(outer) == 0
    assert source.get() is None
    # It begins last, and ends last.
    outer, inner = nn.DropoutMasks(), nn.DropoutMasks()
    outputs = a_generator(inner, module)
    with pytest.raises(RuntimeError, match="in another order than it began"), outer:
        next(outputs)
    outputs.close()
    assert source.get() is None
    # Two generators, turn by turn.
    first, second = (a_generator(nn.DropoutMasks(), module) for _ in range(2))
    with pytest.raises(RuntimeError, match="masks of several blocks were mixed up"):
        for _ in zip(first, second, strict=True):
            pass
    second.close()
    assert source.get() is None


def test_a_block_that_ends_in_another_context_is_an_error():
    masks = nn.DropoutMasks()
    context = contextvars.copy_context()
    context.run(masks.__enter__)
    with pytest.raises(RuntimeError, match="in another context"):
        masks.__exit__(None)
    assert source.get() is None


def test_masks_are_kept_where_p_changes():
    module, masks = nn.Dropout(0.5), nn.DropoutMasks()
    with masks:
        module(X)
    module.p = 0.75
    with masks:
        np.testing.assert_array_equal(module(X).data, 4 * X * masks[0])


def test_two_first_passes_at_once_are_an_error():
    masks = nn.DropoutMasks()
    module = nn.Dropout(0.5)
    with pytest.raises(RuntimeError, match="two passes drew masks at once"), masks:
        masks.hold(module)(X)
    assert source.get() is None
    # But one that has its masks may begin again within itself.
    with masks:
        module(X)
        with masks:
            module(X)


def test_tasks_have_blocks_of_their_own():
    module = nn.Dropout(0.5)
    masks = [nn.DropoutMasks([np.full(X.shape, kept)]) for kept in (True, False)]

    async def run(masks):
        with masks:
            await asyncio.sleep(0)
            return module(X).data.any()

    async def run_both():
        return await asyncio.gather(*map(run, masks))

    assert asyncio.run(run_both()) == [True, False]


def test_what_was_begun_in_a_block_and_outlives_it_changes_nothing():
    module = nn.Dropout(0.5)
    masks = nn.DropoutMasks()
    with masks:
        expected = module(X).data
        context = contextvars.copy_context()  # as asyncio.create_task does
    context.run(module, X)
    assert len(masks) == 1
    np.testing.assert_array_equal(masks.hold(module)(X).data, expected)


def test_threads_may_share_masks():
    module = nn.Dropout(0.5)
    net = two_calls(module)
    masks = nn.DropoutMasks()
    expected = masks.hold(net)(X).data
    failures, done = [], []

    def work():
        for _ in range(50):
            if not np.array_equal(masks.hold(net)(X).data, expected):
                failures.append("other masks")
        done.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(done) == 4


def test_one_mask_over_the_steps_of_a_loop():
    """Variational dropout of a recurrent net that is written by hand."""
    cell, dropout = nn.Linear(3, 3, dtype=np.float64), nn.Dropout(0.5)
    seen = []

    def run(x):
        h = np.zeros((2, 3))
        masks = nn.DropoutMasks()
        for _ in range(4):
            with masks:
                h = np.tanh(cell(dropout(h) + x))
            seen.append(dropout.mask)
        return h

    x = np.linspace(-1, 1, 6).reshape(2, 3)
    run(x)
    assert all(mask is seen[0] for mask in seen)
    run(x)
    assert not np.array_equal(seen[0], seen[-1])
    assert gradcheck(nn.DropoutMasks().hold(run), x, order=2)
