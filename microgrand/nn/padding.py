"""Padding: more elements around an array, of one value, or repeating its own.

Each axis is joined from three parts, what comes before, the elements themselves, and what comes
after, all of them slices; so the gradient of an element is the sum over all its places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from ..kinds import ArrayLike, Value
from ..tensor import Tensor
from . import padding_checks
from .module import Module

Mode: TypeAlias = Literal["constant", "reflect", "replicate", "circular"]

# -------------------------------------------------------------------------------- functions


def pad(x: ArrayLike, pad: Sequence[int], mode: Mode = "constant", value: float = 0.0) -> Tensor:
    """Put elements around an array, axis by axis from the last.

    Parameters
    ----------
    x
        Tensor or array of any shape and dtype.
    pad
        How many elements there are before and after: ``(left, right)`` for the last axis,
        ``(left, right, top, bottom)`` for the last two, and so on. (`numpy.pad` begins with the
        first axis.) A negative number takes elements away.
    mode
        ``"constant"`` for `value`; ``"reflect"`` for the elements in mirror image, without that at
        the edge; ``"replicate"`` for that at the edge; ``"circular"`` for those of the other end.
    value
        What is put there in mode ``"constant"``.

    Returns
    -------
    Tensor
        Of the same dtype, and longer by these numbers.

    Raises
    ------
    TypeError
        If the numbers are not integers.
    ValueError
        If they do not belong to axes, or there are too few elements to reflect or repeat.

    Examples
    --------
    >>> from microgrand.nn import functional as F
    >>> F.pad([1, 2, 3], (1, 2))
    Tensor([0, 1, 2, 3, 0, 0])
    >>> F.pad([1, 2, 3], (2, 2), "reflect")
    Tensor([3, 2, 1, 2, 3, 2, 1])
    >>> F.pad([1, 2, 3], (2, 2), "replicate")
    Tensor([1, 1, 1, 2, 3, 3, 3])
    >>> F.pad([1, 2, 3], (2, 2), "circular")
    Tensor([2, 3, 1, 2, 3, 1, 2])
    """
    x = x if isinstance(x, Tensor) else Tensor(x)
    padding_checks.check_mode(mode, value)
    pairs = padding_checks.pairs_of(pad, x._array.shape)
    out = padded("pad", x, pairs, mode, padding_checks.number_in(x.dtype, "pad's value", value))
    return out if isinstance(out, Tensor) else Tensor(out)  # as integers have no graph


def padded(
    who: str, x: Value, pairs: Sequence[tuple[int, int]], mode: Mode, value: float = 0.0
) -> Value:
    """Pad the last axes by one pair each, the last axis last."""
    padding_checks.check_room(who, x._array.shape, pairs, mode)
    for axis, (before, after) in enumerate(pairs, x._array.ndim - len(pairs)):
        if before or after:
            x = padded_along(x, axis, before, after, mode, value)
    return x


def padded_along(x: Value, axis: int, before: int, after: int, mode: Mode, value: float) -> Value:
    """Pad one axis."""

    def part(start: int, stop: int | None, step: int = 1) -> Value:
        return x[(slice(None),) * axis + (slice(start, stop, step),)]

    x = part(max(-before, 0), x._array.shape[axis] - max(-after, 0))
    before, after = max(before, 0), max(after, 0)
    shape = list(x._array.shape)
    length = shape[axis]
    if mode == "reflect":
        last = length - 2 - after  # is left out, as is what lies before the first
        start, end = part(before, 0, -1), part(length - 2, None if last < 0 else last, -1)
    elif mode == "circular":
        start, end = part(length - before, length), part(0, after)
    else:
        around: list[Value] = []
        for number, edge in (before, 0), (after, length - 1):
            shape[axis] = number
            if mode == "constant":
                around.append(np.full_like(x._array, value, shape=tuple(shape)))
            else:
                around.append(np.broadcast_to(part(edge, edge + 1), tuple(shape)))
        start, end = around
    parts = [start] * (before > 0) + [x] + [end] * (after > 0)
    return np.concatenate(parts, axis) if len(parts) > 1 else x


# ----------------------------------------------------------------------------------- layers


class Pad(Module):
    """What the layers of padding share.

    Parameters
    ----------
    padding
        How many elements there are on each side: a number, or ``(left, right)`` in one dimension
        and ``(left, right, top, bottom)`` in two.
    """

    axes: int
    mode: Mode
    value: float = 0.0

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        self.padding = padding_checks.paddings(type(self).__name__, padding, self.axes)

    def forward(self, x: ArrayLike) -> Tensor:
        """Pad the last axes, one or two of them."""
        return pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        """Return the numbers."""
        return str(self.padding)


class ConstantPad(Pad):
    """What `ConstantPad1d` and `ConstantPad2d` share."""

    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        padding_checks.check_mode(self.mode, value)
        self.value = value

    def extra_repr(self) -> str:
        """Return the numbers and the value."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(ConstantPad):
    """Put a value before and after the last axis; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ConstantPad1d((1, 2), 0.5)([1.0, 2.0])
    Tensor([0.5, 1. , 2. , 0.5, 0.5])
    """

    axes = 1


