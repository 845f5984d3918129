"""Volumes, and images over time: convolution, pooling and normalisation along three axes.

All of it is as for images, with one axis more, the depth, before height and width.
"""

from __future__ import annotations

from typing import Literal

from ..kinds import ArrayLike
from ..tensor import Tensor
from .batch_norm import BatchNorm
from .conv import Conv, ConvTranspose, convolve, convolve_transposed
from .pooling import AdaptivePool, AvgPool2d, MaxPool, adaptive_pool, avg_pool, max_pool

#: A number, or one for each axis.
Sizes = int | tuple[int, int, int]


def conv3d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: Sizes = 1,
    padding: Sizes | Literal["valid", "same"] = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve volumes; as `conv2d` along three axes.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, depth, height, width)``, or without ``n``.
    weight
        Tensor or array of shape ``(out_channels, channels / groups, *kernel)``.
    bias, stride, padding, dilation, groups
        As in `conv2d`.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, *places)``, or without ``n``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.conv3d(np.ones((1, 2, 2, 2)), np.ones((1, 1, 1, 2, 2)))
    Tensor([[[[4.]],
             [[4.]]]])
    """
    return convolve(x, weight, bias, stride, padding, dilation, groups, 3)


def conv_transpose3d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Convolve volumes transposed; as `conv_transpose2d` along three axes.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, depth, height, width)``, or without ``n``.
    weight
        Tensor or array of shape ``(channels, out_channels / groups, *kernel)``.
    bias, stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`.

    Returns
    -------
    Tensor
        Of shape ``(n, out_channels, *lengths)``, or without ``n``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.conv_transpose3d(np.ones((1, 1, 1, 2)), np.ones((1, 1, 1, 1, 2)))
    Tensor([[[[1., 2., 1.]]]])
    """
    return convolve_transposed(
        x, weight, bias, stride, padding, output_padding, groups, dilation, 3
    )


def max_pool3d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the largest of each window of a volume; as `max_pool2d` along three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    Tensor([[[[7.]]]])
    """
    return max_pool(x, kernel_size, stride, padding, dilation, ceil_mode, 3)


def avg_pool3d(
    x: ArrayLike,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average each window of a volume; as `avg_pool2d` along three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    Tensor([[[[3.5]]]])
    """
    return avg_pool(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad, 3, divisor_override
    )


def adaptive_avg_pool3d(
    x: ArrayLike, output_size: int | tuple[int | None, int | None, int | None] | None
) -> Tensor:
    """Average volumes to a given size; as `adaptive_avg_pool2d` along three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), (1, 1, 2))
    Tensor([[[[3., 4.]]]])
    """
    return adaptive_pool("adaptive_avg_pool3d", x, output_size, 3)


def adaptive_max_pool3d(
    x: ArrayLike, output_size: int | tuple[int | None, int | None, int | None] | None
) -> Tensor:
    """Take the largest of parts of volumes; as `adaptive_max_pool2d` along three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.adaptive_max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), (1, 1, 2))
    Tensor([[[[6., 7.]]]])
    """
    return adaptive_pool("adaptive_max_pool3d", x, output_size, 3)


# ---------------------------------------------------------------------------------- layers


class Conv3d(Conv):
    """Convolution of volumes, ``(n, in_channels, depth, height, width)`` or without ``n``.

    As `Conv2d`, along three axes; `functional.conv3d` is what it computes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> conv = nn.Conv3d(3, 4, 3, padding=1)
    >>> conv(np.ones((2, 3, 4, 5, 6))).shape, conv.weight.shape
    ((2, 4, 4, 5, 6), (4, 3, 3, 3, 3))
    """

    axes = 3


class ConvTranspose3d(ConvTranspose):
    """Transposed convolution of volumes, ``(n, in_channels, depth, height, width)``.

    As `ConvTranspose2d`, along three axes; `functional.conv_transpose3d` is what it computes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.ConvTranspose3d(3, 4, 2, stride=2)(np.ones((2, 3, 4, 5, 6))).shape
    (2, 4, 8, 10, 12)
    """

    axes = 3


class MaxPool3d(MaxPool):
    """The largest of each window of volumes; see `functional.max_pool3d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.MaxPool3d(2)(np.ones((5, 4, 8, 8, 8))).shape
    (5, 4, 4, 4, 4)
    """

    axes = 3


class AvgPool3d(AvgPool2d):
    """The average of each window of volumes; see `functional.avg_pool3d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AvgPool3d((1, 2, 4))(np.ones((5, 4, 8, 8, 8))).shape
    (5, 4, 8, 4, 2)
    """

    axes = 3


class AdaptiveAvgPool3d(AdaptivePool):
    """Averages of volumes, to a given size; see `functional.adaptive_avg_pool3d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveAvgPool3d(1)(np.ones((5, 4, 8, 8, 8))).shape
    (5, 4, 1, 1, 1)
    """

    axes, who = 3, "adaptive_avg_pool3d"


class AdaptiveMaxPool3d(AdaptivePool):
    """Maxima of volumes, to a given size; see `functional.adaptive_max_pool3d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.AdaptiveMaxPool3d((1, None, 2))(np.ones((5, 4, 8, 8, 8))).shape
    (5, 4, 1, 8, 2)
    """

    axes, who = 3, "adaptive_max_pool3d"


class BatchNorm3d(BatchNorm):
    """Batch normalisation of volumes, ``(n, channels, depth, height, width)``; see `BatchNorm2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.BatchNorm3d(3)(np.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    ndims = (5,)
