"""Activations: `relu` with its mask, and the softmax."""

from __future__ import annotations

import numpy as np

from ..engine import defvjp, primitive, wider
from ..kinds import Array, ArrayLike, Mask, Value
from ..tensor import Tensor
from . import checks
from .dropout.masks import apply_mask, read_only
from .inputs import as_tensor
from .module import Module

# --------------------------------------------------------------------------------- relu


def relu_mask(x: Array) -> Mask:
    """Return ReLU's mask: False where ``x <= 0``, so that a ``nan`` stays visible."""
    return read_only(~np.less_equal(x, 0))


def relu(x: ArrayLike) -> Tensor:
    """Replace negative elements by zero; the derivative at zero is zero.

    A ``nan`` stays ``nan``.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    """
    x = as_tensor(x)
    return apply_mask(x, relu_mask(x._array))  # type: ignore[no-any-return]


class ReLU(Module):
    """``max(x, 0)``, by a mask that the backward pass uses again.

    Attributes
    ----------
    mask
        Boolean array, one byte a unit, True where the latest call kept its input; None before
        the first call. Read-only.

    Examples
    --------
    >>> from microgrand import nn
    >>> relu = nn.ReLU()
    >>> relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    >>> relu.mask
    array([False, False,  True])
    """

    mask: Mask | None = None
    not_state = ("mask",)

    def forward(self, x: ArrayLike) -> Tensor:
        """Zero what is not positive."""
        x = as_tensor(x)
        mask = self.mask = relu_mask(x._array)  # another thread may replace self.mask
        return apply_mask(x, mask)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------ softmax


def subtract_max(x: Array, axis: int) -> Array:
    """Subtract the maximum along `axis`, so that ``exp`` of it cannot overflow."""
    largest = np.maximum.reduce(x, axis=axis, keepdims=True)
    checks.check_float(largest.dtype)
    # A difference too large for the dtype is -inf, and exp(-inf) is 0, as it should be.
    with np.errstate(over="ignore"):
        return x - largest


def sum_over(x: Value, axis: int) -> Value:
    """Sum along `axis`; a long sum in a wider dtype."""
    return np.add.reduce(x, axis=axis, dtype=wider(x.dtype, x.shape[axis]), keepdims=True)


@primitive
def softmax(x: Value, axis: int = -1) -> Value:
    """Normalise ``exp(x)`` to sum 1 along `axis`, without overflow at any finite `x`.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    axis
        The axis of the classes.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> F.softmax(Tensor([0.0, 1000.0]))
    Tensor([0., 1.])
    """
    unnormalised = np.exp(subtract_max(x, axis))
    total = sum_over(unnormalised, axis)
    return (unnormalised / total).astype(unnormalised.dtype, copy=False)


# d s_i / d x_j = s_i (delta_ij - s_j)
defvjp(
    softmax,
    lambda g, out, x, axis=-1: out * (g - sum_over(g * out, axis)),
)


@primitive
def log_softmax(x: Value, axis: int = -1) -> Value:
    """Logarithm of `softmax`, exact also where that underflows to zero.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    axis
        The axis of the classes.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> F.log_softmax(Tensor([0.0, 1000.0]))
    Tensor([-1000.,     0.])
    """
    shifted = subtract_max(x, axis)
    total = sum_over(np.exp(shifted), axis)
    return (shifted - np.log(total)).astype(shifted.dtype, copy=False)


defvjp(
    log_softmax,
    lambda g, out, x, axis=-1: g - np.exp(out) * sum_over(g, axis),
)
