"""Speed: compute elementwise functions of many steps in pieces that stay in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..kinds import Array

#: Of a piece, the operands and a few intermediate results fit into the processor's cache.
PIECE_BYTES = 1 << 17


def in_pieces(function: Callable[[Array], tuple[Array, Array]], x: Array) -> tuple[Array, Array]:
    """Return the two results of an elementwise function.

    A small array is one piece. So is an array of another library, which has a cache of its own, or
    none, and one that `compile` records, whose program shows the function as it is.
    """
    if x.nbytes <= PIECE_BYTES or type(x) is not np.ndarray:
        return function(x)
    flat = np.reshape(x, -1)
    results = np.empty_like(flat), np.empty_like(flat)
    length = math.ceil(PIECE_BYTES / x.itemsize)
    for start in range(0, x.size, length):
        piece = slice(start, start + length)
        results[0][piece], results[1][piece] = function(flat[piece])
    return np.reshape(results[0], x.shape), np.reshape(results[1], x.shape)
