"""Schedules, of a drop probability or a learning rate: the way from one value to another."""

from __future__ import annotations

import math
from collections.abc import Callable

Curve = Callable[[float], float]  # from 0 to 1, while its argument goes from 0 to 1


def straight(t: float) -> float:
    """Go at one speed."""
    return t


def half_cosine(t: float) -> float:
    """Go slowly, fast, slowly."""
    return (1 - math.cos(math.pi * t)) / 2


def value_between(start: float, stop: float, t: float, curve: Curve) -> float:
    """Return the value at the time `t`, from 0 at `start` to 1 at `stop`."""
    t = curve(min(t, 1.0))
    # Rounding must not go past the ends.
    return min(max((1 - t) * start + t * stop, min(start, stop)), max(start, stop))
