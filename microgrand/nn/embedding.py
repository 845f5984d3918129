"""Embeddings: a vector for each word, looked up by its number."""

from __future__ import annotations

import numpy as np

from ..dispatch import data_of, library_of
from ..kinds import Array, ArrayLike, DTypeLike
from ..random import generator
from ..tensor import Tensor
from ..traced import look, may_be
from ..vjps.rules import as_array, extreme, wide
from . import checks, layer_checks
from .inputs import as_tensor
from .module import Module, Parameter
from .similarity import in_units


def embedding(
    words: ArrayLike,
    weight: ArrayLike,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
) -> Tensor:
    """Look up the rows of a matrix: ``weight[words]``.

    The gradient of a row is the sum over all places where it was looked up.

    Parameters
    ----------
    words
        Integers from 0 to ``vocabulary - 1``, an array of any shape ``(...)``.
    weight
        Tensor or array of shape ``(vocabulary, features)``.
    padding_idx
        A word that pads short texts: its row gets no gradient. Counted from the end if negative.
    max_norm
        If given, rows that are looked up and are longer than this are first shortened to it. That
        changes `weight`, which must be a leaf, without a gradient; a graph that has used it before
        refuses `backward`, so look up all words of a step at once.
    norm_type
        The order of the norm, more than 0.

    Returns
    -------
    Tensor
        Of shape ``(..., features)``.

    Raises
    ------
    TypeError
        If the words are not integers, or the weight not of a float dtype.
    IndexError
        If a word is not in the vocabulary.
    ValueError
        If the weight is not a matrix, or an order or a length not positive.

    References
    ----------
    Bengio, Ducharme, Vincent, Jauvin, "A Neural Probabilistic Language Model", JMLR 3 (2003).

    Examples
    --------
    >>> from microgrand import Tensor
    >>> from microgrand.nn import functional as F
    >>> weight = Tensor([[0.0, 1.0], [2.0, 3.0]], requires_grad=True)
    >>> F.embedding([1, 0, 1], weight)
    Tensor([[2., 3.],
            [0., 1.],
            [2., 3.]], requires_grad=True)
    >>> F.embedding([1, 0, 1], weight).sum().backward()
    >>> weight.grad
    array([[1., 1.],
           [2., 2.]])
    """
    weight = as_tensor(weight)
    words = as_array(data_of(words))
    words = layer_checks.words(words, weight._array.shape)
    if max_norm is not None:
        shorten(weight, words, max_norm, norm_type)
    rows = weight[words]
    if padding_idx is None:
        return rows
    padding = layer_checks.padding(padding_idx, len(weight))
    return np.where(np.equal(words, padding)[..., None], rows.detach(), rows)


def shorten(weight: Tensor, words: Array, max_norm: float, norm_type: float) -> None:
    """Shorten rows that are longer than `max_norm` to a little less, as PyTorch does."""
    max_norm = layer_checks.positive("embedding's max_norm", max_norm)
    norm_type = layer_checks.positive("embedding's norm_type", norm_type)
    data = weight._array
    rows, unit = in_units(wide(data), 1)
    norms = np.linalg.norm(rows, norm_type, axis=1, keepdims=True) * unit
    is_looked_up = np.bincount(np.reshape(words, -1), minlength=len(data)) > 0
    too_long = np.greater(norms, max_norm) & is_looked_up[:, None]
    if may_be(np.any(too_long)):
        shorter = data * (max_norm / (norms + 1e-7))
        weight.data = np.where(too_long, shorter, data).astype(data.dtype)


