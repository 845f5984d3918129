"""Constraints on parameters: the largest norm of a unit's incoming weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..kinds import Array
from ..tensor import Tensor
from ..traced import in_one_call, may_be
from ..vjps.rules import extreme
from . import checks


def project_max_norm(weights: Iterable[Tensor], max_norm: float) -> None:
    """Shorten each unit's incoming weights to a Euclidean norm of at most `max_norm`, in place.

    The max-norm constraint: after a step, a weight vector that has become too long is shortened to
    the nearest allowed one, which has the same direction. However large the learning rate, the
    weights cannot grow without bound (Srivastava et al. 2014, "Dropout: A Simple Way to
    Prevent Neural Networks from Overfitting", section 5.1; there, 3 to 4 was best for dropout
    nets on MNIST).

    Parameters
    ----------
    weights
        Tensors of shape ``(out, in)``, with a row for each unit, as `nn.Linear` has, or
        ``(out, ...)``, as for a convolution; leaves with ``requires_grad=True``. A bias is not
        among a unit's incoming weights.
    max_norm
        The largest norm allowed, at least 0. Vectors that are not longer stay as they are, to
        the last bit, and so do those that hold ``nan``.

    Raises
    ------
    TypeError
        If `weights` is not an iterable of tensors, or `max_norm` is not a number.
    ValueError
        If a tensor has no axis of incoming weights or cannot be changed, if a vector without
        ``nan`` holds an infinity, which has no nearest point, or `max_norm` is out of its range.
        Then nothing has been changed.

    Examples
    --------
    >>> from microgrand import nn
    >>> from microgrand.optim import project_max_norm
    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data[:] = [[3.0, 4.0], [0.6, 0.8]]  # of norm 5 and 1
    >>> project_max_norm([layer.weight], max_norm=2)
    >>> layer.weight.data
    array([[1.2, 1.6],
           [0.6, 0.8]], dtype=float32)
    """
    max_norm = checks.checked_number("max_norm", max_norm)
    weights = checks.checked_parameters(weights)
    for index, weight in enumerate(weights):
        checks.check_rows(index, weight)
    largest = [largest_in_rows(weight.data, index) for index, weight in enumerate(weights)]
    for weight, most in zip(weights, largest, strict=True):
        data, incoming = weight.data, tuple(range(1, weight.ndim))
        # In float64, with the largest of each row scaled to between 1/2 and 1: squares soon leave
        # the range of their dtype. A power of 2 rounds nothing.
        wide = np.result_type(data.dtype, np.float64)
        exponents = np.frexp(np.where(np.isnan(most), 0, most))[1]
        exponents = np.maximum(exponents, np.finfo(wide).minexp)  # or the scale would be infinite
        scale = np.ldexp(wide.type(1), -exponents)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            scaled = np.multiply(data, scale, dtype=wide)
            norms = np.sqrt(np.square(scaled).sum(axis=incoming, keepdims=True))
            too_long = norms > max_norm * scale
            if may_be(too_long.any()):
                scaled *= np.divide(max_norm, norms, out=np.ones_like(norms), where=too_long)
                weight.version += 1  # tells graphs that have saved the values
                data[...] = np.where(too_long, scaled, data)


@in_one_call
def largest_in_rows(data: Array, index: int) -> Array:
    """Return the largest absolute value of each row; raise if one is infinite."""
    incoming = tuple(range(1, data.ndim))
    largest: Array = extreme(np.max, np.abs(data), incoming, default=0)
    if np.isinf(largest).any():
        checks.refuse_infinite_norm(index)
    return largest
