"""Embeddings: a vector for each word, looked up by its number."""

from __future__ import annotations

import numpy as np

from ..dispatch import data_of, library_of
from ..kinds import Array, ArrayLike, DTypeLike
from ..random import generator
from ..tensor import Tensor
from ..traced import look
from ..vjps.rules import as_array, extreme
from . import checks, layer_checks
from .inputs import as_tensor
from .module import Module, Parameter


def embedding(words: ArrayLike, weight: ArrayLike, padding_idx: int | None = None) -> Tensor:
    """Look up the rows of a matrix: ``weight[words]``.

    The gradient of a row is the sum over all places where it was looked up.

    Parameters
    ----------
    words
        Integers from 0 to ``vocabulary - 1``, an array of any shape ``(...)``.
    weight
        Tensor or array of shape ``(vocabulary, features)``.
    padding_idx
        A word that fills short texts up: its row gets no gradient. From the end if negative.

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
        If the weight is no matrix.

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
    rows = weight[words]
    if padding_idx is None:
        return rows  # type: ignore[no-any-return]
    padding = layer_checks.padding(padding_idx, len(weight))
    return np.where(np.equal(words, padding)[..., None], rows.detach(), rows)  # type: ignore[no-any-return]


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
        A word that fills short texts up: its vector is not learned. From the end if negative.
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
        self.weight = Parameter(values, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls, embeddings: ArrayLike, freeze: bool = True, padding_idx: int | None = None
    ) -> Embedding:
        """Make one of vectors that are there already, ``(num_embeddings, embedding_dim)``.

        With `freeze`, they are not learned further. They are copied.

        Examples
        --------
        >>> from microgrand import nn
        >>> nn.Embedding.from_pretrained([[0.0, 1.0], [2.0, 3.0]])([1])
        Tensor([[2., 3.]])
        """
        vectors = as_tensor(embeddings)
        layer_checks.check_vectors(vectors._array.shape)
        words, features = vectors.shape
        layer = cls(words, features, padding_idx, dtype=vectors.dtype)
        layer.weight.data = vectors.data
        layer.weight.requires_grad_(not freeze)
        return layer

    def forward(self, words: ArrayLike) -> Tensor:
        """Map integers ``(...)`` to vectors ``(..., embedding_dim)``."""
        return embedding(words, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return the sizes, and the word for padding if there is one."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}{padding}"
