"""Other shapes of the same numbers: flattened, or enlarged, by the nearest element or linearly."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ..dispatch import library_of
from ..kinds import ArrayLike
from ..tensor import Tensor
from . import conv_checks
from .inputs import as_tensor
from .module import Module
from .shares import scatter
from .windows import Windows

Mode = Literal["nearest", "linear", "bilinear"]


def interpolate(
    x: ArrayLike,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Enlarge or shrink sequences or images: each element is that of the nearest place.

    Along an axis, element ``i`` of the output is element ``floor(i / scale)`` of the input, where
    ``scale`` is `scale_factor`, or the ratio of the lengths where `size` is given. In the linear
    modes, it is between the two elements beside ``(i + 1/2) / scale - 1/2``, but not before the
    first or behind the last.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, length)`` or ``(n, channels,
        height, width)``.
    size
        Length, or height and width, of the output; one number for both.
    scale_factor
        Instead of it, how many times as long each axis becomes, rounded down.
    mode
        ``"nearest"``; ``"linear"`` for sequences; ``"bilinear"`` for images.
    align_corners
        In the linear modes, whether the first and last elements of input and output are at the
        same places, with equal steps between; False by default.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *size)``.

    Raises
    ------
    TypeError, ValueError
        If not one of `size` and `scale_factor` is given, or the shape does not fit.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.interpolate([[[1.0, 2.0, 3.0]]], scale_factor=2)
    Tensor([[[1., 1., 2., 2., 3., 3.]]])
    >>> F.interpolate([[[1.0, 2.0, 3.0]]], size=5)
    Tensor([[[1., 1., 2., 2., 3.]]])
    >>> F.interpolate([[[1.0, 3.0]]], scale_factor=2, mode="linear")
    Tensor([[[1. , 1.5, 2.5, 3. ]]])
    """
    conv_checks.check_mode("interpolate", mode, align_corners)
    x = as_tensor(x)
    axes = conv_checks.axes_to_resize("interpolate", x, mode)
    lengths = x._array.shape[2:]
    sizes, ratios = conv_checks.sizes_after("interpolate", lengths, size, scale_factor)
    if mode != "nearest":
        for axis, (m, ratio) in enumerate(zip(sizes, ratios, strict=True), 2):
            x = between(x, axis, m, ratio, bool(align_corners))
        return x
    factors = tuple([m // n for n, m in zip(lengths, sizes, strict=True)])
    if factors == tuple([after / before for before, after in ratios]):
        # To repeat each element is to put it wherever a window of that size meets.
        windows = Windows(sizes, factors, factors, (0,) * axes, (1,) * axes, lengths)
        return scatter(x, windows).astype(x.dtype)
    for axis, (n, m, (before, after)) in enumerate(zip(lengths, sizes, ratios, strict=True), 2):
        nearest = np.floor(np.arange(m) * before / after).astype(int)
        x = np.take(x, np.asarray(np.minimum(nearest, n - 1), like=library_of(x)), axis)
    return x


def between(
    x: Tensor, axis: int, m: int, ratio: tuple[float, float], align_corners: bool
) -> Tensor:
    """Find elements between the two beside each of `m` places along an axis."""
    n = x._array.shape[axis]
    if align_corners:
        places = np.arange(m) * ((n - 1) / max(m - 1, 1))
    else:
        before, after = ratio
        places = np.maximum((np.arange(m) + 0.5) * before / after - 0.5, 0)
    first = np.minimum(places.astype(int), n - 1)
    second = np.minimum(first + 1, n - 1)
    beside = library_of(x)
    share = np.reshape(places - first, (m,) + (1,) * (x._array.ndim - axis - 1))
    share = np.asarray(share.astype(x.dtype), like=beside)
    low, high = (np.take(x, np.asarray(at, like=beside), axis) for at in (first, second))
    return low * (1 - share) + high * share


class Upsample(Module):
    """Enlarge sequences or images, by the nearest element or linearly.

    `functional.interpolate` is what it computes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Upsample(scale_factor=2)(np.ones((5, 3, 8, 8))).shape
    (5, 3, 16, 16)
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        scale_factor: float | tuple[float, ...] | None = None,
        mode: Mode = "nearest",
        align_corners: bool | None = None,
    ) -> None:
        conv_checks.check_one_of("Upsample", size, scale_factor)
        self.size = size
        self.scale_factor = scale_factor
        conv_checks.check_mode("Upsample", mode, align_corners)
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, x: ArrayLike) -> Tensor:
        """Enlarge a batch."""
        return interpolate(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        if self.size is not None:
            return f"size={self.size}, mode={self.mode!r}"
        return f"scale_factor={self.scale_factor}, mode={self.mode!r}"


class Flatten(Module):
    """Make one axis of several, by default of all but that of the batch.

    Parameters
    ----------
    start_dim, end_dim
        The first and the last of those axes.

    Raises
    ------
    ValueError
        If the input has no such axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Flatten()(np.ones((5, 3, 8, 8))).shape
    (5, 192)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        conv_checks.check_dims(start_dim, end_dim)
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: ArrayLike) -> Tensor:
        """Flatten."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        shape = x._array.shape
        start, end = conv_checks.axes_to_flatten(self, shape, self.start_dim, self.end_dim)
        joined = math.prod(shape[start : end + 1])
        return x.reshape(*shape[:start], joined, *shape[end + 1 :])

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several axes of one, as `Flatten` makes one of several.

    Parameters
    ----------
    dim
        The axis.
    unflattened_size
        The lengths of the axes that it becomes; one may be -1, for what is left.

    Raises
    ------
    TypeError, ValueError
        If these are no integers, or the input's axis has another length.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Unflatten(1, (3, 8, 8))(np.ones((5, 192))).shape
    (5, 3, 8, 8)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        conv_checks.check_sizes_to_unflatten(dim, unflattened_size)
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: ArrayLike) -> Tensor:
        """Unflatten."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        shape = x._array.shape
        axis = conv_checks.axis_to_unflatten(self, shape, self.dim, self.unflattened_size)
        return x.reshape(*shape[:axis], *self.unflattened_size, *shape[axis + 1 :])

    def extra_repr(self) -> str:
        """Return the axis, and what it becomes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
