"""Local response normalisation: each channel divided by a measure of its neighbours."""

from __future__ import annotations

import numpy as np

from ..kinds import ArrayLike
from ..tensor import Tensor
from ..vjps.rules import wide
from . import checks, layer_checks
from .inputs import as_tensor
from .module import Module
from .shares import gather
from .windows import Windows


def local_response_norm(
    x: ArrayLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by ``(k + alpha s)^beta``, where ``s`` is the mean square of neighbouring channels.

    Parameters
    ----------
    x
        Tensor or array of a float dtype, of shape ``(n, channels, ...)``.
    size
        Of how many channels: half of them before each one, the others from it on. Those outside
        count as 0.
    alpha, beta, k
        As in the formula. (In Krizhevsky's, ``s`` is the sum.)

    Returns
    -------
    Tensor
        Of the same shape.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype or has no channels, or `size` is not an integer from 1.

    References
    ----------
    Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NIPS 2012, section 3.3.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.local_response_norm([[[3.0], [4.0], [0.0]]], 2, alpha=2.0, beta=0.5, k=0.0)
    Tensor([[[1. ],
             [0.8],
             [0. ]]])
    """
    size = checks.integer("local_response_norm's size", size, 1)
    for name, value in ("alpha", alpha), ("beta", beta), ("k", k):
        layer_checks.number(f"local_response_norm's {name}", value)
    x = as_tensor(x)
    shape = x._array.shape
    layer_checks.check_has_channels("local_response_norm", shape)
    channels = shape[1]
    windows = Windows((channels,), (size,), (1,), (size // 2,), (1,), (channels,))
    squares = np.square(np.moveaxis(wide(x), 1, -1))
    means = np.moveaxis(gather(squares, windows), -1, 1) / size
    return (x / (k + alpha * means) ** beta).astype(x.dtype)


class LocalResponseNorm(Module):
    """Each channel divided by a measure of its neighbours; see `functional.local_response_norm`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.LocalResponseNorm(5)(np.ones((2, 8, 4, 4))).shape
    (2, 8, 4, 4)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = checks.integer("LocalResponseNorm's size", size, 1)
        self.alpha = layer_checks.number("LocalResponseNorm's alpha", alpha)
        self.beta = layer_checks.number("LocalResponseNorm's beta", beta)
        self.k = layer_checks.number("LocalResponseNorm's k", k)

    def forward(self, x: ArrayLike) -> Tensor:
        """Normalise a batch."""
        return local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
