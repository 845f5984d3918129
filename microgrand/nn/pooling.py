"""Pooling: functions and layers of what shares.py computes."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, TypeAlias

import numpy as np

from ..dispatch import library_of
from ..kinds import Array, ArrayLike, Shape
from ..tensor import Tensor
from ..vjps.rules import wide
from . import checks, conv_checks
from .inputs import as_tensor, hashable
from .module import Module
from .shares import gather, largest
from .windows import Windows

#: A number, or one for each axis.
Sizes: TypeAlias = int | tuple[int, ...]

# -------------------------------------------------------------------------------- functions


@functools.lru_cache(typed=True)
def windows_of(
    who: str,
    lengths: Shape,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Windows:
    """Find the places of a window on an input; once, not at each step."""
    axes = len(lengths)
    kernel = conv_checks.per_axis(who, "kernel_size", kernel_size, axes, 1)
    steps, spread = conv_checks.steps(who, axes, kernel if stride is None else stride, dilation)
    pads = conv_checks.paddings_of_pool(who, axes, padding, kernel, spread)
    places = []
    for length, k, s, d, pad in zip(lengths, kernel, steps, spread, pads, strict=True):
        room = length + 2 * pad - d * (k - 1) - 1  # how far the window can move
        number = room // s + 1
        if ceil_mode and room % s and number * s < length + pad:  # the next one begins inside
            number += 1
        places.append(number)
    both = [(pad, pad) for pad in pads]
    conv_checks.check_places(who, lengths, places, kernel, spread, both)
    return Windows(lengths, kernel, steps, pads, spread, tuple(places))


def max_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    axes: int,
) -> Tensor:
    """Pool along any number of axes."""
    x = as_tensor(x)
    who = f"max_pool{axes}d"
    conv_checks.check_axes(who, x, axes)
    options = hashable(kernel_size, stride, padding, dilation, ceil_mode)
    return largest(x, windows_of(who, x._array.shape[-axes:], *options))


def avg_pool(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    axes: int,
    divisor_override: int | None = None,
    name: str = "avg_pool",
) -> Tensor:
    """Pool along any number of axes, for a function of this name."""
    x = as_tensor(x)
    who = f"{name}{axes}d"
    conv_checks.check_axes(who, x, axes)
    options = hashable(kernel_size, stride, padding, 1, ceil_mode)
    windows = windows_of(who, x._array.shape[-axes:], *options)
    if windows.kernel == windows.lengths and not any(windows.padding) and divisor_override is None:
        # One window, of all there is: elsewhere, each of its elements takes a step of its own.
        return np.mean(x, axis=tuple(range(-axes, 0)), keepdims=True)
    if divisor_override is not None:
        divisor: Any = checks.integer(f"{who}'s divisor_override", divisor_override, 1)
    else:
        number = counts(windows, count_include_pad)
        divisor = np.asarray(number, wide(x._array).dtype, like=library_of(x))
    mean = gather(x, windows) / divisor
    return mean.astype(x.dtype) if mean.dtype != x.dtype else mean


def counts(windows: Windows, count_include_pad: bool) -> Array:
    """Count the elements of each window, with the padding or without it."""
    number = np.ones((), int)
    for length, k, s, pad, places in zip(
        *(windows.lengths, windows.kernel, windows.stride, windows.padding, windows.places),
        strict=True,
    ):
        outside = pad if count_include_pad else 0
        start = s * np.arange(places) - pad
        end = np.minimum(start + k, length + outside)
        number = np.multiply.outer(number, end - np.maximum(start, -outside))
    return number


def max_pool1d(
    x: ArrayLike,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    dilation: int | tuple[int] = 1,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest of each window of a sequence; as `max_pool2d` along one axis.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, length)`` or ``(channels, length)``.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `max_pool2d`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.max_pool1d([[1.0, 3.0, 2.0, 0.0, 5.0]], 2)
    Tensor([[3., 2.]])
    """
    return max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 1)


