"""Dropout and its relatives: layers that drop parts of a net at random, in training only.

All of them do the same three things. They draw a mask, True where something is kept:

    mask ~ Bernoulli(q),    q = 1 - p,    independently for each element and each call.

They apply it: what is dropped is exactly zero, and what is kept is scaled up to compensate, so that
the expected value is unchanged:

    out = mask * x / q,    E[out] = x.

And they apply the same mask on the way back, because what was dropped had no part in the loss:

    g_x = mask * g / q.

The relatives differ in what an element of the mask stands for: a unit, a channel, a whole time
series, a weight, a word, a branch of the net. In evaluation none of them drops anything; only
``scaling="classic"`` scales there, and not in training. Two relatives differ more:
`GaussianDropout` draws factors instead of a mask, and `AlphaDropout` puts a value other than zero
in a dropped unit's place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from ...grad_mode import is_grad_enabled
from ...kinds import ArrayLike, DTypeLike, Mask, Shape
from ...tensor import Tensor
from ...vjps.rules import as_array
from .. import checks
from ..checks import Checked
from ..inputs import as_tensor
from ..linear import Linear, linear
from ..module import Module
from ..piecewise import SELU_ALPHA, SELU_SCALE
from .masks import apply_mask, bernoulli_mask, mask_of_call, read_only


class DropoutBase(Module):
    """What all kinds of dropout share: a probability, a generator, the latest mask, and `forward`.

    A kind says what shape its masks have, how to draw one, and what it does to the input.

    Parameters
    ----------
    p
        Probability of dropping, ``0 <= p <= 1``.
    shared_axes
        Axes of the input along which all elements share one element of the mask.
    rng
        Draws the masks; the library's generator by default.
    """

    # `Checked` checks each value that is assigned, also after the layer is made.
    p: Any = Checked(checks.probability)
    rng: Any = Checked(checks.generator_or_none)
    mask: Mask | None = None
    not_state = ("mask",)  # an array that is not saved with the module

    def __init__(
        self,
        p: float = 0.5,
        *,
        shared_axes: int | Iterable[int] = (),
        rng: np.random.Generator | None = None,
    ) -> None:
        self.p = p
        self.shared_axes = checks.axes_of_a_mask(type(self).__name__, shared_axes)
        self.rng = rng

    def forward(self, x: ArrayLike) -> Tensor:
        """Drop in training."""
        x = as_tensor(x)
        mask = mask_of_call(self, self.mask_shape(x._array.shape))
        if mask is None:
            return self.evaluate(x)
        self.mask = mask  # for inspection only: each call's node keeps its own mask
        return self.drop(x, mask)

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask for an input of this shape."""
        lengths = list(shape)
        for axis in self.shared_axes:
            checks.check_axis(self, shape, axis)
            lengths[axis] = 1
        return tuple(lengths)

    def draw(self, shape: Shape, rng: np.random.Generator) -> Mask:
        """Draw a mask."""
        return bernoulli_mask(shape, 1 - self.p, rng)

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Zero what the mask drops, and scale the rest; with ``p = 1``, nothing is left."""
        return apply_mask(x, mask, 1 / (1 - self.p) if self.p < 1 else 1.0)

    def evaluate(self, x: Tensor) -> Tensor:
        """Return the input.

        Where nothing is recorded, return a copy of a leaf that is trained: an optimizer step would
        change the original.
        """
        is_trainable = x.is_leaf and x.requires_grad
        return x.detach() if is_trainable and not is_grad_enabled() else x

    def extra_repr(self) -> str:
        """Return the probability, and the shared axes if there are any."""
        shared = f", shared_axes={self.shared_axes}" if self.shared_axes else ""
        return f"p={self.p}{shared}"


# ------------------------------------------------------------------------- units and channels


class Dropout(DropoutBase):
    """Zero each unit with probability `p` in training; do nothing in evaluation.

    The units that are kept are multiplied by ``1 / (1 - p)``, so that their expected value
    stays the same and evaluation needs no scaling ("inverted" dropout). A dropped unit is
    exactly zero forward, and so is its gradient: each call's mask is saved with the call.

    Parameters
    ----------
    p
        Probability of dropping a unit, ``0 <= p <= 1``. Some texts give the probability of
        keeping one instead: ``p = 1 - keep_prob``.
    shared_axes
        One axis of the input, or several, along which all elements share the mask, which has
        length 1 there. With inputs ``(batch, time, features)``, ``shared_axes=1`` draws one
        mask for all time steps, the variational dropout of Gal and Ghahramani. Keras calls this
        SpatialDropout1D, and in general ``noise_shape``.
    scaling
        ``"inverted"``, or ``"classic"`` as in the original paper: nothing is scaled in training,
        and in evaluation every unit is multiplied by ``1 - p``. Either way, evaluation gives
        the expected value of training.
    rng
        Draws the masks; by default the library's generator, which differs in each forked
        process. A module's own generator draws the same masks in all of them: give each process
        its own, ``dropout.rng = np.random.default_rng([seed, worker])``.

    Attributes
    ----------
    mask
        Boolean array, one byte per element, True where the latest call in training kept a unit;
        None before the first. Read-only.

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number from 0 to 1, or the input has no such axis.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, "Dropout: A Simple Way to Prevent
    Neural Networks from Overfitting", JMLR 15 (2014), 1929-1958.
    Gal, Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", NIPS 2016.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.Dropout(0.5, rng=np.random.default_rng(1))
    >>> dropout(np.ones(8))
    Tensor([0., 0., 2., 2., 0., 0., 2., 0.])
    >>> dropout.mask.astype(int)
    array([0, 0, 1, 1, 0, 0, 1, 0])
    >>> dropout.eval()(np.ones(8))
    Tensor([1., 1., 1., 1., 1., 1., 1., 1.])

    Classic scaling, and one mask for all three time steps:

    >>> nn.Dropout(0.25, scaling="classic").eval()(np.ones(4))
    Tensor([0.75, 0.75, 0.75, 0.75])
    >>> nn.Dropout(0.5, shared_axes=1, rng=np.random.default_rng(1))(np.ones((1, 3, 4)))
    Tensor([[[0., 0., 2., 2.],
             [0., 0., 2., 2.],
             [0., 0., 2., 2.]]])
    """

    scaling: Any = Checked(checks.when_to_scale)

    def __init__(
        self,
        p: float = 0.5,
        *,
        shared_axes: int | Iterable[int] = (),
        scaling: Literal["inverted", "classic"] = "inverted",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(p, shared_axes=shared_axes, rng=rng)
        self.scaling = scaling

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Zero what the mask drops; scale the rest unless evaluation is scaled."""
        return super().drop(x, mask) if self.scaling == "inverted" else apply_mask(x, mask)

    def evaluate(self, x: Tensor) -> Tensor:
        """Return the input, scaled if training is not."""
        if self.scaling == "inverted":
            return super().evaluate(x)
        # Scale through apply_mask: with p = 1 even an infinity becomes exactly 0.
        return apply_mask(x, np.asarray(self.p < 1), 1 - self.p)

    def extra_repr(self) -> str:
        """Return the probability, and the scaling if it is not the default."""
        scaling = "" if self.scaling == "inverted" else f", scaling={self.scaling!r}"
        return super().extra_repr() + scaling


