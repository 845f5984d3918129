"""Normalisation of each example by itself: by layer, group or root mean square."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kinds import ArrayLike, Shape
from ..tensor import Tensor
from . import norm_checks
from .inputs import as_tensor
from .module import Module, Parameter
from .scores import How, rescale, standardized

# -------------------------------------------------------------------------------- functions


def affine(x: Tensor, weight: Any, bias: Any) -> Tensor:
    """Scale and shift, by what is given."""
    if weight is None:
        return x if bias is None else x + bias
    return rescale(x, weight, bias)


def with_parameters(x: ArrayLike, weight: ArrayLike, bias: ArrayLike) -> tuple[Tensor, Any, Any]:
    """Make tensors of an input and of parameters, whose dtype it gets."""
    weight = None if weight is None else as_tensor(weight)
    dtype = None if weight is None else weight._array.dtype
    x = as_tensor(x, dtype)
    return x, weight, None if bias is None else as_tensor(bias, x._array.dtype)


def for_channels(parameter: Any, x: Tensor, axis: int) -> Any:
    """Let each channel's number meet the channels of an input, along an axis."""
    if parameter is None:
        return None
    return np.reshape(parameter, (-1,) + (1,) * (x._array.ndim - axis - 1))


def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each group of channels of each example, over channels and space.

        out = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, ...)``, of a float dtype; it is cast to that of
        `weight`.
    num_groups
        How many groups there are; it divides the number of channels.
    weight, bias
        Tensors or arrays of shape ``(channels,)``, or None.
    eps
        What is added to the variance.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit.

    References
    ----------
    Wu, He, "Group Normalization", ECCV 2018.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.group_norm([[1.0, 3.0, 10.0, 30.0]], 2, eps=0.0)
    Tensor([[-1.,  1., -1.,  1.]])
    """
    x, weight, bias = with_parameters(x, weight, bias)
    norm_checks.check_group_norm(x, num_groups, weight, bias)
    shape = x._array.shape
    members = math.prod(shape[1:]) // num_groups
    z, *_ = standardized(x.reshape(shape[0], num_groups, members), How((2,), eps))
    z = z.reshape(shape)
    return affine(z, for_channels(weight, x, 1), for_channels(bias, x, 1))


def layer_norm(
    x: ArrayLike,
    normalized_shape: int | tuple[int, ...],
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last axes: the features.

        out = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters
    ----------
    x
        Tensor or array of shape ``(..., *normalized_shape)``, of a float dtype; it is cast to that
        of `weight`.
    normalized_shape
        The lengths of those axes; a number for the last one.
    weight, bias
        Tensors or arrays of shape `normalized_shape`, or None.
    eps
        What is added to the variance, which is divided by the number of features.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit.

    References
    ----------
    Ba, Kiros, Hinton, "Layer Normalization", arXiv:1607.06450.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.layer_norm([[1.0, 3.0], [10.0, 30.0]], 2, eps=0.0)
    Tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    x, weight, bias = with_parameters(x, weight, bias)
    axes = norm_checks.axes_of_features("layer_norm", x, normalized_shape, weight, bias)
    z, *_ = standardized(x, How(axes, eps))
    return affine(z, weight, bias)


def rms_norm(
    x: ArrayLike,
    normalized_shape: int | tuple[int, ...],
    weight: ArrayLike = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root of the mean square over the last axes.

        out = x / sqrt(mean(x^2) + eps) * weight

    Parameters
    ----------
    x, normalized_shape, weight
        As in `layer_norm`.
    eps
        What is added to the mean square; by default the distance from 1 to the next number of the
        input's dtype.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit.

    References
    ----------
    Zhang, Sennrich, "Root Mean Square Layer Normalization", NeurIPS 2019.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.rms_norm([[3.0, 4.0, 5.0, 0.0]], 4, [2.0, 2.0, 2.0, 2.0]).data.round(4)
    array([[1.6971, 2.2627, 2.8284, 0.    ]])
    """
    x, weight, _ = with_parameters(x, weight, None)
    axes = norm_checks.axes_of_features("rms_norm", x, normalized_shape, weight, None)
    eps = float(np.finfo(x._array.dtype).eps) if eps is None else eps
    z, *_ = standardized(x, How(axes, eps, centered=False))
    return affine(z, weight, None)