def max_pool2d(
    x: ArrayLike,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest of each window of an image.

    Elements that are equally large share the gradient evenly. (PyTorch gives it to the first.) A
    nan is larger than any number.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, height, width)`` or ``(channels,
        height, width)``.
    kernel_size
        Of the window: a number, or one for each axis.
    stride
        How far the window moves from one place to the next, by default its size.
    padding
        How far the window may reach out on each side, at most half its size. There is nothing
        there, so that it cannot win.
    dilation
        How far apart the window's elements are, at least 1.
    ceil_mode
        Whether there is a last place from which the window reaches out at the end, if else
        something there would take no part.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *places)``, or without ``n``. Along each axis there are
        ``(length + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1`` places.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype, or a number not an integer.
    ValueError
        If the shape does not fit, or the window is larger than the padded input.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> x = Tensor([[[1.0, 3.0, 2.0, 2.0], [0.0, 3.0, 1.0, 0.0]]], requires_grad=True)
    >>> out = F.max_pool2d(x, 2)
    >>> out.data
    array([[[3., 2.]]])
    >>> out.sum().backward()
    >>> x.grad
    array([[[0. , 0.5, 0.5, 0.5],
            [0. , 0.5, 0. , 0. ]]])
    """
    return max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 2)


def avg_pool1d(
    x: ArrayLike,
    kernel_size: int | tuple[int],
    stride: int | tuple[int] | None = None,
    padding: int | tuple[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Average each window of a sequence; as `avg_pool2d` along one axis.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, length)`` or ``(channels, length)``.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in `avg_pool2d`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.avg_pool1d([[1.0, 3.0, 2.0, 0.0, 5.0]], 2)
    Tensor([[2., 1.]])
    """
    return avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad, 1)


def avg_pool2d(
    x: ArrayLike,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window of an image.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, height, width)`` or ``(channels,
        height, width)``.
    kernel_size, stride, ceil_mode
        As in `max_pool2d`.
    padding
        How many zeros there are on each side, at most half the window.
    count_include_pad
        Whether those zeros are counted in the average.
    divisor_override
        What each window's sum is divided by, in the place of the number of its elements, at least
        1.

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
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.avg_pool2d(np.arange(8.0).reshape(1, 2, 4), 2)
    Tensor([[[2.5, 4.5]]])
    """
    return avg_pool(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad, 2, divisor_override
    )


# ------------------------------------------------------------------------------ adaptive pools


def adaptive_pool(who: str, x: ArrayLike, output_size: Any, axes: int) -> Tensor:
    """Pool by the maximum or the mean along any number of axes."""
    x = as_tensor(x)
    sizes = conv_checks.sizes_of_output(who, x, output_size, axes)
    lengths = x._array.shape[-axes:]
    pairs = list(zip(lengths, sizes, strict=True))
    is_max = who.startswith("adaptive_max")
    kernel = tuple([length // m for length, m in pairs])
    side_by_side = all(length % m == 0 for length, m in pairs)
    # That takes a step for each element of the window, and below for each of its places.
    if side_by_side and math.prod(kernel) <= math.prod(sizes):
        if is_max:
            return max_pool(x, kernel, None, 0, 1, False, axes)
        return avg_pool(x, kernel, None, 0, False, True, axes)
    blocks = [
        [slice(p * length // m, -(-(p + 1) * length // m)) for p in range(m)] for length, m in pairs
    ]
    last = tuple(range(-axes, 0))
    reduce = np.max if is_max else np.mean
    parts = [reduce(x[(..., *block)], axis=last) for block in itertools.product(*blocks)]
    return np.stack(parts, axis=-1).reshape(*x.shape[:-axes], *sizes)  # type: ignore[return-value]


def adaptive_avg_pool1d(x: ArrayLike, output_size: int | tuple[int | None]) -> Tensor:
    """Average a sequence to a given length; as `adaptive_avg_pool2d` along one axis.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_avg_pool1d([[1.0, 3.0, 2.0, 0.0, 5.0]], 2)
    Tensor([[2.        , 2.33333333]])
    """
    return adaptive_pool("adaptive_avg_pool1d", x, output_size, 1)


def adaptive_avg_pool2d(
    x: ArrayLike, output_size: int | tuple[int | None, int | None] | None
) -> Tensor:
    """Average images to a given size, whatever theirs is.

    Along an axis of some length, output ``p`` of ``m`` is the average of the elements from
    ``floor(p length / m)`` until before ``ceil((p + 1) length / m)``.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, height, width)`` or ``(channels,
        height, width)``.
    output_size
        Height and width of the output, or one number for both; None for the input's.

    Returns
    -------
    Tensor
        Of shape ``(n, channels, *output_size)``, or without ``n``.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, the shape does not fit, or a size is not an integer from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_avg_pool2d(np.arange(6.0).reshape(1, 2, 3), (1, 2))
    Tensor([[[2., 3.]]])
    """
    return adaptive_pool("adaptive_avg_pool2d", x, output_size, 2)


def adaptive_max_pool1d(x: ArrayLike, output_size: int | tuple[int | None]) -> Tensor:
    """Take the largest of parts of a sequence; as `adaptive_max_pool2d` along one axis.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_max_pool1d([[1.0, 3.0, 2.0, 0.0, 5.0]], 2)
    Tensor([[3., 5.]])
    """
    return adaptive_pool("adaptive_max_pool1d", x, output_size, 1)


def adaptive_max_pool2d(
    x: ArrayLike, output_size: int | tuple[int | None, int | None] | None
) -> Tensor:
    """Take the largest of each part of images, to a given size; parts as in `adaptive_avg_pool2d`.

    Elements that are equally large share the gradient evenly. (PyTorch gives it to the first.)

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_max_pool2d(np.arange(6.0).reshape(1, 2, 3), (1, 2))
    Tensor([[[4., 5.]]])
    """
    return adaptive_pool("adaptive_max_pool2d", x, output_size, 2)


# ---------------------------------------------------------------------------------- layers


class MaxPool(Module):
    """What `MaxPool1d` and `MaxPool2d` share."""

    axes: int

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        conv_checks.check_pool(type(self).__name__, self)

    def forward(self, x: ArrayLike) -> Tensor:
        """Pool a batch, or one example without its axis."""
        return max_pool(
            *(x, self.kernel_size, self.stride, self.padding, self.dilation),
            *(self.ceil_mode, self.axes),
        )

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(MaxPool):
    """The largest of each window of sequences; see `functional.max_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.MaxPool1d(2)(np.ones((5, 4, 10))).shape
    (5, 4, 5)
    """

    axes = 1


class MaxPool2d(MaxPool):
    """The largest of each window of images; see `functional.max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.MaxPool2d(3, stride=2, padding=1)(np.ones((5, 4, 8, 8))).shape
    (5, 4, 4, 4)
    """

    axes = 2


class AvgPool(Module):
    """What `AvgPool1d` and `AvgPool2d` share."""

    axes: int
    divisor_override: int | None = None

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        conv_checks.check_pool(type(self).__name__, self)

    def forward(self, x: ArrayLike) -> Tensor:
        """Pool a batch, or one example without its axis."""
        return avg_pool(
            *(x, self.kernel_size, self.stride, self.padding),
            *(self.ceil_mode, self.count_include_pad, self.axes, self.divisor_override),
        )

    def extra_repr(self) -> str:
        """Return the options, as PyTorch does."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(AvgPool):
    """The average of each window of sequences; see `functional.avg_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AvgPool1d(2)(np.ones((5, 4, 10))).shape
    (5, 4, 5)
    """

    axes = 1


