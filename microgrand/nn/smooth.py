"""Smooth activations: the sigmoid, the softplus, and units that a sigmoid switches on.

Each is exact wherever its result is a number: nothing overflows on the way, small results keep
their digits, and at an infinity there is the limit.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..engine import defvjp, primitive
from ..kinds import Array, ArrayLike, Value
from ..tensor import Tensor
from . import layer_checks
from .activations import Activation
from .inputs import as_tensor
from .module import Module
from .normal import cdf_of, normal_cdf, normal_density, reach, tail
from .pieces import in_pieces

# ------------------------------------------------------------------------------ sigmoids


def tanh(x: ArrayLike) -> Tensor:
    """Return ``tanh(x)``, as ``np.tanh`` does; a list will do, too.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.tanh([0.0, 100.0])
    Tensor([0., 1.])
    """
    return np.tanh(as_tensor(x))  # type: ignore[return-value]


@primitive
def logistic(x: Value) -> Value:
    """Compute ``1 / (1 + exp(-x))``, or ``exp(x) / (1 + exp(x))``: the one that cannot overflow."""
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


# 1 - sigmoid(x) is sigmoid(-x), which keeps its digits where it is small.
defvjp(logistic, lambda g, out, x: g * out * logistic(-x))


@primitive
def log1p_exp(x: Value) -> Value:
    """Compute ``log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))``, which cannot overflow."""
    return np.clip(x, 0, np.inf) + np.log1p(np.exp(-np.abs(x)))  # many times faster than logaddexp


defvjp(log1p_exp, lambda g, out, x: g * logistic(x))


def sigmoid(x: ArrayLike) -> Tensor:
    """Return ``1 / (1 + exp(-x))``, the logistic function.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.sigmoid([-1000.0, 0.0, 1000.0])
    Tensor([0. , 0.5, 1. ])
    """
    return logistic(as_tensor(x))


def logsigmoid(x: ArrayLike) -> Tensor:
    """Return ``log(sigmoid(x))``, exact also where the sigmoid underflows.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.logsigmoid([-1000.0, 0.0])
    Tensor([-1.00000000e+03, -6.93147181e-01])
    """
    return -log1p_exp(-as_tensor(x))


@primitive
def bent_line(x: Value, beta: float, threshold: float) -> Value:
    """Compute `softplus`."""
    scaled = x * beta
    return np.where(np.greater(scaled, threshold), x, log1p_exp(scaled) / beta)


def bent_line_vjp(g: Value, out: Value, x: Value, beta: float, threshold: float) -> Value:
    """The sigmoid; 1 on the line."""
    scaled = x * beta
    return g * np.where(np.greater(scaled, threshold), 1, logistic(scaled))


defvjp(bent_line, bent_line_vjp)


def softplus(x: ArrayLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta x)) / beta``, a smooth `relu`.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    beta
        How sharp the bend is.
    threshold
        Where ``beta x`` is larger, the result is ``x`` itself, as in PyTorch. The exact function
        overflows nowhere: ``threshold=float("inf")`` gives it.

    Raises
    ------
    ValueError
        If `beta` is 0.

    References
    ----------
    Dugas, Bengio, Belisle, Nadeau, Garcia, "Incorporating Second-Order Functional Knowledge for
    Better Option Pricing", NIPS 2000.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.softplus([-1000.0, 0.0, 1000.0])
    Tensor([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    beta = layer_checks.not_zero("softplus's beta", beta)
    threshold = layer_checks.number("softplus's threshold", threshold)
    return bent_line(as_tensor(x), beta, threshold)


@primitive
def fraction_of_size(x: Value) -> Value:
    """Compute ``x / (1 + |x|)``; the largest numbers stand for infinities, whose ratio is nan."""
    return limited(x) / (1 + np.abs(limited(x)))


# Not by the quotient rule, whose difference would cancel, nor by the square, which may overflow.
defvjp(fraction_of_size, lambda g, out, x: g / (1 + np.abs(x)) / (1 + np.abs(x)))


def softsign(x: ArrayLike) -> Tensor:
    """Return ``x / (1 + |x|)``, which goes to -1 and 1 more slowly than `tanh`.

    The second derivative, which jumps at 0, is 0 there.

    References
    ----------
    Bergstra, Desjardins, Lamblin, Bengio, "Quadratic Polynomials Learn Better Image Features"
    (2009).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.softsign([-1.0, 0.0, 3.0])
    Tensor([-0.5 ,  0.  ,  0.75])
    """
    return fraction_of_size(as_tensor(x))


# ------------------------------------------------------------- units times their own sigmoid


def limited(x: Value) -> Value:
    """Replace infinities by the largest numbers: their product with 0 is 0."""
    largest = np.finfo(x.dtype).max
    return np.clip(x, -largest, largest)


def gated(x: Value, gate: Value) -> Value:
    """Multiply; the limit at minus infinity, where the gate is closed, is 0."""
    return np.maximum(x, -np.finfo(x.dtype).max) * gate


@primitive
def swish(x: Value) -> Value:
    """Compute ``x sigmoid(x)``."""
    return gated(x, logistic(x))


defvjp(swish, lambda g, out, x: g * (logistic(x) * (1 + limited(x) * logistic(-x))))


def silu(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Return ``x sigmoid(x)``, also called swish.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415 (2016), where it has
    this name; Ramachandran, Zoph, Le, "Searching for Activation Functions", arXiv:1710.05941
    (2017).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.silu([-1.0, 0.0, 1.0])
    Tensor([-0.26894142,  0.        ,  0.73105858])
    """
    layer_checks.refuse_inplace("silu", inplace)
    return swish(as_tensor(x))


