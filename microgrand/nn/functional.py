"""What the layers and losses compute, as functions of their inputs and parameters.

Each that is a primitive is computed in one step, with its derivative beside it.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..engine import MANY, accumulator, apply, defvjp, primitive, record
from ..masks import apply_mask, in_order_of, positive_mask, random_mask
from ..tensor import Tensor
from .dropout_masks import draw_mask


def as_tensor(x: Any, dtype: Any = None, kinds: str = "f") -> Any:
    """Make `x` a tensor of a dtype whose kind is allowed, and convert it to `dtype` if given."""
    if not isinstance(x, Tensor):
        x = Tensor(x)
    given = x.value.dtype
    if given is dtype:  # most calls end here
        return x
    if given.kind not in kinds:
        raise TypeError(
            f"expected floating-point numbers, got dtype {given}; convert an array of other "
            "numbers with x.astype(np.float32)"
        )
    if dtype is not None and given != dtype:
        x = x.astype(dtype)
    return x


# ------------------------------------------------------------------------------- linear


@primitive
def affine(x: Any, weight: Any, bias: Any) -> Any:
    """Compute ``x W^T + b``."""
    out = times(x, weight.T)
    if bias is not None:
        out += bias
    return out


def times(x: Any, matrix: Any) -> Any:
    """Multiply each row of `x` by `matrix`.

    Where the result has many more columns than rows, it is computed, and laid out in memory, as the
    transpose of ``matrix^T x^T``. For ``x W^T`` with a weight of 1024x1024, that takes an eighth
    less time for a batch of 128, and half for one of 8, but not less for one of 1024. The price is
    that a softmax over many classes has to lay them out by rows again.
    """
    if x.ndim != 2 or isinstance(x, Tensor) or isinstance(matrix, Tensor):
        return x @ matrix
    if 4 * len(x) <= matrix.shape[1] and len(x) <= 512:
        return matrix.T.dot(x.T).T
    return x.dot(matrix)


def product(x: Any, y: Any) -> Any:
    """Multiply matrices: arrays by ``dot``, which takes 0.5 us for small ones, ``@`` 1.1."""
    return x @ y if isinstance(x, Tensor) or isinstance(y, Tensor) else x.dot(y)


def rows(x: Any) -> Any:
    """Flatten all axes but the last into one: the rows of a batch."""
    return x if x.ndim == 2 else np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))


def sum_of_rows(x: Any) -> Any:
    """Sum over the first axis: of a few rows by a product with ones, which is faster."""
    if len(x) > MANY or not isinstance(x, np.ndarray):
        return np.add.reduce(x, axis=0, dtype=accumulator(x, (0,)))
    ones = np.empty(len(x), x.dtype)
    ones.fill(1)
    return ones.dot(x)


def affine_vjp(g: Any, out: Any, needed: Any, x: Any, weight: Any, bias: Any) -> Any:
    """Bias and weight take part in every row of the batch: hence their sums over the rows."""
    g_rows = rows(g)
    return (
        times(g, weight) if needed[0] else None,
        product(g_rows.T, rows(x)) if needed[1] else None,
        sum_of_rows(g_rows) if needed[2] else None,
    )


defvjp(affine, joint=affine_vjp, new_arrays=True)


@primitive
def masked_affine(x: Any, weight: Any, bias: Any, mask: Any, scale: float) -> Any:
    """Compute ``scale * mask * (x W^T + b)``: a layer of units with ReLU's and dropout's mask.

    It is recorded rather than called: as ReLU's mask depends on the units, `nn.Sequential` computes
    these first, and then has the value already.
    """
    return apply_mask(affine(x, weight, bias), mask, scale)


def masked_affine_vjp(
    g: Any, out: Any, needed: Any, x: Any, weight: Any, bias: Any, mask: Any, scale: float
) -> Any:
    """Go back through the mask, and then through the affine map."""
    masked = apply_mask if isinstance(g, Tensor) else apply_mask.undifferentiated  # 0.4 us less
    return *affine_vjp(masked(g, mask, scale), out, needed, x, weight, bias), None, None


defvjp(masked_affine, joint=masked_affine_vjp, new_arrays=True)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
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
        Of shape ``(..., out_features)`` and the dtype of `weight`. A batch of at most 512 rows, and
        at most a quarter as many rows as columns, is laid out by columns in memory (Fortran order),
        which saves time; code that needs it by rows takes ``np.ascontiguousarray(out.data)``.

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
    operands, value, version = linear_value(x, weight, bias)
    return record(affine, operands, value, version)


def linear_value(x: Any, weight: Any, bias: Any) -> tuple[tuple[Any, Any, Any], Any, int]:
    """Compute `linear` without recording it: the tensors it is computed from, value, version.

    Raises if the operands' dtypes or shapes do not fit. The version is the sum of the operands',
    as `record` wants it.
    """
    weight = as_tensor(weight)
    dtype, shape = weight.value.dtype, weight.value.shape
    if len(shape) != 2:
        raise ValueError(f"linear needs a weight of shape (out_features, in_features), got {shape}")
    x = as_tensor(x, dtype)
    if x.value.shape[-1:] != shape[1:]:
        raise ValueError(
            f"linear got an input of shape {x.shape} for a weight of shape {weight.shape}, which "
            f"is (out_features, in_features); the input's last axis must be {weight.shape[1]}"
        )
    version = x.version + weight.version
    bias_value = None
    if bias is not None:
        bias = as_tensor(bias, dtype)
        if bias.value.shape != shape[:1]:
            raise ValueError(
                f"linear got a bias of shape {bias.shape} for a weight of shape {weight.shape}, "
                f"which is (out_features, in_features); the bias must be of shape "
                f"{weight.shape[:1]}"
            )
        version += bias.version
        bias_value = bias.value
    return (x, weight, bias), affine.undifferentiated(x.value, weight.value, bias_value), version


# --------------------------------------------------------------------------------- relu


def relu(x: Any) -> Any:
    """Replace negative elements by zero; the derivative at zero is zero.

    A ``nan`` stays ``nan``.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.])
    """
    x = as_tensor(x)
    return apply_mask(x, positive_mask(x.value))


# ------------------------------------------------------------------------------- dropout


def dropout(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Zero each element with probability `p` in training, and scale the others by 1/(1-p).

    Parameters
    ----------
    x
        Tensor or array of any shape and float dtype.
    p
        Probability that an element is dropped, ``0 <= p <= 1``. Some texts give the probability
        of keeping one instead: ``p = 1 - keep_prob``.
    training
        If False, return `x` as it is.
    rng
        Draws the mask; the library's generator by default.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.dropout(np.ones(8), p=0.5, rng=np.random.default_rng(1))
    Tensor([0., 0., 2., 2., 0., 0., 2., 0.])
    """
    x = as_tensor(x)
    return drop_at_random(x, x.shape, p, training, rng)


