"""Masks: zero the units that a mask drops, draw masks, and decide which one a call gets.

A dropped unit is not there: nothing it computes may reach the loss, and no gradient may reach it.
Both passes therefore apply the same mask,

    out = scale * mask * x,        g_x = scale * mask * g,

and because each output depends on its own input only, the map is its own VJP. The layers ReLU and
Dropout differ only in where the mask comes from: the sign of the input, or chance.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from ...checks import PLAIN
from ...dispatch import as_array
from ...engine import defvjp, primitive
from ...kinds import Array, Mask, Shape, Value
from ...random import default_rng
from ..checks import check_mask

if TYPE_CHECKING:
    from .layers import DropoutBase

# ----------------------------------------------------------------------------- applying a mask

#: Integer type of each float's width, keyed by itemsize.
INTEGERS = {2: np.int16, 4: np.int32, 8: np.int64}


@primitive
def apply_mask(x: Value, mask: Mask, scale: float = 1.0) -> Value:
    """Multiply `x` by `scale` where `mask` is True, and put exact zeros elsewhere.

    Multiplying by the mask would turn a dropped ``inf`` into ``inf * 0 = nan``. Instead, the bits
    of ``x``, read as an integer, are multiplied by 0 or 1, which is exact. The result is that of
    ``np.where(mask, x * scale, 0)``, which chooses at each element, and is many times slower for a
    random mask.

    Parameters
    ----------
    x
        Array or tensor of any float dtype and shape.
    mask
        Boolean array, one byte an element, of a shape that broadcasts with that of `x`.
    scale
        Factor for what is kept.

    Raises
    ------
    TypeError
        If `mask` is not boolean.

    Examples
    --------
    >>> import numpy as np
    >>> apply_mask(np.array([1.0, np.inf, np.nan]), np.array([True, False, False]), 2.0)
    array([2., 0., 0.])
    """
    check_mask(mask)
    if x.__class__ not in PLAIN:  # on a device, to which a mask drawn on the host is brought
        mask = np.asarray(mask, like=x)
    integer = INTEGERS.get(x.dtype.itemsize)
    if integer is None:  # a longer float
        return np.where(mask, x * scale, 0)
    zeroed = (x.view(integer) * mask).view(x.dtype)
    if scale == 1:
        return zeroed
    if integer is np.int16:  # in float16, a large scale is inf, and turns zeros into nan
        return (zeroed.astype(np.float32) * scale).astype(x.dtype)
    return zeroed * scale


defvjp(apply_mask, lambda g, out, x, mask, scale=1.0: apply_mask(g, mask, scale))


# ------------------------------------------------------------------------------ drawing a mask


def bernoulli_mask(shape: Shape, keep_probability: float, rng: np.random.Generator) -> Mask:
    """Draw a boolean mask whose elements are True with exactly the given probability.

    A random byte ``b`` is uniform on 0..255, so ``b < 256 * keep_probability`` decides a unit
    with 8 random bits. Only a byte equal to the whole part of the threshold is a tie; a second
    draw then decides by the fractional part. Without that, the probability would be rounded to a
    multiple of 1/256.

    Examples
    --------
    >>> import numpy as np
    >>> bernoulli_mask((2, 4), 0.5, np.random.default_rng(0)).shape
    (2, 4)
    """
    if not isinstance(rng, np.random.Generator):  # a device's: it draws as many bits as it likes
        return rng.random(shape) < keep_probability
    threshold = int(256 * keep_probability)
    rest = 256 * keep_probability - threshold
    draws = random_bytes(math.prod(shape), rng)
    mask = draws < threshold
    if rest:
        ties = np.flatnonzero(draws == threshold)
        mask[ties] = rng.random(ties.size) < rest
    return read_only(mask.reshape(shape))


def random_bytes(size: int, rng: np.random.Generator) -> Array:
    """Draw uniform bytes, eight from each word of the generator."""
    count = (size + 7) // 8
    if isinstance(rng.bit_generator, np.random.MT19937):  # its raw words have only 32 bits
        words = rng.integers(0, 2**64, size=count, dtype=np.uint64)
    else:
        words = rng.bit_generator.random_raw(count)
    return words.view(np.uint8)[:size]


def read_only(mask: Mask) -> Mask:
    """Forbid writing into a mask: the backward pass will use it, too."""
    if isinstance(mask, np.ndarray):  # arrays of other libraries have no such flag
        mask.setflags(write=False)
    elif isinstance(mask, np.generic):  # what a 0-d comparison returns
        return read_only(as_array(mask))
    return mask


# ------------------------------------------------------------------------------ which mask?


class MaskSource:
    """What gives dropout its masks: this one draws them; that of a block may replay others."""

    #: Whether layers in evaluation mode drop, too, as in Monte Carlo dropout.
    drops_in_evaluation: bool = False

    def next_mask(self, layer: DropoutBase, shape: Shape) -> Mask:
        """Return the mask of one call of a layer."""
        return self.draw(layer, shape, layer.rng or default_rng)

    def draw(self, layer: DropoutBase, shape: Shape, rng: np.random.Generator) -> Mask:
        """Draw a mask, for this source or for a block within it."""
        return layer.draw(shape, rng)


#: The source outside all blocks.
chance = MaskSource()

# A context variable rather than a global: it holds for one thread or asyncio task only.
source: ContextVar[MaskSource] = ContextVar("source", default=chance)


def next_mask(layer: DropoutBase, shape: Shape) -> Mask | None:
    """Decide which mask one call of a layer gets, or None if nothing is to be dropped.

    Every kind of dropout asks here.
    """
    current = source.get()
    if layer.training or current.drops_in_evaluation:
        return current.next_mask(layer, shape)
    return None
