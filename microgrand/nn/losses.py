"""Losses: cross entropy and squared error, as functions and as modules."""

from __future__ import annotations

import numpy as np

from ..dispatch import as_array, unwrap
from ..engine import defvjp, primitive, wider
from ..kinds import Array, ArrayLike, Mask, Value
from ..tensor import Tensor
from ..vjps.rules import wide
from . import checks
from .activations import log_softmax
from .inputs import as_tensor
from .module import Module


@primitive
def mean_cross_entropy(logits: Value, one_hot: Mask, log_probabilities: Array) -> Value:
    """Average ``-log softmax(logits)`` over the rows, at the element where `one_hot` is True.

    The logarithms are given as a constant, as the backward pass needs them, too.
    """
    picked = log_probabilities[one_hot]
    total = np.add.reduce(picked, dtype=wider(picked.dtype, len(picked)))
    return (-total / len(one_hot)).astype(picked.dtype)


def mean_cross_entropy_vjp(
    g: Value, out: Value, logits: Value, one_hot: Mask, log_probabilities: Array
) -> Value:
    """Return the well-known ``(softmax - one_hot) / n``."""
    if isinstance(logits, Tensor):  # to be differentiated again, for which constants will not do
        log_probabilities = log_softmax(logits)
    return (np.exp(log_probabilities) - one_hot) * (wide(g) / len(one_hot))


defvjp(mean_cross_entropy, mean_cross_entropy_vjp)


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Tensor:
    """Average over a batch of ``-log softmax(logits)[label]``.

    Parameters
    ----------
    logits
        Tensor of shape ``(n, classes)``, unnormalised; any finite values.
    labels
        Integers from 0 to ``classes - 1``, an array or tensor of shape ``(n,)``.

    Returns
    -------
    Tensor
        0-d.

    Raises
    ------
    TypeError
        If the logits are not floats, or the labels not integers.
    ValueError
        If the shapes do not fit, or a label is not a class.

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> f"{F.cross_entropy(Tensor([[0.0, 0.0], [1000.0, 0.0]]), [0, 0]):.4f}"
    '0.3466'
    """
    labels = as_array(unwrap(labels))
    checks.check_label_dtype(labels)
    logits = as_tensor(logits)
    checks.check_labels(logits._array, labels)
    one_hot = np.equal(labels[:, None], np.arange(logits._array.shape[1]))
    checks.check_classes(labels, one_hot)
    return mean_cross_entropy(logits, one_hot, log_softmax(logits._array))  # type: ignore[no-any-return]


def mse_loss(prediction: ArrayLike, target: ArrayLike) -> Tensor:
    """Average the squared difference over all elements.

    Parameters
    ----------
    prediction
        Tensor or array of a float dtype, which the result has, too.
    target
        Real numbers of the same shape.

    Returns
    -------
    Tensor
        0-d.

    Raises
    ------
    TypeError
        If the prediction is not of a float dtype, or the target not of real numbers.
    ValueError
        If the shapes differ. Broadcasting ``(n, 1)`` against ``(n,)`` would compare each
        prediction with every target.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.mse_loss([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """
    prediction = as_tensor(prediction)
    target = as_tensor(target, prediction.dtype, kinds="fiub")
    checks.check_same_shape(prediction, target)
    return np.mean(np.square(prediction - target))  # type: ignore[no-any-return]


class CrossEntropyLoss(Module):
    """Average of ``-log softmax(logits)[label]``; see `functional.cross_entropy`.

    Examples
    --------
    >>> from microgrand import nn
    >>> loss = nn.CrossEntropyLoss()
    >>> f"{loss([[0.0, 0.0], [1000.0, 0.0]], [0, 0]):.4f}"
    '0.3466'
    """

    def forward(self, logits: ArrayLike, labels: ArrayLike) -> Tensor:
        """Compare logits ``(n, classes)`` with integer labels ``(n,)``."""
        return cross_entropy(logits, labels)


class MSELoss(Module):
    """Average squared difference; see `functional.mse_loss`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.MSELoss()([1.0, 2.0], [1.0, 4.0])
    Tensor(2.)
    """

    def forward(self, prediction: ArrayLike, target: ArrayLike) -> Tensor:
        """Compare a prediction with a target of the same shape."""
        return mse_loss(prediction, target)
