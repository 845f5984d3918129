"""Masks: zero the units that a mask drops, draw masks, and decide which one a call gets.

A dropped unit is not there: nothing it computes may reach the loss, and no gradient may reach it.
Both passes therefore apply the same mask,

    out = scale * mask * x,        g_x = scale * mask * g,

because the map is linear, and its Jacobian is diagonal. ReLU's derivative is a mask, too: it comes
from the sign of the input, that of dropout from chance.
"""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from ...engine import defvjp, primitive
from ...kinds import NUMPY_CLASSES, Array, DTypeLike, Mask, Shape, Value
from ...random import default_generator
from ...traced import to_array
from ..checks import check_mask

if TYPE_CHECKING:
    from .layers import DropoutBase

# ----------------------------------------------------------------------------- applying a mask

#: The integers that are as wide as the numbers of a dtype.
INTEGERS: dict[DTypeLike, type] = {
    np.dtype(np.float16): np.int16,
    np.dtype(np.float32): np.int32,
    np.dtype(np.float64): np.int64,
    np.dtype(np.complex64): np.int64,
}


@primitive
def apply_mask(x: Value, mask: Mask, scale: float = 1.0) -> Value:
    """Multiply `x` by `scale` where `mask` is True, and put exact zeros elsewhere.

    Multiplying by the mask would turn a dropped ``inf`` into ``inf * 0 = nan``. Instead, the bits
    of ``x``, read as an integer, are multiplied by 0 or 1, which is exact. The result is that of
    ``np.where(mask, x * scale, 0)``, which chooses at each element, and is many times slower for a
    random mask. (float16 is scaled in float32, and rounded once.)

    Parameters
    ----------
    x
        Array or tensor of numbers, of any shape.
    mask
        Boolean array, one byte per element, of a shape that broadcasts with that of `x`.
    scale
        Factor for what is kept, positive and finite in the dtype of `x`.

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
    if x.__class__ not in NUMPY_CLASSES:  # of another library: move a mask of NumPy's there
        mask = np.asarray(mask, like=x)
    integer = INTEGERS.get(x.dtype)
    if integer is None:
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

    A random byte decides each unit: bytes are faster to draw than floats. 256 times the probability
    is a whole number plus a fraction: a byte below the whole number keeps its unit, a byte above it
    drops it. A byte equal to it is a tie, which a second draw decides by the fraction. Without
    that, the probability would be rounded to a multiple of 1/256.

    Examples
    --------
    >>> import numpy as np
    >>> bernoulli_mask((2, 4), 0.5, np.random.default_rng(0)).shape
    (2, 4)
    """
    if not isinstance(rng, np.random.Generator):  # another library's: they all have `random`
        return rng.random(shape) < keep_probability
    whole = int(256 * keep_probability)
    fraction = 256 * keep_probability - whole
    draws = random_bytes(math.prod(shape), rng)
    mask = draws < whole
    if fraction:
        ties = np.flatnonzero(draws == whole)
        mask[ties] = rng.random(ties.size) < fraction
    return read_only(mask).reshape(shape)


def random_bytes(size: int, rng: np.random.Generator) -> Array:
    """Draw uniform bytes, eight from each word of the generator: fewer draws than one per byte."""
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
    elif isinstance(mask, np.generic):  # of a 0-d input; it has no such flag, either
        return read_only(to_array(mask))
    return mask


# ------------------------------------------------------------------------------ which mask?


class MaskSource:
    """What gives dropout its masks. This one lets each layer draw, with the layer's generator.

    `mask_of_call` asks it for a layer's next mask: `next_mask` chooses the generator, `draw_mask`
    passes it on, and ``layer.draw`` draws a mask of the layer's kind. Blocks put other sources in
    its place: ``with DropoutMasks():`` (replay.py) replays masks, `mc_dropout` draws them with one
    generator, `compile` writes down how they are drawn. A block within another asks the outer
    source for what it does not decide itself.
    """

    #: Whether layers in evaluation mode drop, too, as in Monte Carlo dropout.
    drops_in_evaluation: bool = False

    def next_mask(self, layer: DropoutBase, shape: Shape) -> Mask:
        """Return the mask for `layer`'s next call."""
        return self.draw_mask(layer, shape, layer.rng or default_generator)

    def draw_mask(self, layer: DropoutBase, shape: Shape, rng: np.random.Generator) -> Mask:
        """Let `layer` draw a mask with `rng`.

        A separate method so that `compile` can see every draw.
        """
        return layer.draw(shape, rng)


#: The source outside all blocks.
chance = MaskSource()

# A context variable rather than a global: it holds for one thread or asyncio task only.
source: ContextVar[MaskSource] = ContextVar("source", default=chance)


def mask_of_call(layer: DropoutBase, shape: Shape) -> Mask | None:
    """Return the mask for one call of a layer of any kind, or None if nothing is to be dropped."""
    current = source.get()
    if layer.training or current.drops_in_evaluation:
        return current.next_mask(layer, shape)
    return None
