"""What activations, embeddings, recurrent nets and attention refuse, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..checks import check_keywords_are_pytorchs, is_integer
from ..kinds import Array, Shape
from ..traced import look

# ------------------------------------------------------------------------------ options

P = ParamSpec("P")
R = TypeVar("R")


def with_pytorchs_words(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function raise for NumPy's keywords, as primitives do; a decorator."""
    known = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            check_keywords_are_pytorchs(function, kwargs.keys() - known, known)
        return function(*args, **kwargs)

    return called


def one_of(who: str, given: Any, allowed: Sequence[str]) -> None:
    """Raise if an option is not one of its possible values."""
    if not isinstance(given, str) or given not in allowed:  # `in` compares arrays by element
        raise ValueError(f"{who} is one of {', '.join(map(repr, allowed))}, got {given!r:.60}")


def number(who: str, given: Any) -> float:
    """Return a real number as Python's own, which changes no dtype, or raise."""
    if type(given) is float:
        return given
    if not isinstance(given, numbers.Real) or isinstance(given, bool):
        raise TypeError(f"{who} is a number, got {given!r}")
    return float(given)


def positive(who: str, given: Any) -> float:
    """Return a positive number, or raise."""
    if not number(who, given) > 0:
        raise ValueError(f"{who} is a positive number, got {given!r}")
    return float(given)


def refuse_inplace(who: str, inplace: Any) -> None:
    """Raise if a result is to be written into its input."""
    if inplace is not False:
        raise ValueError(
            f"{who} computes a new tensor, as tensors are not changed in place; got inplace="
            f"{inplace!r}: leave it out, and write x = f(x)"
        )


def limits(low: Any, high: Any) -> tuple[float, float]:
    """Return the limits of `hardtanh`, or raise if there is no room between them."""
    if not number("hardtanh's min_val", low) < number("hardtanh's max_val", high):
        raise ValueError(f"hardtanh needs min_val < max_val, got {low} and {high}")
    return float(low), float(high)


def check_has_channels(who: str, shape: Shape) -> None:
    """Raise if an input has no axis of channels."""
    if len(shape) < 3:
        raise ValueError(f"{who} takes an input (n, channels, length, ...), got shape {shape}")


def check_bilinear(x1: Shape, x2: Shape, weight: Shape, bias: Shape | None) -> None:
    """Raise if the shapes of a bilinear map do not fit."""
    fits = len(weight) == 3 and x1[:-1] == x2[:-1] and (x1[-1:], x2[-1:]) == (
        weight[1:2], weight[2:],
    )  # fmt: skip
    if not fits or bias not in (None, weight[:1]):
        raise ValueError(
            "bilinear needs inputs (..., in1_features) and (..., in2_features), a weight "
            "(out_features, in1_features, in2_features) and a bias (out_features,), got shapes "
            f"{x1}, {x2}, {weight} and {bias}"
        )


def check_halves(shape: Shape, dim: Any) -> None:
    """Raise if an axis cannot be halved."""
    check_dim("glu", shape, dim)
    if shape[dim] % 2:
        raise ValueError(
            f"glu halves axis {dim}, whose length must be even, got an input of shape {shape}"
        )


def check_dim(who: str, shape: Shape, dim: Any) -> None:
    """Raise if an input has no such axis."""
    if not is_integer(dim):
        raise TypeError(f"{who}'s dim is the number of an axis, got {dim!r}")
    if not -len(shape) <= dim < len(shape):
        mend = "; for one vector, dim=0" if len(shape) == 1 else ""
        raise ValueError(f"{who} got an input of shape {shape}, which has no axis {dim}{mend}")


def common_shape(who: str, first: Shape, second: Shape) -> Shape:
    """Return the shape that two broadcast to, or raise."""
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        raise ValueError(
            f"{who} got shapes {first} and {second}, which do not broadcast; give one the other's "
            "shape, or axes of length 1"
        ) from None


def check_slopes(shape: Shape, weight: Shape) -> None:
    """Raise if there is not one slope, or one for each channel."""
    channels = shape[1] if len(shape) > 1 else 1
    if weight not in ((), (1,), (channels,)):
        raise ValueError(
            f"prelu takes one slope, or one for each channel of an input (n, channels, ...), got "
            f"a weight of shape {weight} for an input of shape {shape}"
        )


