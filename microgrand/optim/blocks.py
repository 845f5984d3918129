"""Speed: update large parameters in blocks that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..kinds import Array

#: The operands of a block of this size stay in the cache from one NumPy call to the next.
BLOCK_BYTES = 1 << 18


def in_blocks(rule: Callable[..., None], arrays: Sequence[Array], numbers: Iterable[float]) -> None:
    """Apply an optimizer's rule to matching blocks of arrays of one shape.

    The rule is called as ``rule(*blocks, scratch, *numbers)``. What it writes into the blocks of
    the first array ends up there; for the others, this is certain only if they are contiguous. A
    small array is one block, without scratch space: there NumPy's own allocation is faster. So is
    an array of another library, which has a cache of its own, or none. Nor is there scratch space
    for arrays of several dtypes: it would have the widest, and results would have other bits.
    """
    data = arrays[0]
    if data.nbytes <= BLOCK_BYTES or type(data) is not np.ndarray:
        if data.ndim == 0:  # NumPy's results would be scalars, which a rule cannot change in place
            arrays = [array.reshape(1) for array in arrays]
        rule(*arrays, None, *numbers)
        return
    # Views of contiguous arrays, copies of others.
    flat = [array.reshape(-1) for array in arrays]
    length = BLOCK_BYTES // data.itemsize
    alike = all(array.dtype == data.dtype for array in arrays)
    scratch = np.empty_like(flat[0][:length]) if alike else None
    for start in range(0, data.size, length):
        blocks = [array[start : start + length] for array in flat]
        rule(*blocks, None if scratch is None else scratch[: blocks[0].size], *numbers)
    if not data.flags.c_contiguous:
        data[...] = flat[0].reshape(data.shape)