@layer_checks.with_pytorchs_words
def glu(x: ArrayLike, dim: int = -1) -> Tensor:
    """Return ``a sigmoid(b)`` of the halves ``a`` and ``b`` of an axis: a gated linear unit.

    Parameters
    ----------
    x
        Tensor or array of a float dtype.
    dim
        The axis, whose length is even.

    Raises
    ------
    TypeError, ValueError
        If there is no such axis, or its length is odd.

    References
    ----------
    Dauphin, Fan, Auli, Grangier, "Language Modeling with Gated Convolutional Networks", ICML 2017.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.glu([3.0, 4.0, 0.0, 1000.0])
    Tensor([1.5, 4. ])
    """
    x = as_tensor(x)
    layer_checks.check_halves(x._array.shape, dim)
    a, b = np.split(x, 2, axis=dim)
    return a * logistic(b)


@primitive
def mish_unit(x: Value) -> Value:
    """Compute ``x tanh(softplus(x))``.

    With ``s = sigmoid(x)`` and ``c = sigmoid(-x)``, the hyperbolic tangent is
    ``s (1 + c) / (1 + c^2)``, and its derivative ``4 s c^2 / (1 + c^2)^2``.
    """
    c = logistic(-x)
    return gated(x, logistic(x) * (1 + c) / (1 + c * c))


def mish_vjp(g: Value, out: Value, x: Value) -> Value:
    """The product rule."""
    s, c = logistic(x), logistic(-x)
    more = 1 + c * c
    return g * (s * ((1 + c) / more + limited(x) * (4 * c * c / (more * more))))


defvjp(mish_unit, mish_vjp)


def mish(x: ArrayLike, inplace: bool = False) -> Tensor:
    """Return ``x tanh(softplus(x))``.

    References
    ----------
    Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", BMVC 2020.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.mish([-1.0, 0.0, 1.0])
    Tensor([-0.30340146,  0.        ,  0.86509839])
    """
    layer_checks.refuse_inplace("mish", inplace)
    return mish_unit(as_tensor(x))


def unit_and_slope(x: Array) -> tuple[Array, Array]:
    """Return ``x Phi(x) = max(x, 0) - |x| Phi(-|x|)`` and ``Phi(x) + x phi(x)``.

    Far from 0, the tail and the density phi are 0. The square is rounded: of what is small, the
    last ``x^2 / 2`` units are lost.
    """
    near = np.clip(x, -reach(x.dtype), reach(x.dtype))
    height = np.exp(np.square(near) * -0.5)
    distance = np.abs(near)
    share = tail(distance, height)
    unit = np.clip(x, 0, np.inf)  # the maximum with a number takes longer
    distance *= share
    unit -= distance
    slope = cdf_of(x, share)
    height *= near
    height *= 1 / math.sqrt(2 * math.pi)
    slope += height
    return unit, slope


@primitive
def gaussian_unit(x: Value, unit: Array, slope: Array) -> Value:
    """Return ``x Phi(x)``; it is given as a constant, with the slope for the backward pass."""
    return unit


def gaussian_unit_vjp(g: Value, out: Value, x: Value, unit: Array, slope: Array) -> Value:
    """Multiply by the slope."""
    if isinstance(x, Tensor):  # to be differentiated again, for which constants will not do
        near = np.clip(x, -reach(x.dtype), reach(x.dtype))
        return g * (normal_cdf(x) + near * normal_density(near))
    return g * slope