def not_zero(who: str, given: Any) -> float:
    """Return a number to divide by, or raise."""
    if not number(who, given):
        raise ValueError(f"{who} is a number other than 0, got {given!r}")
    return float(given)


def not_negative(who: str, given: Any) -> float:
    """Return a number from 0, or raise."""
    if not number(who, given) >= 0:
        raise ValueError(f"{who} is a number from 0, got {given!r}")
    return float(given)


# --------------------------------------------------------------------------- embeddings


def words(given: Array, shape: Shape) -> Array:
    """Return the numbers of words to be looked up in a matrix of a shape, or raise."""
    check_vectors(shape)
    if given.dtype.kind not in "iu":
        if given.size:  # the empty list has no dtype of its own
            raise TypeError(
                f"an embedding looks up integers, got dtype {given.dtype}; convert them with "
                "words.astype(int)"
            )
        return given.astype(int)
    if look(np.any(np.less(given, 0) | np.greater_equal(given, shape[0]))):
        outside = look(given)[(look(given) < 0) | (look(given) >= shape[0])]
        raise IndexError(
            f"word {outside[0]} is not in the vocabulary: a weight of shape {shape} has the words "
            f"0 to {shape[0] - 1}"
        )
    return given


def classes(given: Array, number: int) -> Array:
    """Return the numbers of classes that rows are to be made of, or raise."""
    if given.dtype.kind not in "iu":
        if given.size:  # the empty list has no dtype of its own
            raise TypeError(
                f"one_hot takes integers, got dtype {given.dtype}; convert them with "
                "labels.astype(int)"
            )
        return given.astype(int)
    if look(np.any(np.less(given, 0) | np.greater_equal(given, number))):
        outside = look(given)[(look(given) < 0) | (look(given) >= number)]
        range_ = f"from 0 to num_classes - 1, here {number - 1}" if number else "from 0"
        raise IndexError(f"one_hot got {outside[0]}, which is not a class: classes are {range_}")
    return given


def check_vectors(shape: Shape) -> None:
    """Raise if vectors for words are not rows of a matrix."""
    if len(shape) != 2:
        raise ValueError(
            f"an embedding's weight is of shape (vocabulary, features), got shape {shape}"
        )


def check_bags(words: Shape, offsets: Array | None, with_end: bool) -> None:
    """Raise if words are not in bags."""
    if offsets is None:
        if len(words) != 2:
            raise ValueError(
                f"embedding_bag takes words of shape (bags, words), got {words}; for bags of "
                "several lengths, give all words in one axis, and offsets, where each bag begins"
            )
        return
    if len(words) != 1 or offsets.ndim != 1:
        raise ValueError(
            "embedding_bag takes offsets of shape (bags,) with all words in one axis, got offsets "
            f"of shape {offsets.shape} and words of shape {words}"
        )
    if offsets.dtype.kind not in "iu":
        raise TypeError(f"embedding_bag's offsets are integers, got dtype {offsets.dtype}")
    falls = np.less(offsets[1:], offsets[:-1]).any() | np.greater(offsets, words[0]).any()
    is_short = np.not_equal(offsets[-1:], words[0]).any() if with_end else False
    if look(np.not_equal(offsets[:1], 0).any() | falls | is_short):
        raise ValueError(
            f"embedding_bag's offsets begin with 0 and do not fall, up to the number of words, "
            f"{words[0]}{', which is the last with include_last_offset' * with_end}; got "
            f"{look(offsets)}"
        )


def check_word_weights(weights: Shape, words: Shape, mode: str) -> None:
    """Raise if words cannot have factors."""
    if mode != "sum":
        raise ValueError(
            f"embedding_bag takes per_sample_weights with mode='sum' only, got mode={mode!r}"
        )
    if weights != words:
        raise ValueError(
            f"embedding_bag needs per_sample_weights of the words' shape {words}, got {weights}"
        )


def padding(word: Any, vocabulary: int) -> int:
    """Return the number of the word for padding, from 0, or raise."""
    if not is_integer(word):
        raise TypeError(f"padding_idx is an integer or None, got {word!r}")
    if not -vocabulary <= word < vocabulary:
        raise ValueError(f"padding_idx must be a word, below {vocabulary}, got {word}")
    return int(word) % vocabulary
