"""Splits and mini-batches of samples in arrays, lists, tensors, frames and iterators."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..tensor import Tensor


def train_test_split(
    *arrays: Any, train_size: int, rng: int | np.random.Generator
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Split the samples at random into a training and a test set.

    Parameters
    ----------
    *arrays
        Arrays with the same number of samples, such as images and labels; or lists, tensors or
        frames, as for `batches`.
    train_size
        Number of samples in the first part; the others are in the second.
    rng
        A seed, or the generator to draw from.

    Returns
    -------
    train, test
        Two tuples with a copy of its samples from each of the arrays.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If the arrays differ in length, or a part would be empty.

    Examples
    --------
    >>> from microgrand.data import load_digits, train_test_split
    >>> x, y = load_digits()
    >>> (x_train, y_train), (x_test, y_test) = train_test_split(x, y, train_size=1500, rng=0)
    >>> x_train.shape, y_test.shape
    ((1500, 8, 8), (297,))
    """
    length = _checked_length(arrays)
    train_size = _checked_count("train_size", train_size)
    if not 1 <= train_size < length:
        raise ValueError(
            f"train_size must be at least 1 and below the number of samples, {length}, "
            f"got {train_size}; leave samples for both parts"
        )
    order = _generator(rng).permutation(length)
    train, test = order[:train_size], order[train_size:]
    return (
        tuple(_take(array, train) for array in arrays),
        tuple(_take(array, test) for array in arrays),
    )


def batches(
    *arrays: Any,
    batch_size: int,
    rng: int | np.random.Generator | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
) -> Iterator[tuple[Any, ...]]:
    """Iterate over the samples once, in random order, a mini-batch at a time.

    Parameters
    ----------
    *arrays
        Arrays with the same number of samples, such as images and labels. A list or tuple counts
        its items, a frame of pandas or Polars its rows, a tensor the first axis. With
        ``shuffle=False``, also iterators and generators, read only as far as batches are requested.
    batch_size
        Number of samples in a batch; the last batch has those that are left.
    rng
        A seed, or the generator to draw from. A generator gives a different order at each call, a
        seed the same one: make the generator once, before the loop over the epochs.
    shuffle
        With False, the samples come in their own order, and `rng` is not needed.
    drop_last
        Leave the last batch out if it is smaller than the others.

    Returns
    -------
    iterator
        Over tuples with a copy of the batch's samples from each of the arrays: a list from a list
        or an iterator, a frame from a frame, a part of the graph from a tensor that has one.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If the arrays differ in length or are empty, or `batch_size` is below 1; while iterating, if
        an iterator ends before the others.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand.data import batches
    >>> x, y = np.zeros((5, 8, 8)), np.arange(5)
    >>> rng = np.random.default_rng(0)
    >>> for x_batch, y_batch in batches(x, y, batch_size=2, rng=rng):
    ...     print(x_batch.shape, y_batch.shape)
    (2, 8, 8) (2,)
    (2, 8, 8) (2,)
    (1, 8, 8) (1,)
    >>> list(batches(["a", "b", "c"], batch_size=2, shuffle=False, drop_last=True))
    [(['a', 'b'],)]
    """
    for name, flag in ("shuffle", shuffle), ("drop_last", drop_last):
        if not isinstance(flag, (bool, np.bool_)):
            raise TypeError(f"{name} must be True or False, got {flag!r}")
    if any(isinstance(array, Iterator) for array in arrays):
        if shuffle:
            raise TypeError(
                "an iterator cannot be read in random order; say shuffle=False, or read it into a "
                "list first, list(iterator)"
            )
        return _batches_of_iterators(arrays, _checked_batch_size(batch_size), drop_last)
    length = _checked_length(arrays)
    batch_size = _checked_batch_size(batch_size)
    order = np.arange(length) if not shuffle else _generator(rng).permutation(length)
    stop = length - length % batch_size if drop_last else length
    # A generator expression: the body of a generator function would check nothing until the
    # first batch is requested.
    return (
        tuple(_take(array, order[start : start + batch_size]) for array in arrays)
        for start in range(0, stop, batch_size)
    )


def _take(array: Any, order: Any) -> Any:
    """Return the samples with these numbers."""
    if isinstance(array, np.ndarray):
        return array.take(order, axis=0)
    if isinstance(array, (list, tuple)):
        return type(array)([array[i] for i in order])
    return array.iloc[order] if hasattr(array, "iloc") else array[order]


def _batches_of_iterators(
    arrays: tuple[Any, ...], batch_size: int, drop_last: bool
) -> Iterator[tuple[Any, ...]]:
    """Iterate over samples, some of which come one at a time."""
    for index, array in enumerate(arrays):
        if not isinstance(array, Iterator):
            _checked_samples(index, array)
    return _read_batches(arrays, batch_size, drop_last)


def _read_batches(
    arrays: tuple[Any, ...], batch_size: int, drop_last: bool
) -> Iterator[tuple[Any, ...]]:
    """Yield batches until the samples end, in all places at once."""
    for start in itertools.count(step=batch_size):
        batch = tuple(
            list(itertools.islice(array, batch_size))
            if isinstance(array, Iterator)
            else _take(array, np.arange(start, min(start + batch_size, len(array))))
            for array in arrays
        )
        sizes = [len(part) for part in batch]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"the iterators and arrays must have the same number of samples; after {start}, "
                f"there are {sizes} for a batch of {batch_size}"
            )
        if sizes[0] and not (drop_last and sizes[0] < batch_size):
            yield batch
        if sizes[0] < batch_size:
            return


def _checked_length(arrays: tuple[Any, ...]) -> Any:
    """Return the number of samples that all the arrays have."""
    if not arrays:
        raise TypeError("expected at least one array, got none; pass the images and the labels")
    lengths = [_checked_samples(index, array) for index, array in enumerate(arrays)]
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            "the arrays must have the same number of samples along their first axis, at least "
            f"one; got {lengths}"
        )
    return lengths[0]


def _checked_samples(index: int, array: Any) -> Any:
    """Return the number of samples in an array, or in what may take its place."""
    is_array = isinstance(array, (np.ndarray, Tensor))
    is_frame = hasattr(array, "iloc") or type(array).__module__.partition(".")[0] == "polars"
    if is_array and array.ndim == 0:
        raise TypeError(
            f"array {index} must be a NumPy array of at least one dimension, got a 0-d "
            f"{'tensor' if isinstance(array, Tensor) else 'array'}"
        )
    known = is_array or (is_frame and hasattr(array, "__len__"))
    if not known and not isinstance(array, (list, tuple)):
        raise TypeError(
            f"array {index} must be a NumPy array, a list, a tensor or a frame, got "
            f"{type(array).__name__}; convert it with np.asarray or list"
        )
    return len(array)


def _checked_batch_size(size: Any) -> int:
    """Return the size of a batch, at least 1."""
    batch_size = _checked_count("batch_size", size)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    return batch_size


def _checked_count(name: str, value: int) -> int:
    """Return an integer as Python's own: its sums do not wrap around, as those of np.uint8 do."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(
            f"{name} must be an integer, a number of samples, got {value!r}; "
            "for a fraction write int(0.8 * len(x))"
        )
    return int(value)


def _generator(rng: Any) -> np.random.Generator:
    """Return the generator that was given, or one seeded with the number that was."""
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer, np.random.Generator)):
        raise TypeError(
            f"rng must be a seed or a numpy.random.Generator, got {rng!r}; pass rng=0, say, or "
            "np.random.default_rng(0)"
        )
    return np.random.default_rng(rng)
