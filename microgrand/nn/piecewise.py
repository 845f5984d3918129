"""Activations in two pieces: what becomes of `relu` if its negative side is not flat.

Each piece computes with the inputs of its own side only: the other's have no part in its gradient.
"""

from __future__ import annotations

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import ArrayLike, DTypeLike, Value
from ..tensor import Tensor
from . import checks, layer_checks
from .activations import Activation
from .dropout.masks import apply_mask
from .inputs import as_tensor
from .module import Module, Parameter


def sides(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x`` where it is positive, and where it is not, with zeros elsewhere."""
    is_positive = np.greater(x, 0)
    return apply_mask(x, is_positive), apply_mask(x, ~is_positive)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Multiply negative elements by a small slope, which is the derivative at zero, too.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    negative_slope
        What negative elements are multiplied by, a number; slopes that are trained are `prelu`'s.

    References
    ----------
    Maas, Hannun, Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.leaky_relu([-1.0, 0.0, 2.0])
    Tensor([-0.01,  0.  ,  2.  ])
    """
    layer_checks.refuse_inplace("leaky_relu", inplace)
    positive, negative = sides(as_tensor(x))
    return positive + layer_checks.number("leaky_relu's negative_slope", negative_slope) * negative


@primitive
def decay(x: Value, depth: float, width: float) -> Value:
    """Compute ``depth (exp(x / width) - 1)``."""
    return depth * np.expm1(x / width)


defvjp(
    decay,
    lambda g, out, x, depth, width: g * (depth / width * np.exp(x / width)),
)


def elu(x: ArrayLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Replace a negative ``x`` by ``alpha (exp(x) - 1)``.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    alpha
        The result goes down to ``-alpha``. It is the derivative at zero.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, "Fast and Accurate Deep Network Learning by Exponential
    Linear Units (ELUs)", ICLR 2016.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.elu([-1000.0, 0.0, 2.0])
    Tensor([-1.,  0.,  2.])
    """
    layer_checks.refuse_inplace("elu", inplace)
    alpha = layer_checks.number("elu's alpha", alpha)
    positive, negative = sides(as_tensor(x))
    return positive + decay(negative, alpha, 1.0)


def celu(x: ArrayLike, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Replace a negative ``x`` by ``alpha (exp(x / alpha) - 1)``, so that the slope at 0 is 1.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    alpha
        The result goes down to ``-alpha``. It is not 0.

    Raises
    ------
    ValueError
        If `alpha` is 0.

    References
    ----------
    Barron, "Continuously Differentiable Exponential Linear Units", arXiv:1704.07483 (2017).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.celu([-1000.0, 0.0, 2.0], alpha=0.5)
    Tensor([-0.5,  0. ,  2. ])
    """
    layer_checks.refuse_inplace("celu", inplace)
    alpha = layer_checks.not_zero("celu's alpha", alpha)
    positive, negative = sides(as_tensor(x))
    return positive + decay(negative, alpha, alpha)


#: With these, activations of mean 0 and variance 1 keep them from layer to layer.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def selu(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Return ``scale elu(x, alpha)``, with the constants that make a net normalise itself.

    The weights should be drawn with variance ``1 / in_features``, and dropout be `AlphaDropout`.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NIPS 2017.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.selu([-1.0, 0.0, 1.0])
    Tensor([-1.11133074,  0.        ,  1.05070099])
    """
    layer_checks.refuse_inplace("selu", inplace)
    return SELU_SCALE * elu(x, SELU_ALPHA)


def prelu(x: ArrayLike, weight: ArrayLike) -> Tensor:
    """Multiply negative elements by slopes that are learned, which is the derivative at zero, too.

    Parameters
    ----------
    x
        Tensor or array of any shape; it is cast to the dtype of `weight`.
    weight
        Tensor or array of shape ``(1,)``, or ``(channels,)`` for an input ``(n, channels, ...)``.

    Raises
    ------
    ValueError
        If there are neither one slope nor as many as channels.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers: Surpassing Human-Level Performance on
    ImageNet Classification", ICCV 2015.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.prelu([[-1.0, -1.0], [2.0, 2.0]], [0.25, 0.5])
    Tensor([[-0.25, -0.5 ],
            [ 2.  ,  2.  ]])
    """
    weight = as_tensor(weight)
    x = as_tensor(x, weight.dtype)
    shape = x._array.shape
    layer_checks.check_slopes(shape, weight._array.shape)
    positive, negative = sides(x)
    slopes = np.reshape(weight, (-1,) + (1,) * (len(shape) - 2) if len(shape) > 1 else ())
    return positive + slopes * negative


class LeakyReLU(Activation):
    """``x``, or ``negative_slope x`` where it is negative; see `functional.leaky_relu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.LeakyReLU(0.1)([-1.0, 2.0])
    Tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = layer_checks.number("LeakyReLU's negative_slope", negative_slope)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Activation):
    """``x``, or ``alpha (exp(x) - 1)`` where it is negative; see `functional.elu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ELU()([-1000.0, 2.0])
    Tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = layer_checks.number("ELU's alpha", alpha)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class CELU(Activation):
    """``x``, or ``alpha (exp(x / alpha) - 1)`` where it is negative; see `functional.celu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.CELU(alpha=0.5)([-1000.0, 2.0])
    Tensor([-0.5,  2. ])
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = layer_checks.not_zero("CELU's alpha", alpha)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return celu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class SELU(Activation):
    """An ELU that keeps mean 0 and variance 1; see `functional.selu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.SELU()([-1000.0, 1.0])
    Tensor([-1.75809934,  1.05070099])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return selu(x)


class PReLU(Module):
    """``x``, or a learned slope times it where it is negative; see `functional.prelu`.

    Parameters
    ----------
    num_parameters
        How many slopes there are: 1, or as many as the input ``(n, channels, ...)`` has channels.
    init
        The initial slopes.
    dtype
        Floating dtype of the slopes; the input is cast to it.

    Attributes
    ----------
    weight
        Parameter of shape ``(num_parameters,)``. Weight decay would pull the slopes to 0, which
        makes it a ReLU; leave it out for them.

    Raises
    ------
    TypeError, ValueError
        When made with a number that is not an integer from 1, or called with other channels.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.PReLU()([-1.0, 2.0])
    Tensor([-0.25,  2.  ], dtype=float32, requires_grad=True)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = np.float32
    ) -> None:
        number = checks.integer("PReLU's num_parameters", num_parameters, 1)
        init = layer_checks.number("PReLU's init", init)
        self.weight = Parameter(np.full(number, init), dtype=dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return prelu(x, self.weight)

    def extra_repr(self) -> str:
        """Return how many slopes there are."""
        return f"num_parameters={self.weight.shape[0]}"
