"""Initial values of the weights of a net, so that signals neither die nor explode.

If the inputs of a unit have variance 1 and its n weights variance v, its sum has variance n v. So
the weights get ``v = gain^2 / n``, where the gain makes up for what the activation loses, and
n is the number of inputs (`fan_in`), of outputs (`fan_out`), or the mean of both.

Each function fills a parameter in place, outside of any graph, and returns it.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..kinds import Array
from ..random import generator as generator_of
from ..tensor import Tensor
from . import init_checks
from .normal import normal_cdf

Generator = np.random.Generator | None


def fill(tensor: Tensor, values: Any) -> Tensor:
    """Put new values into a parameter; graphs that have used the old ones are out of date."""
    tensor.data = np.broadcast_to(values, tensor.shape).astype(tensor.dtype)
    return tensor


# ------------------------------------------------------------------------------- constants


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one number.

    Parameters
    ----------
    tensor
        A parameter, or another tensor that was not computed, of a float dtype.
    val
        The number.

    Raises
    ------
    TypeError
        If it is not such a tensor.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.init.constant_(nn.Linear(1, 2).bias, 0.5)
    Tensor([0.5, 0.5], dtype=float32, requires_grad=True)
    """
    init_checks.check_is_leaf(tensor)
    return fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones; see `constant_`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.init.ones_(nn.Linear(1, 2).bias)
    Tensor([1., 1.], dtype=float32, requires_grad=True)
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros; see `constant_`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.init.zeros_(nn.Linear(1, 2).bias)
    Tensor([0., 0.], dtype=float32, requires_grad=True)
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Make a matrix the identity, as far as it goes.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.init.eye_(nn.Linear(3, 2).weight)
    Tensor([[1., 0., 0.],
            [0., 1., 0.]], dtype=float32, requires_grad=True)
    """
    init_checks.check_is_matrix("eye_", tensor)
    return fill(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Let a convolution pass its channels on: each kernel is 1 at its middle for its own channel.

    Parameters
    ----------
    tensor
        The weight of a convolution, of shape ``(out_channels, in_channels / groups, ...)``.
    groups
        The groups of the convolution.

    Raises
    ------
    ValueError
        If it does not have 3 to 5 axes, or the groups do not divide its channels.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.init.dirac_(nn.Parameter(np.ones((1, 2, 3))))
    Tensor([[[0., 1., 0.],
             [0., 0., 0.]]], requires_grad=True)
    """
    init_checks.check_is_convolution(tensor, groups)
    values = np.zeros(tensor.shape)
    middle = tuple(length // 2 for length in tensor.shape[2:])
    out_channels = tensor.shape[0] // groups
    for group in range(groups):
        for channel in range(min(out_channels, tensor.shape[1])):
            values[(group * out_channels + channel, channel, *middle)] = 1
    return fill(tensor, values)


# ------------------------------------------------------------------------- distributions


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator = None) -> Tensor:
    """Draw from the uniform distribution on ``[a, b)``.

    Parameters
    ----------
    tensor
        A parameter, or another tensor that was not computed, of a float dtype.
    a, b
        The bounds.
    generator
        Draws the values; the library's generator by default.

    Raises
    ------
    TypeError
        If it is not such a tensor.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> weight = nn.Parameter(np.zeros((2, 2)))
    >>> nn.init.uniform_(weight, -1, 1, generator=np.random.default_rng(0))
    Tensor([[ 0.27392337, -0.46042657],
            [-0.91805295, -0.96694473]], requires_grad=True)
    """
    init_checks.check_is_leaf(tensor)
    return fill(tensor, generator_of(generator).uniform(a, b, tensor.shape))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator = None
) -> Tensor:
    """Draw from the normal distribution; the other parameters are those of `uniform_`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> weight = nn.init.normal_(nn.Parameter(np.zeros((100, 100))), std=0.02)
    >>> f"{weight.data.std():.2f}"
    '0.02'
    """
    init_checks.check_is_leaf(tensor)
    return fill(tensor, generator_of(generator).normal(mean, std, tensor.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator = None,
) -> Tensor:
    """Draw from the normal distribution on ``[a, b]``: values outside are drawn again.

    Parameters
    ----------
    tensor, generator
        As in `uniform_`.
    mean, std
        Of the whole distribution.
    a, b
        The bounds. They are values, not numbers of standard deviations.

    Raises
    ------
    ValueError
        If ``a < b`` does not hold, or `std` is not positive.

    References
    ----------
    Robert, "Simulation of truncated normal variables", Statistics and Computing 5 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> weight = nn.init.trunc_normal_(nn.Parameter(np.zeros((100, 100))), a=-1, b=1)
    >>> bool(abs(weight.data).max() <= 1)
    True
    """
    init_checks.check_is_leaf(tensor)
    init_checks.check_truncation(std, a, b)
    rng = generator_of(generator)
    low, high = (a - mean) / std, (b - mean) / std
    values = np.full(tensor.size, np.nan)
    while (missing := np.flatnonzero(np.isnan(values))).size:
        values[missing] = normal_between(low, high, missing.size, rng)
    return fill(tensor, np.reshape(mean + std * values, tensor.shape))


def normal_between(low: float, high: float, size: int, rng: np.random.Generator) -> Array:
    """Draw standard normal numbers between two bounds; nan for those that were rejected."""
    inside = float(normal_cdf(np.array(high)) - normal_cdf(np.array(low)))
    if inside > 0.1:
        draws = rng.standard_normal(size)
        return np.where((low <= draws) & (draws <= high), draws, np.nan)
    # Few would fall within the bounds. Draw uniformly, and keep each with its density relative to
    # the mode's; ten decay lengths from the mode, nothing is left.
    mode = min(max(low, 0.0), high)
    reach = 40 / max(abs(mode), 1)
    draws = rng.uniform(max(low, mode - reach), min(high, mode + reach), size)
    return np.where(rng.random(size) < np.exp((mode**2 - draws**2) / 2), draws, np.nan)


# ------------------------------------------------------------------------ fans and gains


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights make up for an activation.

    Parameters
    ----------
    nonlinearity
        ``"linear"``, ``"conv1d"`` and the like, ``"sigmoid"``: 1. ``"tanh"``: 5/3. ``"relu"``: the
        root of 2. ``"leaky_relu"``: the root of ``2 / (1 + slope^2)``. ``"selu"``: 3/4.
    param
        The slope of ``"leaky_relu"``, 0.01 by default.

    Raises
    ------
    ValueError
        If it is another name.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    init_checks.check_nonlinearity(nonlinearity)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else init_checks.slope(param)
        return math.sqrt(2 / (1 + slope**2))
    return {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}.get(nonlinearity, 1.0)


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs a unit has, and how many units an input goes to."""
    init_checks.check_has_fans(tensor)
    positions = math.prod(tensor.shape[2:])  # of a convolution's kernel
    return tensor.shape[1] * positions, tensor.shape[0] * positions


def xavier_std(tensor: Tensor, gain: float) -> float:
    """Return the standard deviation ``gain sqrt(2 / (fan_in + fan_out))``."""
    return gain * math.sqrt(2 / sum(fans(tensor)))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Draw uniformly from ``[-c, c]`` with ``c = gain sqrt(6 / (fan_in + fan_out))``.

    Parameters
    ----------
    tensor
        A weight of at least two axes, ``(outputs, inputs, ...)``.
    gain
        See `calculate_gain`.
    generator
        Draws the values; the library's generator by default.

    Raises
    ------
    ValueError
        If the weight has fewer axes.

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.

    Examples
    --------
    >>> from microgrand import nn
    >>> weight = nn.init.xavier_uniform_(nn.Linear(50, 100).weight)
    >>> bool(abs(weight.data).max() <= 0.2)
    True
    """
    bound = math.sqrt(3) * xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Draw normally with deviation ``gain sqrt(2 / (fan_in + fan_out))``; see `xavier_uniform_`.

    Examples
    --------
    >>> from microgrand import nn
    >>> weight = nn.init.xavier_normal_(nn.Linear(100, 100).weight)
    >>> f"{weight.data.std():.1f}"
    '0.1'
    """
    return normal_(tensor, 0.0, xavier_std(tensor, gain), generator)


Mode = Literal["fan_in", "fan_out"]


def kaiming_std(tensor: Tensor, a: float, mode: Mode, nonlinearity: str) -> float:
    """Return the standard deviation ``gain / sqrt(fan)``."""
    init_checks.check_mode(mode)
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Draw uniformly from ``[-c, c]`` with ``c = gain sqrt(3 / fan)``.

    Parameters
    ----------
    tensor
        A weight of at least two axes, ``(outputs, inputs, ...)``.
    a
        The slope of a leaky ReLU after it.
    mode
        ``"fan_in"`` keeps the variance of the outputs, ``"fan_out"`` that of the gradients.
    nonlinearity
        What comes after it; see `calculate_gain`.
    generator
        Draws the values; the library's generator by default.

    Raises
    ------
    ValueError
        If the weight has fewer axes, or a name is unknown.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015.

    Examples
    --------
    >>> from microgrand import nn
    >>> layer = nn.Linear(100, 50)
    >>> weight = nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    >>> bool(abs(weight.data).max() <= (2 * 3 / 100) ** 0.5)
    True
    """
    bound = math.sqrt(3) * kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: Mode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator = None,
) -> Tensor:
    """Draw normally with deviation ``gain / sqrt(fan)``; see `kaiming_uniform_`.

    Examples
    --------
    >>> from microgrand import nn
    >>> weight = nn.init.kaiming_normal_(nn.Linear(200, 100).weight, nonlinearity="relu")
    >>> f"{weight.data.std():.1f}"
    '0.1'
    """
    return normal_(tensor, 0.0, kaiming_std(tensor, a, mode, nonlinearity), generator)


