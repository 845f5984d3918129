"""Batch normalisation: by the statistics of the batch, and by running ones in evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kinds import Array, ArrayLike
from ..tensor import Tensor
from . import norm_checks
from .module import Buffer
from .normalization import Norm, affine, for_channels, with_parameters
from .scores import How, standardized


def batch_norm(
    x: ArrayLike,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: ArrayLike = None,
    bias: ArrayLike = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch and over space.

        out = (x - mean) / sqrt(var + eps) * weight + bias

    In training, mean and variance are those of the batch, the variance divided by the number of
    elements; and the running ones are updated,

        running = (1 - momentum) running + momentum new,

    with the unbiased variance, divided by one less. In evaluation, the running ones are used.

    Parameters
    ----------
    x
        Tensor or array of shape ``(n, channels)`` or ``(n, channels, ...)``, of a float dtype; it
        is cast to that of `weight`.
    running_mean, running_var
        Tensors of shape ``(channels,)`` that require no gradient, such as an `nn.Buffer`, or None
        to always use the batch's.
    weight, bias
        Tensors or arrays of shape ``(channels,)``, or None.
    training
        Whether the batch's own statistics are used.
    momentum
        How much the batch counts in the running statistics.
    eps
        What is added to the variance.

    Raises
    ------
    TypeError, ValueError
        If shapes or dtypes do not fit, or there is only one element for each channel in training.

    References
    ----------
    Ioffe, Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", ICML 2015.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> out = F.batch_norm([[1.0, 10.0], [3.0, 30.0]], None, None, training=True, eps=0.0)
    >>> out
    Tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    x, weight, bias = with_parameters(x, weight, bias)
    norm_checks.check_batch_norm(x, running_mean, running_var, weight, bias, training)
    weight, bias = (for_channels(parameter, x, 1) for parameter in (weight, bias))
    if not training and running_mean is not None and running_var is not None:
        center, variance = (for_channels(r._array, x, 1) for r in (running_mean, running_var))
        scale = (1 / np.sqrt(variance + eps)).astype(x.dtype)
        # The mean first: (bias - mean scale) + x scale would cancel where it is far from 0.
        return affine(x - center.astype(x.dtype), scale if weight is None else weight * scale, bias)
    axes = (0, *range(2, x._array.ndim))
    z, center, variance = standardized(x, How(axes, eps))
    if training and running_mean is not None and running_var is not None:
        n = x._array.size // x._array.shape[1]
        update(running_mean, center, momentum)
        update(running_var, variance * (n / (n - 1)), momentum)
    return affine(z, weight, bias)


def update(running: Tensor, new: Array, momentum: Any) -> None:
    """Move a running statistic towards a new one."""
    new = np.reshape(new, running._array.shape)
    moved = (1 - momentum) * running._array + momentum * new
    running.data = moved.astype(running._array.dtype)


class RunningNorm(Norm):
    """What batch and instance normalisation share: running statistics, if there are any."""

    running_mean: Buffer | None
    running_var: Buffer | None
    num_batches_tracked: Buffer | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = np.float32,
    ) -> None:
        self.num_features = norm_checks.size(self, "num_features", num_features)
        self.eps = norm_checks.small_number(self, eps)
        self.momentum = norm_checks.momentum(self, momentum)
        norm_checks.check_flags(self, track_running_stats=track_running_stats)
        self.track_running_stats = track_running_stats
        self.set_parameters((self.num_features,), affine, bias, dtype)
        tracked = track_running_stats
        self.running_mean = Buffer(np.zeros(num_features), dtype=dtype) if tracked else None
        self.running_var = Buffer(np.ones(num_features), dtype=dtype) if tracked else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if tracked else None

    def extra_repr(self) -> str:
        """Return the options."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.weight is not None}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm(RunningNorm):
    """What `BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d` share."""

    ndims: tuple[int, ...]

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise by the batch's statistics in training, by the running ones in evaluation."""
        norm_checks.check_ndim(self, x, self.ndims, self.num_features)
        momentum: Any = self.momentum
        counts = self.num_batches_tracked if self.training else None
        if counts is not None and momentum is None:
            momentum = 1 / (counts.data + 1)  # so that all batches count alike
        out = batch_norm(
            *(x, self.running_mean, self.running_var, self.weight, self.bias),
            training=self.training or not self.track_running_stats,
            momentum=momentum,
            eps=self.eps,
        )
        if counts is not None:
            counts.data = counts.data + 1
        return out


class BatchNorm1d(BatchNorm):
    """Batch normalisation of features ``(n, features)`` or sequences ``(n, channels, length)``.

    As `BatchNorm2d`; each feature or channel is normalised over the batch and the length.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.BatchNorm1d(2)(np.array([[1.0, 10.0], [3.0, 30.0]])).data.round(3)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    ndims = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalisation of images, ``(n, channels, height, width)``.

    `functional.batch_norm` is what it computes: in training by the batch's mean and variance, in
    evaluation by running averages of these.

    Parameters
    ----------
    num_features
        How many channels there are.
    eps
        What is added to the variance.
    momentum
        How much a batch counts in the running averages; None to average all batches.
    affine
        Whether there are a weight and a bias.
    track_running_stats
        Whether there are running averages; without them, evaluation uses the batch's statistics,
        too.
    bias
        Whether there is a bias besides the weight.
    dtype
        Floating dtype of parameters and buffers; the input is cast to it.

    Attributes
    ----------
    weight, bias
        Parameters of shape ``(num_features,)``, at first 1 and 0; or None.
    running_mean, running_var
        Buffers of shape ``(num_features,)``, at first 0 and 1; or None.
    num_batches_tracked
        Buffer, the number of batches seen in training; or None.

    Raises
    ------
    TypeError, ValueError
        If made with other options, or called with an input that does not fit; in training, also
        for an input with only one element for each channel.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> norm = nn.BatchNorm2d(3)
    >>> norm(np.full((5, 3, 8, 8), 10.0)).shape
    (5, 3, 8, 8)
    >>> norm.running_mean
    Tensor([1., 1., 1.], dtype=float32)
    """

    ndims = (4,)
