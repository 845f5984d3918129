"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...vjps.rules import filled
from .. import module_checks as checks


def pad_sequence(
    sequences: Iterable[Any],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Any:
    """Put sequences of different lengths into one array, filled up to the longest one's length.

    Parameters
    ----------
    sequences
        Arrays or tensors of shapes ``(length, ...)`` that differ in the length only, of one dtype.
    batch_first
        Whether the result's first axis is that of the sequences, and not that of time.
    padding_value
        What fills the others up, a number that their dtype holds.
    padding_side
        ``"right"``: after the sequence; ``"left"``: before it.

    Returns
    -------
    padded
        Of shape ``(longest, n, ...)``, or ``(n, longest, ...)``, and the dtype of the sequences; a
        tensor, through which gradients pass, if one of them is a tensor of floats.

    Raises
    ------
    TypeError, ValueError
        If there are no sequences, or they differ in more than the length.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> words = [np.array([5, 7, 2]), np.array([4])]
    >>> nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=-1)
    array([[ 5,  7,  2],
           [ 4, -1, -1]])

    The mask of what is not padding, and the lengths, are one line each:

    >>> lengths = np.array([len(sequence) for sequence in words])
    >>> np.arange(3) < lengths[:, None]
    array([[ True,  True,  True],
           [ True, False, False]])
    """
    items = checks.checked_sequences(sequences)
    value = checks.checked_padding(items[0].dtype, batch_first, padding_value, padding_side)
    longest = max([len(item) for item in items])
    rows = []
    for item in items:
        shape = (longest - len(item), *item.shape[1:])
        padding = filled(shape, value, item.dtype, item)
        rows.append(np.concatenate([item, padding] if padding_side == "right" else [padding, item]))
    return np.stack(rows, axis=0 if batch_first else 1)
