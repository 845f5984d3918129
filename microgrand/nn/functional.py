"""What layers and losses compute, as functions: all of them by PyTorch's names."""

from .activations import log_softmax, relu, softmax
from .conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from .dropout.functional import (
    alpha_dropout,
    dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from .linear import linear
from .losses import cross_entropy, mse_loss

__all__ = [
    "alpha_dropout",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "linear",
    "log_softmax",
    "mse_loss",
    "relu",
    "softmax",
]
