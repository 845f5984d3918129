"""Activations that shrink: what is small becomes 0, or much smaller."""

from __future__ import annotations

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from . import layer_checks
from .activations import Activation
from .dropout.masks import apply_mask
from .inputs import as_tensor
from .module import Module


def softshrink(x: ArrayLike, lambd: float = 0.5) -> Tensor:
    """Move ``x`` towards 0 by `lambd`, and what is not further from 0 than that, to 0.

    The derivative is 1 beyond `lambd`, and 0 up to it.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    lambd
        How far, from 0.

    Raises
    ------
    ValueError
        If `lambd` is negative.

    References
    ----------
    Donoho, "De-noising by soft-thresholding", IEEE Transactions on Information Theory 41 (1995).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.softshrink([-2.0, 0.5, 2.0])
    Tensor([-1.5,  0. ,  1.5])
    """
    lambd = layer_checks.not_negative("softshrink's lambd", lambd)
    x = as_tensor(x)
    is_large = ~np.less_equal(np.abs(x._array), lambd)
    return apply_mask(x - np.copysign(lambd, x._array), is_large)


def hardshrink(x: ArrayLike, lambd: float = 0.5) -> Tensor:
    """Replace by 0 what is not further from 0 than `lambd`, where the derivative is 0, too.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    lambd
        How far.

    References
    ----------
    Donoho, Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hardshrink([-2.0, 0.5, 2.0])
    Tensor([-2.,  0.,  2.])
    """
    lambd = layer_checks.number("hardshrink's lambd", lambd)
    x = as_tensor(x)
    return apply_mask(x, ~np.less_equal(np.abs(x._array), lambd))


#: So many levels of the continued fraction give ``x - tanh(x)`` to the last bits, up to 1.
LEVELS = 12


@primitive
def rest_of_tanh(x: Value) -> Value:
    """Compute ``x - tanh(x)``.

    Near 0 the difference would cancel. There, by Lambert's continued fraction,
    ``tanh(x) = x / (1 + r)`` with ``r = x^2 / (3 + x^2 / (5 + x^2 / (7 + ...)))``, so the rest is
    ``x r / (1 + r)``.
    """
    near = np.where(np.abs(x) < 1, x, 0)
    square = np.square(near)
    divisor: Value = 2 * LEVELS + 1
    for odd in range(2 * LEVELS - 1, 1, -2):
        divisor = odd + square / divisor
    r = square / divisor
    return np.where(np.abs(x) < 1, near * (r / (1 + r)), x - np.tanh(x))


defvjp(rest_of_tanh, lambda g, out, x: g * np.square(np.tanh(x)))


def tanhshrink(x: ArrayLike) -> Tensor:
    """Return ``x - tanh(x)``, exact also near 0.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.tanhshrink([-2.0, 0.0, 1e-3])
    Tensor([-1.03597242e+00,  0.00000000e+00,  3.33333200e-10])
    """
    return rest_of_tanh(as_tensor(x))


def threshold(x: ArrayLike, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Replace what is not above a threshold by a value; the derivative is 0 there.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    threshold, value
        The threshold, and the value.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.threshold([-2.0, 0.5, 2.0], 0.5, 7.0)
    Tensor([7., 7., 2.])
    """
    layer_checks.refuse_inplace("threshold", inplace)
    threshold = layer_checks.number("threshold's threshold", threshold)
    value = layer_checks.number("threshold's value", value)
    x = as_tensor(x)
    replaced: Value = np.where(np.less_equal(x, threshold), value, x)
    return replaced


# ------------------------------------------------------------------------------- modules


class Softshrink(Module):
    """``x`` moved towards 0; see `functional.softshrink`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Softshrink()([-2.0, 0.5, 2.0])
    Tensor([-1.5,  0. ,  1.5])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = layer_checks.not_negative("Softshrink's lambd", lambd)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """Return how far."""
        return str(self.lambd)


class Hardshrink(Module):
    """``x``, or 0 where it is small; see `functional.hardshrink`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Hardshrink()([-2.0, 0.5, 2.0])
    Tensor([-2.,  0.,  2.])
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = layer_checks.number("Hardshrink's lambd", lambd)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        """Return how far."""
        return str(self.lambd)


class Tanhshrink(Module):
    """``x - tanh(x)``; see `functional.tanhshrink`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Tanhshrink()([-100.0, 0.0])
    Tensor([-99.,   0.])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return tanhshrink(x)


class Threshold(Activation):
    """``x``, or a value where it is not above a threshold; see `functional.threshold`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Threshold(0.5, 7.0)([-2.0, 0.5, 2.0])
    Tensor([7., 7., 2.])
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = layer_checks.number("Threshold's threshold", threshold)
        self.value = layer_checks.number("Threshold's value", value)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return threshold(x, self.threshold, self.value)

    def extra_repr(self) -> str:
        """Return the threshold and the value."""
        return f"threshold={self.threshold}, value={self.value}"
