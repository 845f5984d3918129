"""What the tests on a device share: the layers, losses, optimizers and transforms that they run."""

import numpy as np
from device_array import DeviceArray

import microgrand
from microgrand import nn, optim
from microgrand.nn import functional as F


def on_device(module):
    """Bring parameters and buffers to the device."""
    for tensor in [*module.parameters(), *module.buffers()]:
        tensor._array = DeviceArray(tensor.data)
    return module


class Twice(nn.Module):
    """A layer of two inputs, which gets one in the place of both."""

    def __init__(self, layer):
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x)


LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "ReLU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU()), (5, 4)),
    "GELU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.GELU()), (5, 4)),
    "Mish": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Mish()), (5, 4)),
    "GLU": (lambda: nn.Sequential(nn.Linear(4, 6), nn.GLU()), (5, 4)),
    "Softshrink": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softshrink(0.1)), (5, 4)),
    "PReLU": (lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU(3)), (5, 4)),
    "Hardswish": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Hardswish()), (5, 4)),
    "Softmax": (lambda: nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)), (5, 4)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (5, 4)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (5, 4)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3)),
    "LocalResponseNorm": (
        lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.LocalResponseNorm(3)),
        (2, 3, 4),
    ),
    "Conv1d": (lambda: nn.Conv1d(3, 2, 3, padding=1), (2, 3, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 3, stride=2, groups=2), (2, 4, 6, 6)),
    "Conv2d, reflected": (
        lambda: nn.Conv2d(4, 2, 3, padding=1, padding_mode="reflect"),
        (2, 4, 5, 5),
    ),
    "ZeroPad2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.ZeroPad2d(1)), (2, 3, 4, 4)),
    "ReplicationPad1d": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.ReplicationPad1d(2)),
        (2, 3, 4),
    ),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 2, 3), (2, 3, 4, 4)),
    "MaxPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)), (2, 3, 4, 4)),
    "AvgPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.AvgPool2d(3, 1, 1)), (2, 3, 4, 4)),
    "Upsample": (lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.Upsample(size=7)), (2, 3, 4)),
    "Upsample, linear": (
        lambda: nn.Sequential(nn.Conv1d(3, 3, 1), nn.Upsample(size=7, mode="linear")),
        (2, 3, 4),
    ),
    "LPPool2d": (lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.LPPool2d(2, 2)), (2, 3, 4, 4)),
    "PixelShuffle": (lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.PixelShuffle(2)), (2, 3, 4, 4)),
    "Unfold": (lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Unfold(2)), (2, 3, 4, 4)),
    "RNN": (lambda: nn.RNN(4, 3), (5, 2, 4)),
    "GRU": (lambda: nn.GRU(4, 3), (5, 2, 4)),
    "LSTM": (lambda: nn.LSTM(4, 3), (5, 2, 4)),
    "LSTM, dropout on the state": (
        lambda: nn.LSTM(4, 3, recurrent_dropout=0.5, rng=np.random.default_rng(0)),
        (5, 2, 4),
    ),
    "Transformer": (
        lambda: Twice(nn.Transformer(8, 2, 1, 1, 16, dropout=0.0)),
        (3, 2, 8),
    ),
    "Bilinear": (lambda: Twice(nn.Bilinear(4, 4, 3)), (5, 4)),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0),
        (3, 2, 8),
    ),
}

#: A loss, its prediction and its target, and how often it looks at labels.
LOSSES = {
    "cross_entropy": (F.cross_entropy, (6, 4), np.arange(6) % 4, 2),
    "mse_loss": (F.mse_loss, (6, 4), np.ones((6, 4)), 0),
    "l1_loss": (F.l1_loss, (6, 4), np.ones((6, 4)), 0),
    "huber_loss": (F.huber_loss, (6, 4), np.ones((6, 4)), 0),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        (6, 4),
        np.ones((6, 4)),
        0,
    ),
    "cross_entropy, smoothed": (
        lambda x, labels: F.cross_entropy(x, labels, label_smoothing=0.1, ignore_index=1),
        (6, 4),
        np.arange(6) % 4,
        4,
    ),
    "multi_margin_loss": (F.multi_margin_loss, (6, 4), np.arange(6) % 4, 2),
    "soft_margin_loss": (F.soft_margin_loss, (6, 4), np.ones((6, 4)), 1),
    "cosine_similarity": (
        lambda x, y: np.sum(F.cosine_similarity(x, y) + F.pairwise_distance(x, y)),
        (6, 4),
        np.arange(24.0).reshape(6, 4),
        0,
    ),
    "gaussian_nll_loss": (
        lambda x, y: F.gaussian_nll_loss(x, y, np.exp(x)),
        (6, 4),
        np.ones((6, 4)),
        1,
    ),
    "poisson_nll_loss": (F.poisson_nll_loss, (6, 4), np.ones((6, 4)), 0),
}

OPTIMIZERS = [
    lambda p: optim.SGD(p, lr=0.1),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    lambda p: optim.Adam(p, lr=0.1),
    lambda p: optim.AdamW(p, lr=0.1),
]


TRANSFORMS = {
    "value_and_grad": lambda x: microgrand.value_and_grad(scalar)(x),
    "vjp": lambda x: microgrand.vjp(np.tanh, x)[1](np.arange(x.size, like=x))[0],
    "jvp": lambda x: microgrand.jvp(np.tanh, (x,), (2 * x,)),
    "jacobian": lambda x: microgrand.jacobian(lambda x: np.tanh(x) * x[0])(x),
    "hessian": lambda x: microgrand.hessian(scalar)(x),
    "hvp": lambda x: microgrand.hvp(scalar, (x,), (2 * x,))[0],
}


def scalar(x):
    """Compute a number from an array."""
    return np.sum(np.tanh(x) ** 3) * x[0]


def leaves_of(value):
    """List what is in a nest."""
    items = value.values() if isinstance(value, dict) else value
    is_nest = isinstance(value, (dict, list, tuple))
    return [leaf for x in items for leaf in leaves_of(x)] if is_nest else [value]
