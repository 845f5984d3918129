"""Maps with a bias that are linear in one input, `linear`, or in each of two, `bilinear`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..engine import defvjp, primitive, sum_of, wider
from ..kinds import ArrayLike, DTypeLike, Value
from ..random import generator
from ..tensor import Tensor
from ..vjps.rules import wide
from . import checks, layer_checks
from .inputs import as_tensor
from .module import Module, Parameter


@primitive
def affine(x: Value, weight: Value, bias: Value) -> Value:
    """Compute ``x W^T + b``."""
    out = product(x, weight.T)
    return out if bias is None else np.add(out, bias, out=out)


def product(x: Value, matrix: Value) -> Value:
    """Multiply rows by a matrix: all rows at once, as a stack of small products takes longer."""
    if x.ndim < 3:
        return np.dot(x, matrix)
    return np.reshape(np.dot(rows(x), matrix), (*x.shape[:-1], matrix.shape[-1]))


def rows(x: Value) -> Value:
    """Flatten all axes but the last into one: the rows of a batch."""
    return x if x.ndim == 2 else np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def affine_vjp(
    g: Value, out: Value, needed: Sequence[bool], x: Value, weight: Value, bias: Value
) -> tuple[Value, ...]:
    """Bias and weight take part in every row of the batch: hence their sums over the rows."""
    g_rows = rows(g)
    return (
        product(g, weight) if needed[0] else None,
        np.dot(g_rows.T, rows(x)) if needed[1] else None,
        sum_of(g_rows, axis=0, dtype=wider(g.dtype, len(g_rows))) if needed[2] else None,
    )


defvjp(affine, joint=affine_vjp)


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike = None) -> Tensor:
    """Apply the affine map ``x W^T + b`` to the last axis of `x`.

    Parameters
    ----------
    x
        Tensor or array of shape ``(..., in_features)``; it is cast to the dtype of `weight`.
    weight
        Tensor or array of shape ``(out_features, in_features)``.
    bias
        Tensor or array of shape ``(out_features,)``, or None.

    Returns
    -------
    Tensor
        Of shape ``(..., out_features)`` and the dtype of `weight`.

    Raises
    ------
    TypeError
        If an argument is not of a float dtype.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> F.linear([[1.0, 2.0]], Tensor([[3.0, 4.0]]), Tensor([0.5]))
    Tensor([[11.5]])
    """
    weight = as_tensor(weight)
    dtype = weight._array.dtype
    x = as_tensor(x, dtype)
    bias = None if bias is None else as_tensor(bias, dtype)
    checks.check_linear(x, weight, bias)
    return affine(x, weight, bias)


def bilinear(x1: ArrayLike, x2: ArrayLike, weight: ArrayLike, bias: ArrayLike = None) -> Tensor:
    """Apply ``x1^T W[o] x2 + b[o]`` to the last axes of two inputs, for each output ``o``.

    Parameters
    ----------
    x1, x2
        Tensors or arrays of shapes ``(..., in1_features)`` and ``(..., in2_features)``; they are
        cast to the dtype of `weight`.
    weight
        Tensor or array of shape ``(out_features, in1_features, in2_features)``.
    bias
        Tensor or array of shape ``(out_features,)``, or None.

    Returns
    -------
    Tensor
        Of shape ``(..., out_features)`` and the dtype of `weight`.

    Raises
    ------
    TypeError
        If an argument is not of a float dtype.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.bilinear([1.0, 2.0], [3.0], [[[1.0], [10.0]]], [0.5])
    Tensor([63.5])
    """
    weight = as_tensor(weight)
    dtype = weight._array.dtype
    x1, x2 = as_tensor(x1, dtype), as_tensor(x2, dtype)
    bias = None if bias is None else as_tensor(bias, dtype)
    shape = weight._array.shape
    of_bias = None if bias is None else bias._array.shape
    layer_checks.check_bilinear(x1._array.shape, x2._array.shape, shape, of_bias)
    out_features, in1_features, in2_features = shape
    first = np.moveaxis(wide(weight), 1, 0).reshape(in1_features, out_features * in2_features)
    maps = np.reshape(wide(x1) @ first, (*x1._array.shape[:-1], out_features, in2_features))
    out = np.squeeze(maps @ np.expand_dims(wide(x2), -1), -1)
    out = out if bias is None else out + bias
    return out.astype(dtype) if out.dtype != dtype else out


class Linear(Module):
    """The affine map ``x W^T + b`` on the last axis.

    Weight and bias are drawn uniformly from ``[-k, k]`` with ``k = 1 / sqrt(in_features)``, as
    PyTorch does: its Kaiming-uniform rule with slope ``a = sqrt(5)`` amounts to that.

    Parameters
    ----------
    in_features, out_features
        Lengths of the last axis of input and output, at least 1.
    bias
        Whether there is a ``b``.
    dtype
        Floating dtype of the parameters; the input is cast to it.
    rng
        Draws the initial values; the library's generator by default.

    Attributes
    ----------
    weight
        Parameter of shape ``(out_features, in_features)``.
    bias
        Parameter of shape ``(out_features,)``, or None.

    Raises
    ------
    TypeError, ValueError
        When made with lengths that are not integers from 1, or called with another input width
        or an input that is not of a float dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        in_features, out_features = checks.features("Linear", in_features, out_features)
        checks.check_bias("Linear", bias)
        rng = generator(rng)
        bound = 1 / np.sqrt(in_features)
        self.weight = Parameter(
            rng.uniform(-bound, bound, (out_features, in_features)), dtype=dtype
        )
        self.bias = (
            Parameter(rng.uniform(-bound, bound, out_features), dtype=dtype) if bias else None
        )

    def forward(self, x: ArrayLike) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        out_features, in_features = self.weight.shape
        return (
            f"in_features={in_features}, out_features={out_features}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """A map that is linear in each of two inputs; see `functional.bilinear`.

    Weight and bias are drawn uniformly from ``[-k, k]`` with ``k = 1 / sqrt(in1_features)``, as
    PyTorch does.

    Parameters
    ----------
    in1_features, in2_features, out_features
        Lengths of the last axes of inputs and output, at least 1.
    bias, dtype, rng
        As in `Linear`.

    Attributes
    ----------
    weight
        Parameter of shape ``(out_features, in1_features, in2_features)``.
    bias
        Parameter of shape ``(out_features,)``, or None.

    Raises
    ------
    TypeError, ValueError
        When made with lengths that are not integers from 1, or called with others.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Bilinear(3, 4, 2)(np.ones((5, 3)), np.ones((5, 4))).shape
    (5, 2)
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        first = checks.integer("Bilinear's in1_features", in1_features, 1)
        second = checks.integer("Bilinear's in2_features", in2_features, 1)
        outputs = checks.integer("Bilinear's out_features", out_features, 1)
        checks.check_bias("Bilinear", bias)
        rng = generator(rng)
        bound = 1 / math.sqrt(first)
        self.weight = Parameter(rng.uniform(-bound, bound, (outputs, first, second)), dtype=dtype)
        self.bias = Parameter(rng.uniform(-bound, bound, outputs), dtype=dtype) if bias else None

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        """Map ``(..., in1_features)`` and ``(..., in2_features)`` to ``(..., out_features)``."""
        return bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes."""
        outputs, first, second = self.weight.shape
        return (
            f"in1_features={first}, in2_features={second}, out_features={outputs}, "
            f"bias={self.bias is not None}"
        )