# ---------------------------------------------------------------------------------- layers


class Norm(Module):
    """What the layers share: a weight of ones and a bias of zeros, if they have them."""

    weight: Parameter | None
    bias: Parameter | None

    def set_parameters(self, shape: Shape, affine: bool, bias: bool, dtype: Any) -> None:
        """Make them."""
        norm_checks.check_flags(self, affine=affine, bias=bias)
        self.weight = Parameter(np.ones(shape), dtype=dtype) if affine else None
        self.bias = Parameter(np.zeros(shape), dtype=dtype) if affine and bias else None


class GroupNorm(Norm):
    """Normalisation of each group of channels of each example; see `functional.group_norm`.

    Parameters
    ----------
    num_groups, num_channels
        How many groups and channels there are; the one divides the other.
    eps
        What is added to the variance.
    affine
        Whether there are a weight and a bias.
    bias
        Whether there is a bias besides the weight.
    dtype
        Floating dtype of the parameters; the input is cast to it.

    Attributes
    ----------
    weight, bias
        Parameters of shape ``(num_channels,)``, at first 1 and 0; or None.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> norm = nn.GroupNorm(2, 6)
    >>> norm
    GroupNorm(2, 6, eps=1e-05, affine=True, bias=True)
    >>> norm(np.ones((5, 6, 8, 8))).shape
    (5, 6, 8, 8)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        self.num_channels = norm_checks.size(self, "num_channels", num_channels)
        self.num_groups = norm_checks.groups("GroupNorm", num_groups, self.num_channels)
        self.eps = norm_checks.small_number(self, eps)
        self.set_parameters((self.num_channels,), affine, bias, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise ``(n, num_channels, ...)``."""
        norm_checks.check_ndim(self, x, None, self.num_channels)
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, "
            f"affine={self.weight is not None}, bias={self.bias is not None}"
        )


class LayerNorm(Norm):
    """Normalisation over the features, the last axes; see `functional.layer_norm`.

    Parameters
    ----------
    normalized_shape
        The lengths of those axes; a number for the last one.
    eps
        What is added to the variance.
    elementwise_affine
        Whether there are a weight and a bias.
    bias
        Whether there is a bias besides the weight.
    dtype
        Floating dtype of the parameters; the input is cast to it.

    Attributes
    ----------
    weight, bias
        Parameters of shape `normalized_shape`, at first 1 and 0; or None.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> norm = nn.LayerNorm(128)
    >>> norm
    LayerNorm((128,), eps=1e-05, elementwise_affine=True, bias=True)
    >>> norm(np.ones((16, 64, 128))).shape
    (16, 64, 128)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        self.normalized_shape = norm_checks.lengths("LayerNorm", normalized_shape)
        self.eps = norm_checks.small_number(self, eps)
        self.set_parameters(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise ``(..., *normalized_shape)``."""
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.weight is not None}, bias={self.bias is not None}"
        )


class RMSNorm(Norm):
    """Division by the root mean square of the features; see `functional.rms_norm`.

    Parameters
    ----------
    normalized_shape
        The lengths of the last axes, those of the features; a number for the last one.
    eps
        What is added to the mean square; by default the distance from 1 to the next number of the
        input's dtype.
    elementwise_affine
        Whether there is a weight.
    dtype
        Floating dtype of the weight; the input is cast to it.

    Attributes
    ----------
    weight
        Parameter of shape `normalized_shape`, at first 1; or None.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.RMSNorm(128)(np.ones((16, 64, 128))).shape
    (16, 64, 128)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = np.float32,
    ) -> None:
        self.normalized_shape = norm_checks.lengths("RMSNorm", normalized_shape)
        self.eps = None if eps is None else norm_checks.small_number(self, eps)
        self.set_parameters(self.normalized_shape, elementwise_affine, False, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise ``(..., *normalized_shape)``."""
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
        )
