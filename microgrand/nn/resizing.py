"""Other shapes of the same numbers: flattened, or enlarged, by what is at or between elements."""

from __future__ import annotations

import functools
import math
from typing import Literal

import numpy as np

from ..dispatch import library_of
from ..kinds import Array, ArrayLike, Value
from ..tensor import Tensor
from ..vjps.rules import wide
from . import conv_checks
from .inputs import as_tensor
from .module import Module
from .pooling import adaptive_pool
from .shares import scatter
from .windows import Windows

Mode = Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area"]


def interpolate(
    x: ArrayLike,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Enlarge or shrink sequences, images or volumes.

    Along an axis, element ``i`` of the output is that of the input at the place ``(i + 1/2) / scale
    - 1/2``, where ``scale`` is `scale_factor`, or the ratio of the lengths where `size` is given.
    The place is between elements, and `mode` says what is there.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, length)``, ``(n, channels,
        height, width)`` or ``(n, channels, depth, height, width)``.
    size
        Lengths of the output along the axes of space; one number for all.
    scale_factor
        Instead of it, how many times as long each axis becomes, rounded down.
    mode
        ``"nearest-exact"`` for the nearest element; ``"nearest"`` for element ``floor(i / scale)``,
        as many programs take it; ``"linear"`` for sequences, ``"bilinear"`` for images and
        ``"trilinear"`` for volumes, for a straight line through the two elements beside the place,
        which is not before the first or behind the last; ``"bicubic"`` for images, for a cubic
        curve through four elements; ``"area"`` for the mean over a part of the input, as
        `adaptive_avg_pool2d`.
    align_corners
        In the linear modes and the cubic one, whether the first and last elements of input and
        output are at the same places, with equal steps between; False by default.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *size)``.

    Raises
    ------
    TypeError, ValueError
        If not one of `size` and `scale_factor` is given, or the shape does not fit.

    References
    ----------
    Keys, "Cubic Convolution Interpolation for Digital Image Processing", IEEE Transactions on
    Acoustics, Speech, and Signal Processing 29 (1981); here with ``a = -3/4``, as in PyTorch.

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
    if mode == "area":
        return adaptive_pool(f"adaptive_avg_pool{axes}d", x, sizes, axes)
    to_nearest = mode.startswith("nearest")
    factors = tuple([m // n for n, m in zip(lengths, sizes, strict=True)])
    if to_nearest and factors == tuple([after / before for before, after in ratios]):
        # To repeat each element is to put it wherever a window of that size meets.
        windows = Windows(sizes, factors, factors, (0,) * axes, (1,) * axes, lengths)
        return scatter(x, windows).astype(x.dtype)
    out = x if to_nearest else wide(x)
    for axis, (n, m, ratio) in enumerate(zip(lengths, sizes, ratios, strict=True), 2):
        if to_nearest:
            out = nearest(out, axis, n, m, ratio, 0.5 if mode == "nearest-exact" else 0)
        else:
            places = places_of(n, m, ratio, bool(align_corners))
            elements = four_elements if mode == "bicubic" else two_elements
            out = mixed(out, axis, elements(places, n))
    return out.astype(x.dtype) if out.dtype != x.dtype else out


def nearest(x: Value, axis: int, n: int, m: int, ratio: tuple[float, float], shift: float) -> Value:
    """Take, at each of `m` places along an axis, the element that begins before it."""
    before, after = ratio
    places = np.floor((np.arange(m) + shift) * before / after).astype(int)
    return np.take(x, np.asarray(np.minimum(places, n - 1), like=library_of(x)), axis)


def places_of(n: int, m: int, ratio: tuple[float, float], align_corners: bool) -> Array:
    """Return where each of `m` elements is among `n`."""
    if align_corners:
        return np.arange(m) * ((n - 1) / max(m - 1, 1))
    before, after = ratio
    return (np.arange(m) + 0.5) * before / after - 0.5


def two_elements(places: Array, n: int) -> list[tuple[Array, Array]]:
    """Return the elements on each side of places, and their shares."""
    places = np.maximum(places, 0)
    first = np.minimum(places.astype(int), n - 1)
    share = places - first
    return [(first, 1 - share), (np.minimum(first + 1, n - 1), share)]


def four_elements(places: Array, n: int) -> list[tuple[Array, Array]]:
    """Return the two elements on each side of places, and their shares by a cubic curve.

    What lies before the first element or behind the last is like that.
    """
    first = np.floor(places)
    pairs = []
    for number in range(-1, 3):
        distance, a = np.abs(places - first - number), -0.75
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        at = np.clip(first.astype(int) + number, 0, n - 1)
        pairs.append((at, np.where(distance <= 1, near, far)))
    return pairs


def mixed(x: Value, axis: int, elements: list[tuple[Array, Array]]) -> Value:
    """Sum elements along an axis, each with its share."""
    beside, parts = library_of(x), []
    for at, share in elements:
        share = np.reshape(share.astype(x.dtype), (-1,) + (1,) * (x.ndim - axis - 1))
        taken = np.take(x, np.asarray(at, like=beside), axis)
        parts.append(taken * np.asarray(share, like=beside))
    return functools.reduce(np.add, parts)


class Upsample(Module):
    """Enlarge sequences, images or volumes.

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
        If these are not integers, or the input's axis has another length.

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
