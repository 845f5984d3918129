"""Windows: where a kernel that moves over an input meets it, for convolution and pooling.

Along one axis, when the kernel stands at place ``p``, its element ``k`` meets the input's element

    i = stride p + dilation k - padding.

Places ``p`` at which ``i`` lies outside of the input meet nothing: there is the padding.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

from ..kinds import Shape


@dataclass(frozen=True)
class Windows:
    """The places of a kernel on an input: lengths along each spatial axis, first to last.

    Parameters
    ----------
    lengths
        Of the input.
    kernel
        Of the kernel.
    stride
        From one place to the next.
    padding
        How far the first place lies before the input's beginning.
    dilation
        From one element of the kernel to the next.
    places
        How many places there are.
    """

    lengths: Shape
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    places: Shape

    @functools.cached_property
    def stay_inside(self) -> bool:
        """Whether each element of the kernel meets the input at all places."""
        return all(
            places == slice(0, number)
            for _, _, at in self.meetings
            for places, number in zip(at, self.places, strict=True)
        )

    @functools.cached_property
    def meetings(self) -> list[tuple[Any, Any, Any]]:
        """List each element of the kernel, what it meets of the input, and at which places.

        All three index the spatial axes of an array: by integers, by slices, and by slices.
        """
        axes = zip(
            *(self.lengths, self.kernel, self.stride, self.padding, self.dilation, self.places),
            strict=True,
        )
        elements = itertools.product(*[meetings_along(*axis) for axis in axes])
        return [tuple(zip(*element, strict=True)) for element in elements]


def meetings_along(
    length: int, kernel: int, stride: int, padding: int, dilation: int, places: int
) -> list[tuple[int, slice, slice]]:
    """List the same for one axis."""
    found = []
    for k in range(kernel):
        offset = dilation * k - padding
        first = max(0, -(offset // stride))  # the least p with stride p + offset >= 0
        end = max(first, min(places, -((offset - length) // stride)))  # and with >= length
        start = stride * first + offset
        met = slice(start, start + stride * (end - first), stride)
        found.append((k, met, slice(first, end)))
    return found
