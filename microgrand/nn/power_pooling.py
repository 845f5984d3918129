"""Pooling by a power: between the sum of a window, for the power 1, and its largest element."""

from __future__ import annotations

import math

import numpy as np

from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from ..vjps.rules import wide
from . import checks, conv_checks, layer_checks
from .inputs import as_tensor
from .module import Module
from .pooling import Sizes, avg_pool
from .similarity import in_units


def lp_pool(
    x: ArrayLike,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
    axes: int,
) -> Tensor:
    """Pool along any number of axes."""
    who = f"lp_pool{axes}d"
    p = layer_checks.positive(f"{who}'s norm_type", norm_type)
    x = as_tensor(x)
    conv_checks.check_axes(who, x, axes)
    kernel = conv_checks.per_axis(who, "kernel_size", kernel_size, axes, 1)
    parts, unit = in_units(wide(x), tuple(range(-axes, 0)))
    means = avg_pool(power(parts, p), kernel, stride, 0, ceil_mode, True, axes, name="lp_pool")
    totals = means * math.prod(kernel)
    is_zero = np.equal(totals, 0)
    roots = np.where(is_zero, 1, totals) ** (1 / p)
    return (np.where(is_zero, 0, roots) * unit).astype(x.dtype)


def power(x: Value, p: float) -> Value:
    """Return ``x^p``; where its slope at 0 is infinite, it counts as 0."""
    if p >= 1:
        return x**p
    zero = np.equal(x, 0)
    return np.where(zero, 0, np.where(zero, 1, x) ** p)


def lp_pool1d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the root of the sum of powers of each window of a sequence; as `lp_pool2d`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.lp_pool1d([[3.0, 4.0, 0.0, 2.0]], 2, 2)
    Tensor([[5., 2.]])
    """
    return lp_pool(x, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(
    x: ArrayLike,
    norm_type: float,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the root of the sum of powers of each window of an image: ``(sum of x^p)^(1/p)``.

    Where the sum is 0, so is the derivative; for a power below 1 also where an element is 0, as a
    norm's. Where the sum is negative, as sums of odd powers may be, there is no root, but nan. A
    window that reaches out, by `ceil_mode`, counts as if the rest of it were like what it meets, as
    in PyTorch.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, height, width)`` or ``(channels,
        height, width)``.
    norm_type
        The power, more than 0.
    kernel_size, stride, ceil_mode
        As in `max_pool2d`.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *places)``, or without ``n``.

    Raises
    ------
    TypeError, ValueError
        As in `max_pool2d`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.lp_pool2d([[[1.0, 3.0], [1.0, 5.0]]], 2, 2)
    Tensor([[[6.]]])
    """
    return lp_pool(x, norm_type, kernel_size, stride, ceil_mode, 2)


class LPPool(Module):
    """What `LPPool1d` and `LPPool2d` share."""

    axes: int

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        who = type(self).__name__
        layer_checks.positive(f"{who}'s norm_type", norm_type)
        conv_checks.per_axis(who, "kernel_size", kernel_size, self.axes, 1)
        conv_checks.steps(who, self.axes, 1 if stride is None else stride, 1)
        checks.check_flag(f"{who}'s ceil_mode", ceil_mode)
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, x: ArrayLike) -> Tensor:
        """Pool a batch, or one example without its axis."""
        return lp_pool(
            *(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode, self.axes)
        )

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(LPPool):
    """The root of a sum of powers, of sequences; see `functional.lp_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.LPPool1d(2, 2)(np.ones((5, 4, 10))).shape
    (5, 4, 5)
    """

    axes = 1


class LPPool2d(LPPool):
    """The root of a sum of powers, of images; see `functional.lp_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.LPPool2d(2, (2, 4))(np.ones((5, 4, 8, 8))).shape
    (5, 4, 4, 2)
    """

    axes = 2