class GroupDropout(Dropout):
    """Dropout of whole groups: the subclass, not `shared_axes`, says which elements go together."""

    def __init__(
        self,
        p: float = 0.5,
        *,
        scaling: Literal["inverted", "classic"] = "inverted",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(p, scaling=scaling, rng=rng)


class ChannelDropout(GroupDropout):
    """What `Dropout1d`, `Dropout2d` and `Dropout3d` share."""

    #: How many axes come after that of the channels.
    spatial_axes: int

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask: one element for each channel of each example."""
        checks.check_channels(shape, self.spatial_axes)
        return shape[: -self.spatial_axes] + (1,) * self.spatial_axes


class Dropout1d(ChannelDropout):
    """Zero whole channels of a sequence, ``(n, channels, length)`` or ``(channels, length)``.

    Neighbours in a feature map are strongly correlated: they give away what dropping a single
    unit should hide. So a channel is dropped as a whole, drawn separately for each example.
    Scaling, evaluation and parameters are those of `Dropout`. The mask has shape
    ``(n, channels, 1)``, or ``(channels, 1)``. If the channels come last, use
    ``Dropout(p, shared_axes=-2)``.

    Raises
    ------
    ValueError
        If the input has another number of axes.

    References
    ----------
    Tompson, Goroshin, Jain, LeCun, Bregler, "Efficient Object Localization Using Convolutional
    Networks", CVPR 2015, section 3.2 ("SpatialDropout").

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.Dropout1d(0.5, rng=np.random.default_rng(1))(np.ones((4, 3)))
    Tensor([[0., 0., 0.],
            [0., 0., 0.],
            [2., 2., 2.],
            [2., 2., 2.]])
    """

    spatial_axes = 1


class Dropout2d(ChannelDropout):
    """Zero whole channels of images, ``(n, channels, height, width)``.

    As `Dropout1d`; the mask has shape ``(n, channels, 1, 1)``. An input of three axes is refused:
    it may be one image or a batch of sequences. (PyTorch takes it for the latter, and warns.)
    If the channels come last, use ``Dropout(p, shared_axes=(-3, -2))``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.Dropout2d(0.5)
    >>> dropout(np.ones((10, 3, 28, 28))).shape, dropout.mask.shape
    ((10, 3, 28, 28), (10, 3, 1, 1))
    """

    spatial_axes = 2


class Dropout3d(ChannelDropout):
    """Zero whole channels of volumes, ``(n, channels, depth, height, width)`` or without ``n``.

    As `Dropout1d`; the mask has shape ``(n, channels, 1, 1, 1)``, or that without ``n``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.Dropout3d(0.5)
    >>> dropout(np.ones((3, 4, 8, 8))).shape, dropout.mask.shape
    ((3, 4, 8, 8), (3, 1, 1, 1))
    """

    spatial_axes = 3


# --------------------------------------------------------------------- branches and words


class DropPath(GroupDropout):
    """Zero an example's whole branch with probability `p`: stochastic depth for residual blocks.

    In ``x + drop_path(block(x))``, an example whose branch is dropped passes through the identity
    alone, as if the block were not there: examples train nets of different depths. The first axis
    holds the examples, and the mask has shape ``(n, 1, ..., 1)``. A kept branch is scaled by
    ``1 / (1 - p)``, and evaluation keeps all branches. The paper scales as
    ``scaling="classic"`` does, and lets `p` grow linearly with the depth, from 0 to 0.5.

    Parameters
    ----------
    p
        Probability of dropping the branch, one minus the paper's survival probability.
    scaling, rng
        As in `Dropout`.

    Raises
    ------
    ValueError
        If the input is 0-d: it has no examples.

    References
    ----------
    Huang, Sun, Liu, Sedra, Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016.
    The name is that of Larsson, Maire, Shakhnarovich, "FractalNet", ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> drop_path = nn.DropPath(0.5, rng=np.random.default_rng(1))
    >>> x = np.ones((4, 3))
    >>> x + drop_path(10 * x)
    Tensor([[ 1.,  1.,  1.],
            [ 1.,  1.,  1.],
            [21., 21., 21.],
            [21., 21., 21.]])
    """

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask: one element for each example."""
        checks.check_examples(shape)
        return shape[:1] + (1,) * (len(shape) - 1)


class WordDropout(GroupDropout):
    """Zero whole rows of an embedding matrix, so that a word is dropped wherever it occurs.

    Apply it to the matrix, before looking up the words: ``word_dropout(weight)[words]``. All
    occurrences of a word then share its fate, as if it were not in the vocabulary; if single
    occurrences were dropped, the word would still be learned from the others. The mask has shape
    ``(vocabulary, 1)``. Scaling and evaluation are those of `Dropout`.

    Parameters
    ----------
    p
        Probability of dropping a word.
    scaling, rng
        As in `Dropout`.

    Raises
    ------
    ValueError
        If the matrix is not of shape ``(vocabulary, features)``.

    References
    ----------
    Gal, Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent Neural
    Networks", NIPS 2016, section 4.2.
    Merity, Keskar, Socher, "Regularizing and Optimizing LSTM Language Models", ICLR 2018,
    section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> embedding = nn.Parameter(np.arange(8.0).reshape(4, 2))
    >>> word_dropout = nn.WordDropout(0.5, rng=np.random.default_rng(1))
    >>> word_dropout(embedding)[[3, 0, 3]]
    Tensor([[12., 14.],
            [ 0.,  0.],
            [12., 14.]], requires_grad=True)
    """

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask: one element for each word."""
        checks.check_embedding(shape)
        return shape[0], 1


# ------------------------------------------------------------------------------- weights


class DropConnect(DropoutBase, Linear):
    """A `Linear` layer that zeroes each weight with probability `p` in training.

    Dropout removes a unit with all its outgoing connections; this removes single connections. Kept
    weights are scaled by ``1 / (1 - p)``; evaluation uses all weights as they are.

    Each call draws one mask, of the weight's shape, for the whole batch. The paper draws one for
    each example, which needs as many copies of the weight. It also drops biases, and in evaluation
    it samples the units' inputs; this layer uses their mean.

    Parameters
    ----------
    in_features, out_features, bias, dtype
        As in `Linear`.
    p
        Probability of dropping a weight.
    rng
        Draws the initial values and then the masks; the library's generator by default.

    Attributes
    ----------
    weight, bias
        As in `Linear`, whose state dicts fit.
    mask
        Boolean array of the weight's shape, True where the latest call in training kept a
        weight; None before the first. Read-only.

    References
    ----------
    Wan, Zeiler, Zhang, LeCun, Fergus, "Regularization of Neural Networks using DropConnect",
    ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> layer = nn.DropConnect(4, 2, p=0.5, rng=np.random.default_rng(0))
    >>> layer(np.ones((5, 4))).shape
    (5, 2)
    >>> layer.mask.astype(int)
    array([[1, 1, 1, 1],
           [1, 0, 0, 0]])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        p: float = 0.5,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        DropoutBase.__init__(self, p, rng=rng)
        Linear.__init__(self, in_features, out_features, bias, dtype=dtype, rng=rng)

    def forward(self, x: ArrayLike) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``, with the kept weights."""
        weight = DropoutBase.forward(self, self.weight)  # here the input of dropout is the weight
        return linear(x, weight, self.bias)

    def evaluate(self, x: Tensor) -> Tensor:
        """Return the weight, without a copy: the output is another array anyway."""
        return x

    def extra_repr(self) -> str:
        """Return the sizes and the probability."""
        return f"{Linear.extra_repr(self)}, {DropoutBase.extra_repr(self)}"


# ------------------------------------------------------------------- noise, and other values


class GaussianDropout(DropoutBase):
    """Multiply each unit by Gaussian noise of mean 1 and variance ``p / (1 - p)`` in training.

    The factors of `Dropout`, 0 and ``1 / (1 - p)``, have the same mean and variance; but here
    nothing is ever dropped entirely. Nothing is scaled, and evaluation is the identity.

    Parameters
    ----------
    p
        The probability of `Dropout` to match, ``0 <= p < 1``.
    shared_axes, rng
        As in `Dropout`.

    Attributes
    ----------
    noise
        The factors of the latest call in training, of the input's dtype; None before the first.
        Read-only.

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number from 0 to less than 1.

    References
    ----------
    Srivastava et al. (see `Dropout`), section 10.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.GaussianDropout(0.2, rng=np.random.default_rng(0))
    >>> x = np.ones(100_000)
    >>> noisy = dropout(x)
    >>> print(f"mean {noisy.mean():.2f}, variance {noisy.var():.2f}")
    mean 1.00, variance 0.25
    >>> np.array_equal(dropout.eval()(x), x)
    True
    """

    p: Any = Checked(checks.probability_below_1)

    def draw(self, shape: Shape, rng: np.random.Generator) -> Mask:
        """Draw the noise, which takes a mask's place."""
        deviation = (self.p / (1 - self.p)) ** 0.5
        return read_only(1 + deviation * as_array(rng.standard_normal(shape)))

    def drop(self, x: Tensor, noise: Mask) -> Tensor:
        """Multiply by the noise, in the input's dtype."""
        checks.check_noise(noise)
        noise = self.mask = read_only(noise.astype(x.dtype))  # until now, it had the generator's
        return x * noise

    @property
    def noise(self) -> Mask | None:
        """The factors of the latest call in training."""
        return self.mask


#: The limit of ``selu(x)`` at minus infinity: minus its scale times its alpha.
SELU_LIMIT = -SELU_SCALE * SELU_ALPHA


class AlphaDropout(DropoutBase):
    """Dropout for nets of SELUs: it keeps their mean of 0 and variance of 1.

    To a SELU, zero is nothing special. A dropped unit gets the value L = -1.758 instead, the
    limit of SELU at minus infinity. All units are then mapped to ``a x + b`` with

        a = (q (1 + p L^2))^(-1/2),    b = -a p L,    q = 1 - p,

    which gives the mixture of L and kept units mean 0 and variance 1, if the inputs had them. A
    dropped unit's gradient is exactly zero, a kept one's is multiplied by a. Evaluation is the
    identity.

    Parameters
    ----------
    p
        Probability of dropping a unit. For 1, the output is zero.
    shared_axes
        As in `Dropout`.
    rng
        Draws the masks; the library's generator by default.

    Attributes
    ----------
    mask
        As in `Dropout`.

    References
    ----------
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-Normalizing Neural Networks", NIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.AlphaDropout(0.1, rng=np.random.default_rng(0))
    >>> x = np.random.default_rng(1).standard_normal(100_000)
    >>> out = dropout(x)
    >>> print(f"mean {abs(out.mean()):.1f}, variance {out.var():.1f}")
    mean 0.0, variance 1.0
    """

    def drop(self, x: Tensor, mask: Mask) -> Tensor:
        """Put L where `mask` is False, then map affinely to keep mean 0 and variance 1."""
        if self.p == 1:  # nothing is kept, and nothing varies
            return apply_mask(x, mask)
        p, q = self.p, 1 - self.p
        a = (q * (1 + p * SELU_LIMIT**2)) ** -0.5
        b = -a * p * SELU_LIMIT
        return apply_mask(x, mask, a) + np.where(mask, b, a * SELU_LIMIT + b).astype(x.dtype)


class FeatureAlphaDropout(AlphaDropout):
    """`AlphaDropout` of whole channels, ``(n, channels, ...)``.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> dropout = nn.FeatureAlphaDropout(0.5)
    >>> dropout(np.ones((10, 3, 28, 28))).shape, dropout.mask.shape
    ((10, 3, 28, 28), (10, 3, 1, 1))
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        super().__init__(p, rng=rng)

    def mask_shape(self, shape: Shape) -> Shape:
        """Return the shape of the mask: one element for each channel of each example."""
        checks.check_features_axis(shape)
        return shape[:2] + (1,) * (len(shape) - 2)
