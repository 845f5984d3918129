"""Bags of words: one vector for several words, the sum, mean or maximum of their vectors."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..dispatch import data_of, library_of
from ..engine import wider
from ..kinds import Array, ArrayLike, DTypeLike, Value
from ..tensor import Tensor
from ..traced import look
from ..vjps.rules import as_array, extreme
from . import checks, layer_checks
from .embedding import Embedding, embedding
from .inputs import as_tensor
from .module import Module

Mode = Literal["sum", "mean", "max"]
MODES = ("sum", "mean", "max")


def embedding_bag(
    words: ArrayLike,
    weight: ArrayLike,
    offsets: ArrayLike = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    mode: Mode = "mean",
    per_sample_weights: ArrayLike = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Look up the rows of a matrix, and take the sum, mean or maximum of those of each bag.

    Parameters
    ----------
    words
        Integers of shape ``(bags, words)``, or of shape ``(words,)`` with `offsets`.
    weight
        Tensor or array of shape ``(vocabulary, features)``.
    offsets
        At which word each bag begins: integers of shape ``(bags,)``, the first of them 0.
    max_norm, norm_type
        As in `embedding`.
    mode
        ``"sum"``, ``"mean"`` or ``"max"``. Rows that share the maximum share its gradient evenly.
        (PyTorch gives it to the first.)
    per_sample_weights
        A factor for each word, of the words' shape; for ``"sum"`` only.
    include_last_offset
        Whether the last of `offsets` is the number of words, where the last bag ends, and no bag.
    padding_idx
        A word that does not count. Counted from the end if negative.

    Returns
    -------
    Tensor
        Of shape ``(bags, features)``, 0 for a bag that is empty.

    Raises
    ------
    TypeError
        If words or offsets are not integers, or the weight not of a float dtype.
    IndexError
        If a word is not in the vocabulary.
    ValueError
        If the shapes do not fit, or offsets fall.

    References
    ----------
    Joulin, Grave, Bojanowski, Mikolov, "Bag of Tricks for Efficient Text Classification", EACL
    2017.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.embedding_bag([0, 1, 1], [[0.0, 2.0], [2.0, 4.0]], offsets=[0, 2])
    Tensor([[1., 3.],
            [2., 4.]])
    """
    layer_checks.one_of("embedding_bag's mode", mode, MODES)
    weight = as_tensor(weight)
    words = as_array(data_of(words))
    starts = None if offsets is None else as_array(data_of(offsets), words)
    layer_checks.check_bags(words.shape, starts, include_last_offset)
    rows = embedding(words, weight, padding_idx, max_norm, norm_type)
    if per_sample_weights is not None:
        factors = as_tensor(per_sample_weights, rows.dtype)
        layer_checks.check_word_weights(factors._array.shape, words.shape, mode)
        rows = rows * np.expand_dims(factors, -1)
    counts = np.ones(words.shape, bool, like=library_of(words))
    if padding_idx is not None:
        counts = np.not_equal(words, layer_checks.padding(padding_idx, len(weight)))
    if starts is not None:
        places, counts = in_bags(starts, counts, include_last_offset)
        rows = rows[places]
    return reduced(rows, counts, mode)


def in_bags(starts: Array, counts: Array, include_last_offset: bool) -> tuple[Array, Array]:
    """Return the numbers of each bag's words, padded to equal length, and which of them count."""
    ends = np.concatenate([starts[1:], np.full_like(starts, len(counts), shape=1)])
    if include_last_offset:
        starts, ends = starts[:-1], ends[:-1]
    longest = int(extreme(np.max, look(ends - starts), None, default=0, keepdims=False))
    places = starts[:, None] + np.arange(longest, like=library_of(starts))
    is_inside = np.less(places, ends[:, None])
    places = np.where(is_inside, places, 0)
    return places, counts[places] & is_inside


def reduced(rows: Value, counts: Array, mode: Mode) -> Value:
    """Reduce rows ``(bags, words, features)`` over the words that count."""
    if mode == "max":
        if not rows.shape[1]:
            return np.sum(rows, axis=1)
        is_empty = ~np.any(counts, axis=1)[:, None]
        most = np.max(np.where(counts[..., None], rows, -np.inf), axis=1)
        return np.where(is_empty, 0, most).astype(rows.dtype)
    more = wider(rows.dtype, rows.shape[1])
    total = np.sum(np.where(counts[..., None], rows, 0), axis=1, dtype=more)
    if mode == "mean":
        total = total / np.maximum(np.sum(counts, axis=1), 1)[:, None].astype(total.dtype)
    return total.astype(rows.dtype)


class EmbeddingBag(Module):
    """A vector for each word, and one for each bag of them; see `functional.embedding_bag`.

    The vectors are drawn from the standard normal distribution, as those of `Embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim
        The size of the vocabulary and the length of a vector, at least 1.
    max_norm, norm_type, mode, include_last_offset, padding_idx
        As in the function.
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
        When made with sizes that are not integers from 1, or called with other words or offsets.

    Examples
    --------
    >>> from microgrand import nn
    >>> bag = nn.EmbeddingBag(10, 3, mode="sum")
    >>> bag([[1, 2, 4], [4, 3, 2]]).shape, bag([1, 2, 4, 5], offsets=[0, 1]).shape
    ((2, 3), (2, 3))
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        mode: Mode = "mean",
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | None = None,
    ) -> None:
        table = Embedding(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, dtype=dtype, rng=rng
        )
        layer_checks.one_of("EmbeddingBag's mode", mode, MODES)
        checks.check_flag("EmbeddingBag's include_last_offset", include_last_offset)
        self.weight = table.weight
        self.padding_idx, self.max_norm, self.norm_type = (
            table.padding_idx, table.max_norm, table.norm_type,
        )  # fmt: skip
        self.mode: Mode = mode
        self.include_last_offset = include_last_offset

    def forward(
        self, words: ArrayLike, offsets: ArrayLike = None, per_sample_weights: ArrayLike = None
    ) -> Tensor:
        """Map words ``(bags, words)``, or ``(words,)`` with offsets, to a vector for each bag."""
        return embedding_bag(
            *(words, self.weight, offsets, self.max_norm, self.norm_type, self.mode),
            *(per_sample_weights, self.include_last_offset, self.padding_idx),
        )

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default, as PyTorch does."""
        shown = [f"{self.weight.shape[0]}, {self.weight.shape[1]}"]
        shown += [f"max_norm={self.max_norm}"] if self.max_norm is not None else []
        shown += [f"norm_type={self.norm_type}"] if self.norm_type != 2 else []
        shown += [f"mode={self.mode!r}"]
        shown += [f"padding_idx={self.padding_idx}"] if self.padding_idx is not None else []
        return ", ".join(shown)
