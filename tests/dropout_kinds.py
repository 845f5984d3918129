"""The kinds of dropout that tests go through, each with an input for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from microgrand import nn
from microgrand.nn.inputs import as_tensor


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


# ------------------------------------------------------------------------------- a wrong one


class ScalesInEvaluation(nn.Dropout):
    """Multiplies by ``1 - p`` in evaluation, whatever its ``scaling``: infinities by zero, too."""

    def forward(self, x):
        return super().forward(x) if self.training else as_tensor(x) * (1 - self.p)
