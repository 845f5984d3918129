"""Shares: what each element of a window contributes to a pool's output, and gets back.

A pool is the average or the maximum of what a window meets, at each of its places. Both are sums:

    y[p] = sum over k of  share[k, p] x[i(p, k)],

where ``i(p, k)`` is what element ``k`` of the window meets at place ``p`` (see windows.py). For an
average, the shares of a place are equal; for a maximum, those of the elements that equal it are,
and the others have none. The cotangents go back by the same shares. So two functions do it all,
each the other's transpose, and hence its VJP: `gather` sums up, over the winners only if there are
any, and `scatter` puts back.
"""

from __future__ import annotations

import math

import numpy as np

from ..dispatch import data_of
from ..engine import defvjp, primitive
from ..kinds import Array, Mask, Value
from ..vjps.rules import wide
from .dropout.masks import apply_mask
from .windows import Windows


def at_places(prototype: Array, windows: Windows, value: float = 0) -> Array:
    """Make an array of outputs for an input, or anything of its kind."""
    shape = (*prototype.shape[: -len(windows.places)], *windows.places)
    return np.full_like(prototype, value, shape=shape)


@primitive
def gather(x: Value, windows: Windows, winners: list[Mask] | None = None) -> Value:
    """Sum what each window meets, or only the winners."""
    x = wide(x)
    y = at_places(x, windows)
    for i, (_, met, places) in enumerate(windows.meetings):
        there, part = y[(..., *places)], x[(..., *met)]
        np.add(there, part if winners is None else apply_mask(part, winners[i]), out=there)
    return y


@primitive
def scatter(y: Value, windows: Windows, winners: list[Mask] | None = None) -> Value:
    """Add each output to what its window meets, or only to the winners."""
    y = wide(y)
    x = np.zeros_like(y, shape=(*y.shape[: -len(windows.places)], *windows.lengths))
    for i, (_, met, places) in enumerate(windows.meetings):
        there, part = x[(..., *met)], y[(..., *places)]
        np.add(there, part if winners is None else apply_mask(part, winners[i]), out=there)
    return x


defvjp(gather, lambda g, out, x, windows, winners=None: scatter(g, windows, winners))
defvjp(scatter, lambda g, out, y, windows, winners=None: gather(g, windows, winners))


@primitive
def largest(x: Value, windows: Windows) -> Value:
    """Find the largest of what each window meets; a nan wins."""
    y = at_places(x, windows, -math.inf)
    for _, met, places in windows.meetings:
        there = y[(..., *places)]
        np.maximum(there, x[(..., *met)], out=there)
    return y


def largest_vjp(g: Value, out: Value, x: Value, windows: Windows) -> Value:
    """Share the cotangent evenly among the elements that equal the largest."""
    x, out = data_of(x), data_of(out)
    ties = at_places(wide(x), windows)
    winners = []
    for _, met, places in windows.meetings:
        part, there = x[(..., *met)], ties[(..., *places)]
        winners.append(np.equal(part, out[(..., *places)]) | np.isnan(part))
        np.add(there, winners[-1], out=there)
    return scatter(wide(g) / np.maximum(ties, 1), windows, winners)


defvjp(largest, largest_vjp)
