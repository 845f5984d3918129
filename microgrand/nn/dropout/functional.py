"""Dropout as functions: each is its layer, made for one call."""

from __future__ import annotations

import numpy as np

from ...kinds import ArrayLike
from ...tensor import Tensor
from .. import checks
from .layers import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    DropoutBase,
    FeatureAlphaDropout,
)


def call(layer: DropoutBase, x: ArrayLike, training: bool) -> Tensor:
    """Call a layer in training or evaluation mode."""
    checks.check_training(training)
    layer.training = training
    return layer(x)


def dropout(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero each element with probability `p` in training, and scale the others by 1/(1-p).

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    p
        Probability that an element is dropped, ``0 <= p <= 1``. Some texts give the probability
        of keeping one instead: ``p = 1 - keep_prob``.
    training
        If False, nothing is dropped.
    rng
        Draws the mask; the library's generator by default.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.dropout(np.ones(8), p=0.5, rng=np.random.default_rng(1))
    Tensor([0., 0., 2., 2., 0., 0., 2., 0.])
    """
    return call(Dropout(p, rng=rng), x, training)


def dropout1d(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero whole channels of ``(n, channels, length)`` or ``(channels, length)``.

    See `nn.Dropout1d`; the other parameters are those of `dropout`.
    """
    return call(Dropout1d(p, rng=rng), x, training)


def dropout2d(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero whole channels of ``(n, channels, height, width)``.

    See `nn.Dropout2d`; the other parameters are those of `dropout`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.dropout2d(np.ones((1, 2, 2, 2)), rng=np.random.default_rng(0))
    Tensor([[[[2., 2.],
              [2., 2.]],
    <BLANKLINE>
             [[0., 0.],
              [0., 0.]]]])
    """
    return call(Dropout2d(p, rng=rng), x, training)


def dropout3d(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero whole channels of ``(n, channels, depth, height, width)``, or without the ``n``.

    See `nn.Dropout3d`; the other parameters are those of `dropout`.
    """
    return call(Dropout3d(p, rng=rng), x, training)


def alpha_dropout(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Replace elements by SELU's limit at minus infinity, and keep mean and variance.

    See `nn.AlphaDropout`; the parameters are those of `dropout`. PyTorch's version has
    ``training=False`` by default.
    """
    return call(AlphaDropout(p, rng=rng), x, training)


def feature_alpha_dropout(
    x: ArrayLike, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Do what `alpha_dropout` does to whole channels of ``(n, channels, ...)``."""
    return call(FeatureAlphaDropout(p, rng=rng), x, training)
