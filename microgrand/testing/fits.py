"""Polynomials through values on a line: their slope at 0, and what they leave of the values.

The values of many functions are taken at the same steps, so what depends on the steps alone is
kept: bases, and projections onto what no polynomial reaches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..kinds import Array

#: The degrees that are tried for a slope: odd ones, as an even power adds nothing to it.
DEGREES = (1, 3, 5, 7, 9)
#: How many values a piece must have, to be fitted by a cubic on its own.
PIECE = 6


def slopes(t: Array, e: Array, roughnesses: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Yield a slope at 0, and its error, for each roughness that polynomials leave of values.

    That is the slope of one that fits, if a low degree does.
    """
    if not np.isfinite(e).all() or not t.min() < 0 < t.max() or len(np.unique(t)) < 10:
        return
    bases, weights, errors = powers_of(t.tobytes())
    left = [spread(e - basis @ (basis.T @ e), basis.shape[1]) for basis in bases]
    for roughness in roughnesses:
        for degree in range(len(DEGREES) - 1):
            if left[degree] <= 1.5 * roughness:
                # Of two degrees that fit, the higher: what the lower leaves may hide in roughness,
                # and be a part of its slope. Rounding averages out: four standard deviations.
                yield float(weights[degree + 1] @ e), float(4 * errors[degree + 1] * roughness)
                break


@lru_cache(maxsize=1024)
def powers_of(steps: bytes) -> tuple[list[Array], Array, Array]:
    """Return bases of the polynomials of each degree but the last, and the weights of slopes.

    The weights make of values the slope at 0 of the best polynomial of each degree; with them comes
    what they make of independent errors of the size 1.
    """
    t = np.frombuffer(steps)
    unit = np.max(np.abs(t))
    basis, r = np.linalg.qr(np.vander(t / unit, DEGREES[-1] + 1, increasing=True))
    inverse = np.linalg.pinv(r)
    sizes = [degree + 1 for degree in DEGREES]
    weights = np.array([inverse[1, :n] @ basis[:, :n].T for n in sizes]) / unit
    return [basis[:, :n] for n in sizes[:-1]], weights, np.linalg.norm(weights, axis=1)


def smallest_residual(t: Array, e: Array, enough: float) -> float:
    """Return what a cubic leaves of values, or two with a kink or a jump somewhere in between."""
    if not np.isfinite(e).all():
        return np.inf
    size = np.max(np.abs(e)) or 1.0
    steps, e = t.tobytes(), e / size
    smallest = spread(projection(steps, 3) @ e, 4)
    if size * smallest > enough:
        found = np.minimum.accumulate([smallest, *np.linalg.norm(in_two(steps) @ e, axis=1)])
        do = np.flatnonzero(size * found <= enough)
        smallest = found[do[0] if do.size else -1]
    return float(size * smallest)


def left_by(t: Array, e: Array, degree: int) -> float:
    """Return the spread of values around the best polynomial."""
    size = np.max(np.abs(e)) or 1.0
    return float(size) * spread(projection(t.tobytes(), degree) @ (e / size), degree + 1)


@lru_cache(maxsize=256)
def projection(steps: bytes, degree: int) -> Array:
    """Return what takes the best polynomial off values."""
    powers = np.vander(np.frombuffer(steps), degree + 1)
    return np.asarray(np.eye(len(powers)) - powers @ np.linalg.pinv(powers))


@lru_cache(maxsize=256)
def in_two(steps: bytes) -> Array:
    """Return, for each place to cut steps in two, what leaves of values their spread around cubics.

    The norm of it is that of both parts, of which each has at least six values.
    """
    powers = np.vander(np.frombuffer(steps), 4)
    n = len(powers)
    ahead = np.arange(n) >= np.arange(1, n)[:, None]
    parts = np.stack([~ahead, ahead])
    masked = parts[..., None] * powers
    left = parts[..., None] * np.eye(n) - masked @ np.linalg.pinv(masked)
    length = parts.sum(axis=2)
    weights = np.where(length >= PIECE, 1 / np.maximum(length - 4, 1), 0)
    weights = np.sqrt(weights / np.sum(length >= PIECE, axis=0))
    return np.asarray(np.concatenate(weights[..., None, None] * left, axis=1))


def spread(left: Array, parameters: int) -> float:
    """Return the standard deviation that residuals tell of."""
    return float(norm(left) / np.sqrt(len(left) - parameters))


def norm(x: Array, axis: int | None = None) -> Any:
    """Return the norm of vectors whose squares may overflow."""
    size = np.max(np.abs(x), axis=axis, keepdims=True, initial=0)
    size = np.where((size > 0) & np.isfinite(size), size, 1.0)
    return np.squeeze(size, axis) * np.linalg.norm(x / size, axis=axis)
