"""Shuffling: channels that become places, places that become channels, and channels in turns."""

from __future__ import annotations

import numpy as np

from ..kinds import ArrayLike, Shape, Value
from ..tensor import Tensor
from . import checks, conv_checks
from .inputs import as_tensor
from .module import Module

Axes = tuple[int, ...]


def moved(x: Value, parts: Shape, source: Axes, destination: Axes, shape: Shape) -> Value:
    """Split axes into parts, move some of these, and join them to a shape."""
    return np.reshape(np.moveaxis(np.reshape(x, parts), source, destination), shape)


def pixel_shuffle(x: ArrayLike, upscale_factor: int) -> Tensor:
    """Make images larger by a factor ``r``: each place becomes ``r x r``, each with its channel.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(..., channels * r^2, height, width)``.
    upscale_factor
        The factor.

    Returns
    -------
    Tensor
        Of shape ``(..., channels, height * r, width * r)``.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, or its channels are not a multiple of ``r^2``.

    References
    ----------
    Shi, Caballero, Huszar, Totz, Aitken, Bishop, Rueckert, Wang, "Real-Time Single Image and Video
    Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.pixel_shuffle([[[1.0]], [[2.0]], [[3.0]], [[4.0]]], 2)
    Tensor([[[1., 2.],
             [3., 4.]]])
    """
    r = checks.integer("pixel_shuffle's upscale_factor", upscale_factor, 1)
    x = as_tensor(x)
    conv_checks.check_multiples("pixel_shuffle", x._array.shape, (r * r, 1, 1))
    *batch, channels, height, width = x._array.shape
    parts = (*batch, channels // (r * r), r, r, height, width)
    shape = (*batch, channels // (r * r), height * r, width * r)
    return moved(x, parts, (-4, -3), (-3, -1), shape)


def pixel_unshuffle(x: ArrayLike, downscale_factor: int) -> Tensor:
    """Make images smaller by a factor ``r``, as `pixel_shuffle` makes them larger.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(..., channels, height * r, width * r)``.
    downscale_factor
        The factor.

    Returns
    -------
    Tensor
        Of shape ``(..., channels * r^2, height, width)``.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, or height or width are not a multiple of ``r``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.pixel_unshuffle(np.ones((5, 3, 8, 6)), 2).shape
    (5, 12, 4, 3)
    """
    r = checks.integer("pixel_unshuffle's downscale_factor", downscale_factor, 1)
    x = as_tensor(x)
    conv_checks.check_multiples("pixel_unshuffle", x._array.shape, (1, r, r))
    *batch, channels, height, width = x._array.shape
    parts = (*batch, channels, height // r, r, width // r, r)
    shape = (*batch, channels * r * r, height // r, width // r)
    return moved(x, parts, (-3, -1), (-4, -3), shape)


def channel_shuffle(x: ArrayLike, groups: int) -> Tensor:
    """Take channels from groups in turns: the first of each, the second of each, and so on.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, length, ...)``.
    groups
        How many groups of channels there are, side by side.

    Returns
    -------
    Tensor
        Of the same shape.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, or its channels are not a multiple of `groups`.

    References
    ----------
    Zhang, Zhou, Lin, Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
    Mobile Devices", CVPR 2018.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.channel_shuffle([[[1.0], [2.0], [3.0], [4.0]]], 2)
    Tensor([[[1.],
             [3.],
             [2.],
             [4.]]])
    """
    groups = checks.integer("channel_shuffle's groups", groups, 1)
    x = as_tensor(x)
    shape = x._array.shape
    conv_checks.check_groups_of_channels(shape, groups)
    parts = (shape[0], groups, shape[1] // groups, *shape[2:])
    return moved(x, parts, (1,), (2,), shape)


class PixelShuffle(Module):
    """Images made larger, by their channels; see `functional.pixel_shuffle`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.PixelShuffle(2)(np.ones((5, 12, 4, 3))).shape
    (5, 3, 8, 6)
    """

    def __init__(self, upscale_factor: int) -> None:
        self.upscale_factor = checks.integer("PixelShuffle's upscale_factor", upscale_factor, 1)

    def forward(self, x: ArrayLike) -> Tensor:
        """Make images larger."""
        return pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Images made smaller, with more channels; see `functional.pixel_unshuffle`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.PixelUnshuffle(2)(np.ones((5, 3, 8, 6))).shape
    (5, 12, 4, 3)
    """

    def __init__(self, downscale_factor: int) -> None:
        self.downscale_factor = checks.integer(
            "PixelUnshuffle's downscale_factor", downscale_factor, 1
        )

    def forward(self, x: ArrayLike) -> Tensor:
        """Make images smaller."""
        return pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of groups in turns; see `functional.channel_shuffle`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.ChannelShuffle(2)(np.ones((5, 4, 8, 8))).shape
    (5, 4, 8, 8)
    """

    def __init__(self, groups: int) -> None:
        self.groups = checks.integer("ChannelShuffle's groups", groups, 1)

    def forward(self, x: ArrayLike) -> Tensor:
        """Shuffle channels."""
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        """Return how many groups there are."""
        return f"groups={self.groups}"
