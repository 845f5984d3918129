"""Activations in two or three pieces: what becomes of `relu` if its negative side is not flat.

Each piece computes with the inputs of its own side only: the other's have no part in its gradient.
"""

from __future__ import annotations

import numpy as np

from ..kinds import ArrayLike
from ..tensor import Tensor
from . import layer_checks
from .dropout.masks import apply_mask
from .inputs import as_tensor
from .module import Module


def sides(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` where it is positive, and where it is not, with zeros elsewhere."""
    is_positive = np.greater(x, 0)
    return apply_mask(x, is_positive), apply_mask(x, ~is_positive)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Tensor:
    """Multiply negative elements by a small slope, which is the derivative at zero, too.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    negative_slope
        What negative elements are multiplied by.

    References
    ----------
    Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.leaky_relu([-1.0, 0.0, 2.0])
    Tensor([-0.01,  0.  ,  2.  ])
    """
    positive, negative = sides(as_tensor(x))
    return positive + negative_slope * negative


def elu(x: ArrayLike, alpha: float = 1.0) -> Tensor:
    """Replace a negative ``x`` by ``alpha (exp(x) - 1)``.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    alpha
        The result goes down to ``-alpha``. It is the derivative at zero.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units (ELUs)", ICLR 2016.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.elu([-1000.0, 0.0, 2.0])
    Tensor([-1.,  0.,  2.])
    """
    positive, negative = sides(as_tensor(x))
    return positive + alpha * np.expm1(negative)


#: With these, activations of mean 0 and variance 1 keep them from layer to layer.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def selu(x: ArrayLike) -> Tensor:
    """Return ``scale elu(x, alpha)``, with the constants that make a net normalise itself.

    The weights should be drawn with variance ``1 / in_features``, and dropout be `AlphaDropout`.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NIPS 2017.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.selu([-1.0, 0.0, 1.0])
    Tensor([-1.11133074,  0.        ,  1.05070099])
    """
    return SELU_SCALE * elu(x, SELU_ALPHA)


def hardtanh(x: ArrayLike, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit ``x`` to ``[min_val, max_val]``; at the limits the derivative is 0, as beyond.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    min_val, max_val
        The limits.

    Raises
    ------
    ValueError
        If `max_val` is not the larger one.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hardtanh([-2.0, 0.5, 2.0])
    Tensor([-1. ,  0.5,  1. ])
    """
    layer_checks.check_limits(min_val, max_val)
    x = as_tensor(x)
    below, above = np.less_equal(x, min_val), np.greater_equal(x, max_val)
    return np.where(below, min_val, np.where(above, max_val, x))  # type: ignore[return-value]


class LeakyReLU(Module):
    """``x``, or ``negative_slope x`` where it is negative; see `functional.leaky_relu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.LeakyReLU(0.1)([-1.0, 2.0])
    Tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = layer_checks.number("LeakyReLU's negative_slope", negative_slope)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """``x``, or ``alpha (exp(x) - 1)`` where it is negative; see `functional.elu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ELU()([-1000.0, 2.0])
    Tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = layer_checks.number("ELU's alpha", alpha)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class SELU(Module):
    """An ELU that keeps mean 0 and variance 1; see `functional.selu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.SELU()([-1000.0, 1.0])
    Tensor([-1.75809934,  1.05070099])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return selu(x)


class Hardtanh(Module):
    """``x`` limited to ``[min_val, max_val]``; see `functional.hardtanh`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Hardtanh()([-2.0, 0.5, 2.0])
    Tensor([-1. ,  0.5,  1. ])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        layer_checks.check_limits(min_val, max_val)
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the limits."""
        return f"min_val={self.min_val}, max_val={self.max_val}"
