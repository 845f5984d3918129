"""Instance normalisation: each channel of each example by its own mean and variance over space."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kinds import ArrayLike
from ..tensor import Tensor
from . import norm_checks
from .batch_norm import RunningNorm, batch_norm, update
from .normalization import affine, for_channels, with_parameters
from .scores import How, standardized


def instance_norm(
    x: ArrayLike,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each example over space.

        out = (x - mean) / sqrt(var + eps) * weight + bias

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels, length, ...)``, of a float dtype; it is cast to
        that of `weight`.
    running_mean, running_var
        Tensors of shape ``(channels,)`` that require no gradient, such as an `nn.Buffer`, or None.
        They move as in `batch_norm`, towards the mean over the examples.
    weight, bias
        Tensors or arrays of shape ``(channels,)``, or None.
    use_input_stats
        Whether mean and variance are those of the input; if not, they are the running ones, which
        stay as they are.
    momentum
        How much the input counts in the running statistics.
    eps
        What is added to the variance.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or there is only one element to normalise over.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
    Stylization", arXiv:1607.08022.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.instance_norm([[[1.0, 3.0], [10.0, 30.0]]], eps=0.0)
    Tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    x, weight, bias = with_parameters(x, weight, bias)
    statistics = {"running_mean": running_mean, "running_var": running_var}
    norm_checks.check_instance_norm(x, statistics, weight, bias, use_input_stats)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    shape = x._array.shape
    z, center, variance = standardized(x, How(tuple(range(2, len(shape))), eps))
    if running_mean is not None and running_var is not None:
        members = math.prod(shape[2:])
        update(running_mean, np.mean(center, axis=0), momentum)
        update(running_var, np.mean(variance, axis=0) * (members / (members - 1)), momentum)
    return affine(z, for_channels(weight, x, 1), for_channels(bias, x, 1))


class InstanceNorm(RunningNorm):
    """What the layers for one, two and three axes of space share."""

    axes: int

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        norm_checks.check_has_momentum(self, momentum)
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, bias=bias, dtype=dtype
        )

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise a batch, or one example without its axis."""
        ndims = (self.axes + 1, self.axes + 2)
        norm_checks.check_ndim(self, x, ndims, self.num_features, channels=-self.axes - 1)
        is_one = np.ndim(x) == ndims[0]
        momentum: Any = self.momentum
        out = instance_norm(
            *(np.expand_dims(x, 0) if is_one else x, self.running_mean, self.running_var),
            *(self.weight, self.bias, self.training or not self.track_running_stats),
            momentum=momentum,
            eps=self.eps,
        )
        return out[0] if is_one else out


class InstanceNorm1d(InstanceNorm):
    """Normalisation of each channel of each sequence, ``(n, channels, length)`` or without ``n``.

    As `InstanceNorm2d`, along one axis.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.InstanceNorm1d(2, eps=0.0)([[1.0, 3.0], [10.0, 30.0]])
    Tensor([[-1.,  1.],
            [-1.,  1.]])
    """

    axes = 1


class InstanceNorm2d(InstanceNorm):
    """Normalisation of each channel of each image, ``(n, channels, height, width)``, or of one.

    `functional.instance_norm` is what it computes: each channel is normalised over its own height
    and width; by default in training and evaluation alike.

    Parameters
    ----------
    num_features
        How many channels there are.
    eps
        What is added to the variance.
    momentum
        How much a batch counts in the running averages.
    affine
        Whether there are a weight and a bias.
    track_running_stats
        Whether there are running averages, which then replace the input's statistics in
        evaluation.
    bias
        Whether there is a bias besides the weight.
    dtype
        Floating dtype of parameters and buffers; the input is cast to that of the weight.

    Attributes
    ----------
    weight, bias
        Parameters of shape ``(num_features,)``, at first 1 and 0; or None.
    running_mean, running_var
        Buffers of shape ``(num_features,)``, at first 0 and 1; or None.
    num_batches_tracked
        Buffer that PyTorch's states have, always 0; or None.

    Raises
    ------
    TypeError, ValueError
        If made with other options, or called with an input that does not fit or has only one
        element for each channel.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.InstanceNorm2d(3)(np.ones((5, 3, 8, 8))).shape
    (5, 3, 8, 8)
    """

    axes = 2


class InstanceNorm3d(InstanceNorm):
    """Normalisation of each channel of each volume, ``(n, channels, depth, height, width)``.

    As `InstanceNorm2d`, along three axes.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.InstanceNorm3d(3)(np.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 4, 4, 4)
    """

    axes = 3
