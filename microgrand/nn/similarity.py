"""How far apart vectors are: lengths, angles and distances along an axis.

A norm is taken of vectors that were divided by a power of two near their largest element, which is
exact, so that no square overflows or vanishes. The derivative of a norm is 0 where it is 0.
"""

from __future__ import annotations

import numpy as np

from ..dispatch import data_of
from ..engine import defvjp, primitive
from ..kinds import Array, ArrayLike, Axis, Value
from ..tensor import Tensor
from ..vjps.norms import vector_norm_vjp
from ..vjps.rules import extreme, wide
from . import checks, layer_checks
from .inputs import as_tensor
from .module import Module


def in_units(x: Value, axis: Axis, least: float = 0.0) -> tuple[Value, Array]:
    """Return vectors in units near their largest element, but not less than `least`, and these."""
    largest = extreme(np.max, np.abs(data_of(x)), axis, default=0)
    _, exponent = np.frexp(largest)
    unit = np.maximum(np.ldexp(np.ones_like(largest), exponent - 1), least)
    return x / unit, unit


@primitive
def length(x: Value, p: float) -> Value:
    """Compute the norm along the last axis, which stays."""
    x, unit = in_units(x, -1)
    return np.linalg.norm(x, p, axis=-1, keepdims=True) * unit


defvjp(
    length,
    lambda g, out, x, p: vector_norm_vjp(g, out, x, axis=-1, keepdims=True, ord=p),
)


def normalized(x: Value, p: float, dim: int, eps: float) -> Value:
    """Divide vectors by their lengths, or by `eps`, in float32 if they are in float16."""
    x, unit = in_units(wide(x), dim, eps)
    return x / np.clip(np.linalg.norm(x, p, axis=dim, keepdims=True), eps / unit, None)


@layer_checks.with_pytorchs_words
def normalize(x: ArrayLike, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide vectors by their lengths: ``x / max(|x|_p, eps)``.

    Parameters
    ----------
    x
        Tensor or array of a float dtype.
    p
        The order of the norm, more than 0.
    dim
        The axis of the vectors.
    eps
        What shorter vectors are divided by: a constant, whose derivative is 0.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        If `x` is not of a float dtype, or there is no such axis.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.normalize([[3.0, 4.0], [0.0, 0.0], [1e300, 0.0]])
    Tensor([[0.6, 0.8],
            [0. , 0. ],
            [1. , 0. ]])
    """
    p = layer_checks.positive("normalize's p", p)
    eps = layer_checks.not_negative("normalize's eps", eps)
    x = as_tensor(x)
    layer_checks.check_dim("normalize", x._array.shape, dim)
    return normalized(x, p, dim, eps).astype(x.dtype)


@layer_checks.with_pytorchs_words
def cosine_similarity(x1: ArrayLike, x2: ArrayLike, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between vectors, ``x1 x2 / (max(|x1|, eps) max(|x2|, eps))``.

    Parameters
    ----------
    x1, x2
        Tensors or arrays of a float dtype, of shapes that broadcast; `x2` is cast to the dtype of
        `x1`.
    dim
        The axis of the vectors.
    eps
        What shorter lengths count as: a constant, whose derivative is 0. (PyTorch differentiates
        the length there, too.)

    Returns
    -------
    Tensor
        Of the shape of both without that axis.

    Raises
    ------
    TypeError, ValueError
        If an array is not of a float dtype, the shapes do not broadcast, or there is no such axis.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.cosine_similarity([[1.0, 0.0], [1.0, 1.0]], [[0.0, 2.0], [3.0, 3.0]])
    Tensor([0., 1.])
    """
    eps = layer_checks.not_negative("cosine_similarity's eps", eps)
    x1 = as_tensor(x1)
    x2 = as_tensor(x2, x1.dtype)
    shape = layer_checks.common_shape("cosine_similarity", x1._array.shape, x2._array.shape)
    layer_checks.check_dim("cosine_similarity", shape, dim)
    first, second = (normalized(np.broadcast_to(x, shape), 2, dim, eps) for x in (x1, x2))
    return np.sum(first * second, axis=dim).astype(x1.dtype)


@layer_checks.with_pytorchs_words
def pairwise_distance(
    x1: ArrayLike, x2: ArrayLike, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the distances of vectors along the last axis, ``|x1 - x2 + eps|_p``.

    Parameters
    ----------
    x1, x2
        Tensors or arrays of a float dtype, of shapes that broadcast; `x2` is cast to the dtype of
        `x1`.
    p
        The order of the norm, more than 0.
    eps
        Is added to each difference, so that equal vectors have a derivative other than 0.
    keepdim
        Whether the last axis stays, with length 1.

    Returns
    -------
    Tensor
        Of the shape of both without the last axis.

    Raises
    ------
    TypeError, ValueError
        If an array is not of a float dtype, or the shapes do not broadcast.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.pairwise_distance([[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]], eps=0.0)
    Tensor([5., 0.])
    """
    p = layer_checks.positive("pairwise_distance's p", p)
    eps = layer_checks.number("pairwise_distance's eps", eps)
    checks.check_flag("pairwise_distance's keepdim", keepdim)
    x1 = as_tensor(x1)
    x2 = as_tensor(x2, x1.dtype)
    shape = layer_checks.common_shape("pairwise_distance", x1._array.shape, x2._array.shape)
    layer_checks.check_dim("pairwise_distance", shape, -1)
    distances = length(wide(x1) - wide(x2) + eps, p)
    if not keepdim:
        distances = np.squeeze(distances, -1)
    return distances.astype(x1.dtype)


# ------------------------------------------------------------------------------- modules


class CosineSimilarity(Module):
    """The cosine of the angle between vectors; see `functional.cosine_similarity`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.CosineSimilarity()([[1.0, 1.0]], [[3.0, 3.0]])
    Tensor([1.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = dim
        self.eps = layer_checks.not_negative("CosineSimilarity's eps", eps)

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        """Compare vectors."""
        return cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The distances of vectors; see `functional.pairwise_distance`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.PairwiseDistance(p=1, eps=0.0)([[3.0, 4.0]], [[0.0, 0.0]])
    Tensor([7.])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p = layer_checks.positive("PairwiseDistance's p", p)
        self.eps = layer_checks.number("PairwiseDistance's eps", eps)
        checks.check_flag("PairwiseDistance's keepdim", keepdim)
        self.keepdim = keepdim

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        """Compare vectors."""
        return pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)
