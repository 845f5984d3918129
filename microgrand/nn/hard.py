"""Hard activations: straight lines between limits, cheaper than the smooth curves they replace."""

from __future__ import annotations

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from . import layer_checks
from .activations import Activation
from .inputs import as_tensor
from .smooth import gated


def hardtanh(
    x: ArrayLike, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Limit ``x`` to ``[min_val, max_val]``; at the limits the derivative is 0, as beyond.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    min_val, max_val
        The limits.

    Raises
    ------
    ValueError
        If `max_val` is not the larger one.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hardtanh([-2.0, 0.5, 2.0])
    Tensor([-1. ,  0.5,  1. ])
    """
    layer_checks.refuse_inplace("hardtanh", inplace)
    min_val, max_val = layer_checks.limits(min_val, max_val)
    x = as_tensor(x)
    below, above = np.less_equal(x, min_val), np.greater_equal(x, max_val)
    limited: Value = np.where(below, min_val, np.where(above, max_val, x))
    return limited


def relu6(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Limit ``x`` to ``[0, 6]``; at the limits the derivative is 0, as beyond.

    References
    ----------
    Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.relu6([-1.0, 2.0, 8.0])
    Tensor([0., 2., 6.])
    """
    layer_checks.refuse_inplace("relu6", inplace)
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Return ``x / 6 + 1/2``, limited to ``[0, 1]``; at the limits the derivative is 0.

    References
    ----------
    Courbariaux, Bengio, David, "BinaryConnect: Training Deep Neural Networks with binary weights
    during propagations", NIPS 2015, which has one with another slope.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hardsigmoid([-4.0, 0.0, 1.5])
    Tensor([0.  , 0.5 , 0.75])
    """
    layer_checks.refuse_inplace("hardsigmoid", inplace)
    return hardtanh(as_tensor(x) + 3, 0.0, 6.0) / 6


@primitive
def hard_swish(x: Value) -> Value:
    """Compute `hardswish`."""
    return gated(x, np.clip(x + 3, 0, 6) / 6)


defvjp(
    hard_swish,
    lambda g, out, x: (
        g * np.where(np.less_equal(x, -3), 0, np.where(np.greater_equal(x, 3), 1, x / 3 + 0.5))
    ),
)


def hardswish(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Return ``x hardsigmoid(x)``: 0 up to -3, and ``x`` from 3 on.

    The derivative is 0 at -3 and 1 at 3, as beyond.

    References
    ----------
    Howard et al., "Searching for MobileNetV3", ICCV 2019.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.hardswish([-4.0, 1.5, 4.0])
    Tensor([-0.   ,  1.125,  4.   ])
    """
    layer_checks.refuse_inplace("hardswish", inplace)
    return hard_swish(as_tensor(x))


class Hardtanh(Activation):
    """``x`` limited to ``[min_val, max_val]``; see `functional.hardtanh`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Hardtanh()([-2.0, 0.5, 2.0])
    Tensor([-1. ,  0.5,  1. ])
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val, self.max_val = layer_checks.limits(min_val, max_val)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return hardtanh(x, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """Return the limits."""
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Activation):
    """``x`` limited to ``[0, 6]``; see `functional.relu6`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ReLU6()([-1.0, 2.0, 8.0])
    Tensor([0., 2., 6.])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return relu6(x)


class Hardsigmoid(Activation):
    """``x / 6 + 1/2`` limited to ``[0, 1]``; see `functional.hardsigmoid`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Hardsigmoid()([-4.0, 0.0, 1.5])
    Tensor([0.  , 0.5 , 0.75])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return hardsigmoid(x)


class Hardswish(Activation):
    """``x hardsigmoid(x)``; see `functional.hardswish`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Hardswish()([1.5, 4.0])
    Tensor([1.125, 4.   ])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return hardswish(x)
