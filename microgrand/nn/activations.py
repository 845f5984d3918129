"""`relu` with its mask, what activations share, and the softmax with its relatives."""

from __future__ import annotations

import numpy as np

from ..engine import defvjp, primitive, sum_of, wider
from ..kinds import NUMPY_CLASSES, Array, ArrayLike, Mask, Value
from ..tensor import Tensor
from . import checks, conv_checks, layer_checks
from .dropout.masks import apply_mask, read_only
from .inputs import as_tensor
from .module import Module

# --------------------------------------------------------------------------------- relu


def relu_mask(x: Array) -> Mask:
    """Return ReLU's mask: False where ``x <= 0``, so that a ``nan`` stays visible."""
    return read_only(~np.less_equal(x, 0))


def relu(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Replace negative elements by zero; the derivative at zero is zero.

    A ``nan`` stays ``nan``. As for all activations, `inplace` is False: tensors are not changed in
    place.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    """
    layer_checks.refuse_inplace("relu", inplace)
    x = as_tensor(x)
    return apply_mask(x, relu_mask(x._array))


class Activation(Module):
    """What activations share that PyTorch may compute in place: here, `inplace` is False."""

    def __init__(self, inplace: bool = False) -> None:
        layer_checks.refuse_inplace(type(self).__name__, inplace)


class ReLU(Activation):
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
        return apply_mask(x, mask)


# ------------------------------------------------------------------------------ softmax


def max_over(x: Value, axis: int) -> Value:
    """Find the maximum along `axis` as `numpy.max` does; see `sum_of`."""
    return (np.maximum.reduce if x.__class__ in NUMPY_CLASSES else np.max)(x, axis, keepdims=True)


def subtract_max(x: Array, axis: int, out: Array | None = None) -> Array:
    """Subtract the maximum along `axis`, so that ``exp`` of it cannot overflow."""
    largest = max_over(x, axis)
    checks.check_float(largest.dtype)
    # A difference too large for the dtype is -inf, and exp(-inf) is 0, as it should be.
    with np.errstate(over="ignore"):
        return np.subtract(x, largest, out=out)


def sum_over(x: Value, axis: int) -> Value:
    """Sum along `axis`; a long sum in a wider dtype."""
    return sum_of(x, axis=axis, dtype=wider(x.dtype, x.shape[axis]), keepdims=True)


@primitive
def softmax(x: Value, dim: int = -1) -> Value:
    """Normalise ``exp(x)`` to sum 1 along an axis, without overflow at any finite `x`.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    dim
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
    return compute_softmax(x, dim)


def compute_softmax(x: Array, axis: int, out: Array | None = None) -> Array:
    """Compute the softmax, in the memory of `out` if it is given, which may be that of `x`."""
    shifted = subtract_max(x, axis, out)
    unnormalised = np.exp(shifted, out=shifted)
    return np.divide(unnormalised, sum_over(unnormalised, axis), out=unnormalised)


def softmax_vjp(g: Value, out: Value, x: Value, dim: int = -1) -> Value:
    """``d out_i / d x_j = out_i (delta_ij - out_j)``."""
    return out * (g - sum_over(g * out, dim))


defvjp(softmax, softmax_vjp)


@primitive
def log_softmax(x: Value, dim: int = -1) -> Value:
    """Logarithm of `softmax`, exact also where that underflows to zero.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    dim
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
    shifted = subtract_max(x, dim)
    total = sum_over(np.exp(shifted), dim)
    return (shifted - np.log(total)).astype(shifted.dtype, copy=False)


defvjp(
    log_softmax,
    lambda g, out, x, dim=-1: g - np.exp(out) * sum_over(g, dim),
)


@layer_checks.with_pytorchs_words
def softmin(x: ArrayLike, dim: int = -1) -> Tensor:
    """Return the `softmax` of ``-x``: the smallest has the largest share.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.softmin([0.0, 1000.0])
    Tensor([1., 0.])
    """
    return softmax(-as_tensor(x), dim)


@primitive
def logsumexp(x: Value, dim: int = -1, keepdim: bool = False) -> Value:
    """Logarithm of the sum of ``exp(x)`` along an axis, a smooth maximum, without overflow.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    dim
        The axis of the sum.
    keepdim
        Whether the axis stays, with length 1.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> F.logsumexp(Tensor([1000.0, 1000.0])) - 1000
    Tensor(0.69314718)
    """
    largest = max_over(x, dim)
    checks.check_float(largest.dtype)
    largest = np.where(np.isfinite(largest), largest, 0)  # the difference of infinities is nan
    with np.errstate(over="ignore", divide="ignore"):
        out = np.log(sum_over(np.exp(x - largest), dim)) + largest
    out = out.astype(largest.dtype, copy=False)
    return out if keepdim else np.squeeze(out, dim)


def logsumexp_vjp(g: Value, out: Value, x: Value, dim: int = -1, keepdim: bool = False) -> Value:
    """Return the softmax; 0 where all of `x` is minus infinity."""
    if not keepdim:
        g, out = np.expand_dims(g, dim), np.expand_dims(out, dim)
    with np.errstate(over="ignore"):
        return g * np.exp(x - np.where(np.isneginf(out), 0, out))


defvjp(logsumexp, logsumexp_vjp)


@primitive
def xlogy(x: Value, y: Value) -> Value:
    """Return ``x log(y)``, which is 0 where ``x`` is 0, whatever number ``y`` is.

    Parameters
    ----------
    x, y
        Tensors or arrays of a float dtype, of shapes that broadcast. Arrays give an array.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.xlogy(np.array([0.0, 2.0]), np.array([0.0, np.e]))
    array([0., 2.])
    """
    return x * np.log(np.where(np.equal(x, 0) & ~np.isnan(y), 1, y))


# Where x is 0, the gradient is finite, too: that of x is log(y) only if y is positive.
defvjp(
    xlogy,
    lambda g, out, x, y: g * np.log(np.where(np.equal(x, 0) & np.less_equal(y, 0), 1, y)),
    lambda g, out, x, y: g * (x / np.where(np.equal(x, 0) & ~np.isnan(y), 1, y)),
)


class Softmax(Module):
    """Normalise ``exp(x)`` to sum 1 along an axis; see `functional.softmax`.

    Parameters
    ----------
    dim
        The axis of the classes.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Softmax(dim=1)([[0.0, 1000.0]])
    Tensor([[0., 1.]])
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise along the axis."""
        return softmax(as_tensor(x), self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """Logarithm of the softmax along an axis; see `functional.log_softmax`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.LogSoftmax(dim=1)([[0.0, 1000.0]])
    Tensor([[-1000.,     0.]])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise along the axis."""
        return log_softmax(as_tensor(x), self.dim)


class Softmin(Softmax):
    """The softmax of ``-x`` along an axis; see `functional.softmin`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Softmin(dim=1)([[0.0, 1000.0]])
    Tensor([[1., 0.]])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise along the axis."""
        return softmin(x, self.dim)


class Softmax2d(Module):
    """The softmax over the channels of images, at each place; see `functional.softmax`.

    The input is of shape ``(n, channels, height, width)`` or ``(channels, height, width)``.

    Raises
    ------
    ValueError
        If it has other axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Softmax2d()(np.zeros((5, 4, 8, 8)))[0, :, 0, 0]
    Tensor([0.25, 0.25, 0.25, 0.25])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise over the channels."""
        x = as_tensor(x)
        conv_checks.check_axes("Softmax2d", x, 2)
        return softmax(x, -3)