# ------------------------------------------------------------------------------- matrices


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator = None) -> Tensor:
    """Make the rows, or the columns if these are fewer, orthogonal and of length `gain`.

    Parameters
    ----------
    tensor
        A weight of at least two axes; all but the first count as one.
    gain
        A factor; see `calculate_gain`.
    generator
        Draws the values; the library's generator by default.

    Raises
    ------
    ValueError
        If the weight has fewer axes.

    References
    ----------
    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> weight = nn.init.orthogonal_(nn.Parameter(np.zeros((2, 5)))).data
    >>> np.allclose(weight @ weight.T, np.eye(2))
    True
    """
    init_checks.check_has_fans(tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draws = generator_of(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draws)
    q = q * np.sign(np.diagonal(r))  # else q would not be uniform among such matrices
    return fill(tensor, gain * np.reshape(q if rows >= columns else q.T, tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator = None
) -> Tensor:
    """Draw a matrix normally, and zero the same number of elements in each column.

    Parameters
    ----------
    tensor
        A matrix.
    sparsity
        The share of each column to be zero, rounded up.
    std
        The standard deviation of the others.
    generator
        Draws the values; the library's generator by default.

    Raises
    ------
    ValueError
        If it is not a matrix, or `sparsity` is not from 0 to 1.

    References
    ----------
    Martens, "Deep learning via Hessian-free optimization", ICML 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> weight = nn.init.sparse_(nn.Parameter(np.ones((4, 3))), sparsity=0.5)
    >>> np.count_nonzero(weight.data, axis=0)
    array([2, 2, 2])
    """
    init_checks.check_is_matrix("sparse_", tensor)
    init_checks.check_sparsity(sparsity)
    rng = generator_of(generator)
    rows, columns = tensor.shape
    values = rng.normal(0.0, std, (rows, columns))
    order = np.argsort(rng.random((rows, columns)), axis=0)
    values[order < math.ceil(sparsity * rows)] = 0
    return fill(tensor, values)