class ConstantPad2d(ConstantPad):
    """Put a value around the last two axes; see `functional.pad`.

    Examples
    --------
    >>> import numpy as np
    >>> from microgrand import nn
    >>> nn.ConstantPad2d((1, 2, 3, 4), 0.5)(np.ones((5, 3, 8, 8))).shape
    (5, 3, 15, 11)
    """

    axes = 2


class ZeroPad1d(Pad):
    """Put zeros before and after the last axis; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ZeroPad1d((2, 0))([1.0, 2.0])
    Tensor([0., 0., 1., 2.])
    """

    axes, mode = 1, "constant"


class ZeroPad2d(Pad):
    """Put zeros around the last two axes; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ZeroPad2d(1)([[1.0, 2.0]])
    Tensor([[0., 0., 0., 0.],
            [0., 1., 2., 0.],
            [0., 0., 0., 0.]])
    """

    axes, mode = 2, "constant"


class ReflectionPad1d(Pad):
    """Go on in mirror image before and after the last axis; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ReflectionPad1d(2)([1.0, 2.0, 3.0])
    Tensor([3., 2., 1., 2., 3., 2., 1.])
    """

    axes, mode = 1, "reflect"


class ReflectionPad2d(Pad):
    """Go on in mirror image around the last two axes; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ReflectionPad2d((1, 0, 0, 1))([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[2., 1., 2.],
            [4., 3., 4.],
            [2., 1., 2.]])
    """

    axes, mode = 2, "reflect"


class ReplicationPad1d(Pad):
    """Repeat the first and the last element of the last axis; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ReplicationPad1d(2)([1.0, 2.0, 3.0])
    Tensor([1., 1., 1., 2., 3., 3., 3.])
    """

    axes, mode = 1, "replicate"


class ReplicationPad2d(Pad):
    """Repeat the elements at the edges of the last two axes; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.ReplicationPad2d((1, 0, 0, 1))([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[1., 1., 2.],
            [3., 3., 4.],
            [3., 3., 4.]])
    """

    axes, mode = 2, "replicate"


class CircularPad1d(Pad):
    """Go on with the elements of the other end of the last axis; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.CircularPad1d(2)([1.0, 2.0, 3.0])
    Tensor([2., 3., 1., 2., 3., 1., 2.])
    """

    axes, mode = 1, "circular"


class CircularPad2d(Pad):
    """Go on with the elements of the other end of the last two axes; see `functional.pad`.

    Examples
    --------
    >>> from microgrand import nn
    >>> nn.CircularPad2d((1, 0, 0, 1))([[1.0, 2.0], [3.0, 4.0]])
    Tensor([[2., 1., 2.],
            [4., 3., 4.],
            [2., 1., 2.]])
    """

    axes, mode = 2, "circular"