def one_hot(labels: ArrayLike, num_classes: int = -1) -> Array:
    """Return rows that are 1 at the number of their class, and 0 elsewhere.

    Parameters
    ----------
    labels
        Integers from 0, an array of any shape ``(...)``.
    num_classes
        The length of the rows; by default, just enough for the largest number.

    Returns
    -------
    numpy.ndarray
        Integers of shape ``(..., num_classes)``; it has no gradient.

    Raises
    ------
    TypeError
        If the labels are not integers.
    IndexError
        If one is negative, or not below `num_classes`.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.one_hot([2, 0], num_classes=3)
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    labels = as_array(data_of(labels))
    if num_classes == -1:
        largest = int(extreme(np.max, look(labels), None, default=-1, keepdims=False))
        num_classes = max(largest + 1, 0)
    labels = layer_checks.classes(labels, checks.integer("num_classes", num_classes, 0))
    return np.equal(labels[..., None], np.arange(num_classes, like=library_of(labels))).astype(int)


class Embedding(Module):
    """A vector for each word of a vocabulary, which is learned.

    The vectors are drawn from the standard normal distribution, as PyTorch does; that of
    `padding_idx` is 0.

    Parameters
    ----------
    num_embeddings
        The size of the vocabulary, at least 1.
    embedding_dim
        The length of a vector, at least 1.
    padding_idx
        A word that pads short texts: its vector is not learned. Counted from the end if negative.
    max_norm, norm_type
        The largest length of a vector, or None, and the order of its norm; see
        `functional.embedding`.
    dtype
        Floating dtype of the vectors.
    rng
        Draws the initial values; the library's generator by default.

    Attributes
    ----------
    weight
        Parameter of shape ``(num_embeddings, embedding_dim)``.

    Raises
    ------
    TypeError, ValueError, IndexError
        When made with sizes that are not integers from 1, or called with other words; see
        `functional.embedding`.

    Examples
    --------
    >>> from microgrand import nn
    >>> embedding = nn.Embedding(10, 3, padding_idx=0)
    >>> embedding([[1, 2, 0, 0], [3, 4, 5, 0]]).shape
    (2, 4, 3)
    >>> embedding([0])
    Tensor([[0., 0., 0.]], dtype=float32, requires_grad=True)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        num_embeddings = checks.integer("Embedding's num_embeddings", num_embeddings, 1)
        embedding_dim = checks.integer("Embedding's embedding_dim", embedding_dim, 1)
        values = generator(rng).standard_normal((num_embeddings, embedding_dim))
        self.padding_idx = None
        if padding_idx is not None:
            self.padding_idx = layer_checks.padding(padding_idx, num_embeddings)
            values[self.padding_idx] = 0
        self.max_norm = max_norm
        if max_norm is not None:
            self.max_norm = layer_checks.positive("Embedding's max_norm", max_norm)
        self.norm_type = layer_checks.positive("Embedding's norm_type", norm_type)
        self.weight = Parameter(values, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
    ) -> Embedding:
        """Make one from existing vectors, ``(num_embeddings, embedding_dim)``, which are copied.

        With `freeze`, they are not trained further.

        Examples
        --------
        >>> from microgrand import nn
        >>> nn.Embedding.from_pretrained([[0.0, 1.0], [2.0, 3.0]])([1])
        Tensor([[2., 3.]])
        """
        vectors = as_tensor(embeddings)
        layer_checks.check_vectors(vectors._array.shape)
        words, features = vectors.shape
        layer = cls(words, features, padding_idx, max_norm, norm_type, dtype=vectors.dtype)
        layer.weight.data = vectors.data
        layer.weight.requires_grad_(not freeze)
        return layer

    def forward(self, words: ArrayLike) -> Tensor:
        """Map integers ``(...)`` to vectors ``(..., embedding_dim)``."""
        return embedding(words, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default, as PyTorch does."""
        shown = [f"{self.weight.shape[0]}, {self.weight.shape[1]}"]
        shown += [f"padding_idx={self.padding_idx}"] if self.padding_idx is not None else []
        shown += [f"max_norm={self.max_norm}"] if self.max_norm is not None else []
        shown += [f"norm_type={self.norm_type}"] if self.norm_type != 2 else []
        return ", ".join(shown)