def dropout1d(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Zero whole channels of ``(n, channels, length)`` or ``(channels, length)``.

    See `nn.Dropout1d`; the other parameters are those of `dropout`.
    """
    x = as_tensor(x)
    return drop_at_random(x, channel_shape(x.shape, 1), p, training, rng)


def dropout2d(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Zero whole channels of ``(n, channels, height, width)``.

    See `nn.Dropout2d`; the other parameters are those of `dropout`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.nn import functional as F
    >>> F.dropout2d(np.ones((1, 2, 2, 2)), rng=np.random.default_rng(0))
    Tensor([[[[2., 2.],
              [2., 2.]],
    <BLANKLINE>
             [[0., 0.],
              [0., 0.]]]])
    """
    x = as_tensor(x)
    return drop_at_random(x, channel_shape(x.shape, 2), p, training, rng)


def dropout3d(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Zero whole channels of ``(n, channels, depth, height, width)``, or without the ``n``.

    See `nn.Dropout3d`; the other parameters are those of `dropout`.
    """
    x = as_tensor(x)
    return drop_at_random(x, channel_shape(x.shape, 3), p, training, rng)


def alpha_dropout(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Replace elements by SELU's limit at minus infinity, and keep mean and variance.

    See `nn.AlphaDropout`; the parameters are those of `dropout`. In PyTorch, `training` is False
    by default here.
    """
    x = as_tensor(x)
    return drop_at_random(x, x.shape, p, training, rng, alpha_drop)


def feature_alpha_dropout(
    x: Any, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Any:
    """Do what `alpha_dropout` does to whole channels of ``(n, channels, ...)``."""
    x = as_tensor(x)
    return drop_at_random(x, feature_shape(x.shape), p, training, rng, alpha_drop)


def drop_at_random(
    x: Any,
    mask_shape: tuple[int, ...],
    p: Any,
    training: bool,
    rng: np.random.Generator | None,
    kind: Callable[[Any, Any, float], Any] | None = None,
) -> Any:
    """Apply one of the kinds of dropout below, `drop` by default, with a mask that is drawn."""
    p = drop_probability(p)
    if not isinstance(training, bool):
        raise TypeError(f"dropout's training is True or False, got {training!r}")
    mask = draw_mask(mask_shape, lambda shape, rng: random_mask(shape, 1 - p, rng), rng, training)
    return x if mask is None else (kind or drop)(x, mask, p)


def drop(x: Any, mask: Any, p: float) -> Any:
    """Apply a mask drawn with drop probability `p`, so that the expected value stays `x`."""
    # What calling apply_mask comes to, without its checks: 0.4 us less.
    return apply(apply_mask.undifferentiated, (x, in_order_of(x.value, mask), scale_of(p)))


def scale_of(p: float) -> float:
    """Return the factor of what is kept; with ``p = 1``, nothing is."""
    return 1 / (1 - p) if p < 1 else 1.0


#: The limit of ``selu(x)`` at minus infinity: minus its scale times its alpha.
SELU_LIMIT = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def alpha_drop(x: Any, mask: Any, p: float) -> Any:
    """Put `SELU_LIMIT` where `mask` is False, then map affinely to keep mean 0 and variance 1.

    With q = 1 - p and the limit L, that mixture has mean p L and variance q (1 + p L^2).
    """
    if p == 1:  # nothing is kept, and nothing varies
        return apply_mask(x, mask)
    q = 1 - p
    a = (q * (1 + p * SELU_LIMIT**2)) ** -0.5
    b = -a * p * SELU_LIMIT
    return apply_mask(x, mask, a) + np.where(mask, b, a * SELU_LIMIT + b).astype(x.dtype)


def channel_shape(shape: tuple[int, ...], spatial_axes: int) -> tuple[int, ...]:
    """Return the shape of a mask with one element for each channel of each example."""
    batched, single = spatial_axes + 2, spatial_axes + 1
    # (a, b, c) may be a batch of sequences as well as one image: that is not for us to guess.
    ambiguous = spatial_axes == 2
    if len(shape) != batched and (len(shape) != single or ambiguous):
        places = ("length", "height, width", "depth, height, width")[spatial_axes - 1]
        expected = f"(n, channels, {places})" + ("" if ambiguous else f" or (channels, {places})")
        mend = (
            "; give one image a batch axis, x[None], and a batch of sequences to dropout1d"
            if ambiguous and len(shape) == single
            else "; which axes share a mask is up to you in nn.Dropout(p, shared_axes=...)"
        )
        raise ValueError(
            f"dropout{spatial_axes}d got an input of shape {shape}, expected {expected}{mend}"
        )
    return shape[: len(shape) - spatial_axes] + (1,) * spatial_axes


def feature_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a mask with one element for each channel, whatever axes follow it."""
    if len(shape) < 2:
        raise ValueError(
            f"feature_alpha_dropout got an input of shape {shape}, expected (n, channels, ...)"
        )
    return shape[:2] + (1,) * (len(shape) - 2)


def drop_probability(p: Any) -> float:
    """Return `p` as a Python float, which changes no dtype, or raise if it is no probability."""
    is_number = isinstance(p, numbers.Real) and not isinstance(p, bool)
    if not is_number or not 0 <= p <= 1:
        raise (ValueError if is_number else TypeError)(
            f"dropout's p, the probability of dropping a unit, is a number from 0 to 1, got {p!r}; "
            "from a probability of keeping one, p = 1 - keep_prob"
        )
    return float(p)


# -------------------------------------------------------------------------------- losses


def subtract_max(x: Any, axis: int) -> Any:
    """Subtract the maximum along `axis`, so that ``exp`` of it cannot overflow."""
    largest = np.maximum.reduce(x, axis=axis, keepdims=True)
    if largest.dtype.kind != "f":
        raise TypeError(
            f"expected floating-point numbers, got dtype {largest.dtype}; convert an array of "
            "other numbers with x.astype(np.float32)"
        )
    # A difference too large for the dtype is -inf, and exp(-inf) is 0, as it should be.
    with np.errstate(over="ignore"):
        return x - largest


@primitive
def softmax(x: Any, axis: int = -1) -> Any:
    """Normalise ``exp(x)`` to sum 1 along `axis`, without overflow at any finite `x`.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    axis
        The axis of the classes.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.softmax(Tensor([0.0, 1000.0]))
    Tensor([0., 1.])
    """
    unnormalised = np.exp(subtract_max(x, axis))
    return unnormalised / np.add.reduce(unnormalised, axis=axis, keepdims=True)


# d s_i / d x_j = s_i (delta_ij - s_j)
defvjp(
    softmax,
    lambda g, out, x, axis=-1: out * (g - np.sum(g * out, axis=axis, keepdims=True)),
)


@primitive
def log_softmax(x: Any, axis: int = -1) -> Any:
    """Logarithm of `softmax`, exact also where that underflows to zero.

    Parameters
    ----------
    x
        Tensor of a float dtype, at least 1-d. An array gives an array.
    axis
        The axis of the classes.

    Raises
    ------
    TypeError
        If `x` is not of a float dtype.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.log_softmax(Tensor([0.0, 1000.0]))
    Tensor([-1000.,     0.])
    """
    shifted = subtract_max(x, axis)
    return shifted - np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True))


defvjp(
    log_softmax,
    lambda g, out, x, axis=-1: g - np.exp(out) * np.sum(g, axis=axis, keepdims=True),
)


@primitive
def mean_negative_log_likelihood(logits: Any, one_hot: Any, log_probabilities: Any) -> Any:
    """Average ``-log softmax(logits)`` over the rows, at the entry where `one_hot` is True.

    What the backward pass needs as well, ``log_softmax(logits)``, is given as a constant.
    """
    return -np.add.reduce(log_probabilities[one_hot]) / len(one_hot)


def mean_negative_log_likelihood_vjp(
    g: Any, out: Any, logits: Any, one_hot: Any, log_probabilities: Any
) -> Any:
    """Return the well-known ``(softmax - one_hot) / n``."""
    if isinstance(logits, Tensor):  # to be differentiated again, for which constants will not do
        log_probabilities = log_softmax(logits)
    return (np.exp(log_probabilities) - one_hot) * (g / len(one_hot))


defvjp(mean_negative_log_likelihood, mean_negative_log_likelihood_vjp)


def cross_entropy(logits: Any, labels: Any) -> Any:
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
    logits = as_tensor(logits)
    values = logits.value
    labels = labels.value if isinstance(labels, Tensor) else np.asarray(labels)
    if labels.dtype.kind not in "iu" and labels.size:  # the empty list has no dtype of its own
        raise TypeError(
            f"cross_entropy needs integer class labels, got dtype {labels.dtype}; convert them "
            "with labels.astype(int), or one-hot rows with labels.argmax(axis=1)"
        )
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise ValueError(
            "cross_entropy needs logits of shape (n, classes) and labels of shape (n,), got "
            f"{logits.shape} and {labels.shape}"
        )
    classes = values.shape[1]
    # With few classes laid out by columns, so that a sum over them adds columns and not numbers:
    # 8 instead of 11 us for 64x10. With many, by rows.
    version = logits.version
    few = classes < len(labels)
    order: Literal["C", "F"] = "F" if few else "C"
    if not (values.flags.f_contiguous if few else values.flags.c_contiguous):
        values = values.copy(order)
    one_hot = np.equal(labels[:, None], np.arange(classes), order=order)
    if np.count_nonzero(one_hot) != len(labels):
        wrong = labels[(labels < 0) | (labels >= classes)][0]
        raise ValueError(
            f"label {wrong} is not a class: logits of shape {logits.shape} have the classes "
            f"0 to {classes - 1}"
        )
    saved = log_softmax.undifferentiated(values)
    loss = mean_negative_log_likelihood.undifferentiated(values, one_hot, saved)
    return record(mean_negative_log_likelihood, (logits, one_hot, saved), loss, version)


def mse_loss(prediction: Any, target: Any) -> Any:
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
    if prediction.shape != target.shape:
        raise ValueError(
            f"mse_loss needs equal shapes, got a prediction of shape {prediction.shape} and a "
            f"target of shape {target.shape}; give one the other's shape with reshape"
        )
    return np.mean(np.square(prediction - target))
