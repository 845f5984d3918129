"""Unfolding: what a window meets, at each of its places, as columns; and folding, its transpose.

A convolution is a product with these columns. Each of the two is linear, and the other's
derivative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from ..vjps.rules import wide
from . import conv_checks
from .conv import windows_of
from .inputs import as_tensor, hashable
from .module import Module
from .windows import Windows

#: A number, or one for each axis.
Sizes = int | tuple[int, int]


@primitive
def take_apart(x: Value, windows: Windows) -> Value:
    """Copy what each element of a window meets: ``(..., *kernel, *places)``."""
    batch = x.shape[: -len(windows.places)]
    y = np.zeros_like(x, shape=(*batch, *windows.kernel, *windows.places))
    for k, met, places in windows.meetings:
        y[(..., *k, *places)] = x[(..., *met)]
    return y


@primitive
def put_together(y: Value, windows: Windows) -> Value:
    """Add each copy to what it is one of."""
    dtype, y = y.dtype, wide(y)
    batch = y.shape[: -2 * len(windows.places)]
    x = np.zeros_like(y, shape=(*batch, *windows.lengths))
    for k, met, places in windows.meetings:
        there = x[(..., *met)]
        np.add(there, y[(..., *k, *places)], out=there)
    return x.astype(dtype, copy=False)


defvjp(take_apart, lambda g, out, x, windows: put_together(g, windows))
defvjp(put_together, lambda g, out, y, windows: take_apart(g, windows))


def windows_on(
    who: str, lengths: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Windows:
    """Find the places of a window on images."""
    kernel = conv_checks.per_axis(who, "kernel_size", kernel_size, 2, 1)
    pads = conv_checks.per_axis(who, "padding", padding, 2, 0)
    return windows_of(who, tuple(lengths), kernel, *hashable(stride, pads, dilation))


def unfold(
    x: ArrayLike,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Lay out what a window meets at each of its places, as a column each.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, height, width)`` or ``(channels,
        height, width)``.
    kernel_size, dilation, padding, stride
        Of the window: a number, or one for each axis, as in `conv2d`. Outside, ``x`` is zero.

    Returns
    -------
    Tensor
        Of shape ``(n, channels * height * width of the window, places)``, or without ``n``.

    Raises
    ------
    TypeError, ValueError
        As `conv2d` does.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.unfold([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], 2)
    Tensor([[1., 2.],
            [2., 3.],
            [4., 5.],
            [5., 6.]])
    """
    x = as_tensor(x)
    conv_checks.check_axes("unfold", x, 2)
    *batch, channels, height, width = x._array.shape
    windows = windows_on("unfold", (height, width), kernel_size, dilation, padding, stride)
    shape = (*batch, channels * math.prod(windows.kernel), math.prod(windows.places))
    return take_apart(x, windows).reshape(shape)


def fold(
    x: ArrayLike,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Add the columns that `unfold` makes to where they came from: its transpose.

    An element that the window meets at several places gets their sum.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels * height * width of the window,
        places)``, or without ``n``.
    output_size
        Height and width of the images; one number for both.
    kernel_size, dilation, padding, stride
        As in `unfold`.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *output_size)``, or without ``n``.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, or not what `unfold` makes of such images.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.fold([[1.0, 2.0], [2.0, 3.0], [4.0, 5.0], [5.0, 6.0]], (2, 3), 2)
    Tensor([[[ 1.,  4.,  3.],
             [ 4., 10.,  6.]]])
    """
    x = as_tensor(x)
    lengths = conv_checks.per_axis("fold", "output_size", output_size, 2, 1)
    windows = windows_on("fold", lengths, kernel_size, dilation, padding, stride)
    shape = x._array.shape
    conv_checks.check_columns(shape, windows.kernel, windows.places)
    channels = shape[-2] // math.prod(windows.kernel)
    x = np.reshape(x, (*shape[:-2], channels, *windows.kernel, *windows.places))
    return put_together(x, windows)


class Sliding(Module):
    """What `Unfold` and `Fold` share."""

    def __init__(
        self,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        who = type(self).__name__
        conv_checks.per_axis(who, "kernel_size", kernel_size, 2, 1)
        conv_checks.per_axis(who, "padding", padding, 2, 0)
        conv_checks.steps(who, 2, stride, dilation)
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Unfold(Sliding):
    """What a window meets, as columns; see `functional.unfold`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Unfold(2, stride=2)(np.ones((5, 3, 8, 8))).shape
    (5, 12, 16)
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Unfold images."""
        return unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Sliding):
    """Columns added to where they came from; see `functional.fold`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Fold(8, 2, stride=2)(np.ones((5, 12, 16))).shape
    (5, 3, 8, 8)
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        super().__init__(kernel_size, dilation, padding, stride)
        conv_checks.per_axis("Fold", "output_size", output_size, 2, 1)
        self.output_size = output_size

    def forward(self, x: ArrayLike) -> Tensor:
        """Fold columns."""
        return fold(
            *(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
        )

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
