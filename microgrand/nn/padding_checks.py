"""What padding refuses, and what to do instead.

Each function returns, or raises an error that says what was given, what was expected and how to
mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..checks import is_integer
from ..kinds import DTypeLike, Shape
from . import layer_checks

#: How an array may be padded.
MODES = ("constant", "reflect", "replicate", "circular")


def check_mode(mode: Any, value: Any) -> None:
    """Raise if an array is to be padded in a way that is not known, or by no number."""
    layer_checks.one_of("pad's mode", mode, MODES)
    layer_checks.number("pad's value", value)
    if mode != "constant" and value:
        raise ValueError(
            f"pad's value is for mode='constant', got value={value!r} with mode={mode!r}, which "
            "takes elements of the input; leave one out"
        )


def number_in(dtype: DTypeLike, who: str, value: Any) -> Any:
    """Return a number to pad arrays with in their dtype, or raise if that cannot hold it."""
    with np.errstate(invalid="ignore"):
        number = np.asarray(value).astype(dtype)[()]
    if dtype.kind not in "fcV" and number != value:  # V: bfloat16's
        raise ValueError(
            f"{who} is {value!r}, and what is to be padded is of dtype {dtype}, which cannot hold "
            "it; convert that with astype(np.float32)"
        )
    return number


def check_integers(who: str, given: Any) -> None:
    """Raise if how much to pad is not told by integers."""
    if not isinstance(given, (tuple, list)) or not all(map(is_integer, given)):
        raise TypeError(
            f"{who} is a tuple of integers, (left, right) for the last axis or (left, right, top, "
            f"bottom) for the last two, got {given!r}"
        )


def pairs_of(pad: Any, shape: Shape) -> list[tuple[int, int]]:
    """Return how much to pad the last axes, the last one last, or raise."""
    check_integers("pad's pad", pad)
    if len(pad) % 2 or len(pad) > 2 * len(shape):
        raise ValueError(
            f"pad takes two numbers for each axis, beginning with the last: got {tuple(pad)} for "
            f"an input of shape {shape}"
        )
    return [(int(pad[i]), int(pad[i + 1])) for i in range(len(pad) - 2, -1, -2)]


def paddings(who: str, padding: Any, axes: int) -> tuple[int, ...]:
    """Return how much a layer pads, as `pad` takes it, or raise."""
    given = (padding,) * (2 * axes) if is_integer(padding) else padding
    check_integers(f"{who}'s padding", given)
    if len(given) != 2 * axes:
        sides = ", ".join(("left", "right", "top", "bottom")[: 2 * axes])
        raise ValueError(f"{who}'s padding is a number or ({sides}), got {tuple(given)}")
    return tuple([int(number) for number in given])


#: How many elements fewer than an axis has may be taken from it.
FEWER = {"reflect": 1, "circular": 0}


def check_room(who: str, shape: Shape, pairs: Sequence[tuple[int, int]], mode: str) -> None:
    """Raise if an axis has fewer elements than are taken away, or than are to be put around."""
    for axis, (before, after) in enumerate(pairs, len(shape) - len(pairs)):
        left = shape[axis] + min(before, 0) + min(after, 0)
        if left < 0:
            raise ValueError(
                f"{who} got an input of shape {shape}, whose axis {axis} has fewer elements than "
                f"are taken away, {(before, after)}"
            )
        most = left - FEWER[mode] if mode in FEWER else max(before, after)
        if max(before, after) > most or (mode == "replicate" and most > 0 == left):
            option = "mode='constant'" if who == "pad" else "padding_mode='zeros'"
            raise ValueError(
                f"{who} got an input of shape {shape}, which has too few elements along axis "
                f"{axis} for {max(before, after)} more in mode {mode!r}; pad less, or with {option}"
            )