defvjp(gaussian_unit, gaussian_unit_vjp)

#: In the approximate GELU: ``Phi(x)`` is about ``sigmoid(2 SLOPE (x + CUBIC x^3))``.
SLOPE, CUBIC = math.sqrt(2 / math.pi), 0.044715


@primitive
def tanh_unit(x: Value) -> Value:
    """Compute ``x / 2 (1 + tanh(u))``, which is ``x sigmoid(2 u)``."""
    near = np.clip(x, -reach(x.dtype), reach(x.dtype))
    return gated(x, logistic(near * (2 * SLOPE + 2 * SLOPE * CUBIC * np.square(near))))


def tanh_unit_vjp(g: Value, out: Value, x: Value) -> Value:
    """The product rule; ``sigmoid' = sigmoid(u) sigmoid(-u)``."""
    near = np.clip(x, -reach(x.dtype), reach(x.dtype))
    square = np.square(near)
    u = near * (2 * SLOPE + 2 * SLOPE * CUBIC * square)
    slope = 2 * SLOPE + 6 * SLOPE * CUBIC * square
    return g * (logistic(u) * (1 + near * slope * logistic(-u)))


defvjp(tanh_unit, tanh_unit_vjp)


def gelu(x: ArrayLike, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """Return ``x Phi(x)``: each unit times the probability that a normal variable is below it.

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    approximate
        ``"none"``, or ``"tanh"``, as in GPT-2:
        ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    References
    ----------
    Hendrycks, Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415 (2016).

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.gelu([-1.0, 0.0, 1.0])
    Tensor([-0.15865525,  0.        ,  0.84134475])
    >>> F.gelu([-1.0, 0.0, 1.0], approximate="tanh")
    Tensor([-0.15880801,  0.        ,  0.84119199])
    """
    layer_checks.one_of("gelu's approximate", approximate, ("none", "tanh"))
    x = as_tensor(x)
    if approximate == "tanh":
        return tanh_unit(x)
    return gaussian_unit(x, *in_pieces(unit_and_slope, x._array))


# ------------------------------------------------------------------------------- modules


class Tanh(Module):
    """``tanh(x)``.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Tanh()([0.0, 100.0])
    Tensor([0., 1.])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return tanh(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``; see `functional.sigmoid`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Sigmoid()([0.0, 1000.0])
    Tensor([0.5, 1. ])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return sigmoid(x)


class Softsign(Module):
    """``x / (1 + |x|)``; see `functional.softsign`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Softsign()([-1.0, 0.0, 3.0])
    Tensor([-0.5 ,  0.  ,  0.75])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return softsign(x)


class LogSigmoid(Module):
    """``log(sigmoid(x))``; see `functional.logsigmoid`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.LogSigmoid()([-1000.0, 0.0])
    Tensor([-1.00000000e+03, -6.93147181e-01])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return logsigmoid(x)


class Softplus(Module):
    """``log(1 + exp(beta x)) / beta``; see `functional.softplus`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Softplus()
    Softplus(beta=1.0, threshold=20.0)
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = layer_checks.positive("Softplus's beta", beta)
        self.threshold = layer_checks.number("Softplus's threshold", threshold)

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return the options."""
        return f"beta={self.beta}, threshold={self.threshold}"


class SiLU(Activation):
    """``x sigmoid(x)``; see `functional.silu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.SiLU()([0.0, 1.0])
    Tensor([0.        , 0.73105858])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return silu(x)


class Mish(Activation):
    """``x tanh(softplus(x))``; see `functional.mish`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.Mish()([0.0, 1.0])
    Tensor([0.        , 0.86509839])
    """

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return mish(x)


class GLU(Module):
    """``a sigmoid(b)`` of the halves of an axis; see `functional.glu`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.GLU(dim=1)(np.ones((5, 6, 8))).shape
    (5, 3, 8)
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: ArrayLike) -> Tensor:
        """Let one half decide how much of the other passes."""
        return glu(x, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class GELU(Module):
    """``x Phi(x)``, exactly or by a tanh; see `functional.gelu`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.GELU()([0.0, 1.0])
    Tensor([0.        , 0.84134475])
    >>> nn.GELU(approximate="tanh")
    GELU(approximate='tanh')
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        layer_checks.one_of("GELU's approximate", approximate, ("none", "tanh"))
        self.approximate: Any = approximate

    def forward(self, x: ArrayLike) -> Tensor:
        """Apply it to each element."""
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the form."""
        return f"approximate={self.approximate!r}"