class AvgPool2d(AvgPool):
    """The average of each window of images; see `functional.avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AvgPool2d((2, 4))(np.ones((5, 4, 8, 8))).shape
    (5, 4, 4, 2)
    """

    axes = 2

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        if divisor_override is not None:
            checks.integer(f"{type(self).__name__}'s divisor_override", divisor_override, 1)
        self.divisor_override = divisor_override


class AdaptivePool(Module):
    """What the adaptive pools share."""

    axes: int
    who: str

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        conv_checks.check_sizes(type(self).__name__, output_size, self.axes)
        self.output_size = output_size

    def forward(self, x: ArrayLike) -> Tensor:
        """Pool a batch, or one example without its axis."""
        return adaptive_pool(self.who, x, self.output_size, self.axes)

    def extra_repr(self) -> str:
        """Return the size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(AdaptivePool):
    """Averages of sequences, to a given length; see `functional.adaptive_avg_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveAvgPool1d(4)(np.ones((5, 3, 10))).shape
    (5, 3, 4)
    """

    axes, who = 1, "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(AdaptivePool):
    """Averages of images, to a given size; see `functional.adaptive_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveAvgPool2d((1, None))(np.ones((5, 3, 8, 9))).shape
    (5, 3, 1, 9)
    """

    axes, who = 2, "adaptive_avg_pool2d"


class AdaptiveMaxPool1d(AdaptivePool):
    """Maxima of sequences, to a given length; see `functional.adaptive_max_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveMaxPool1d(4)(np.ones((5, 3, 10))).shape
    (5, 3, 4)
    """

    axes, who = 1, "adaptive_max_pool1d"


class AdaptiveMaxPool2d(AdaptivePool):
    """Maxima of images, to a given size; see `functional.adaptive_max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveMaxPool2d(2)(np.ones((5, 3, 8, 9))).shape
    (5, 3, 2, 2)
    """

    axes, who = 2, "adaptive_max_pool2d"
