"""Memory: keep what large arrays have freed, instead of giving it back at every training step.

The C library's allocator hands the memory of a large freed array back to the operating system,
which then has to map and clear it anew, page by page, for the next array: for dropout on a million
float32, 6.4 of 7.8 ms. Every training step needs the same arrays again, so that is wasted.
"""

from __future__ import annotations

import numpy as np


def keep_freed_memory() -> None:
    """Have the GNU C library reuse the memory of arrays up to 8 MiB; elsewhere, do nothing.

    Its allocator adapts to what a program frees. After a freed array of some size, those up to that
    size come from memory that it keeps, and it gives back only what is free beyond twice the size
    at the end of it. Programs that train nets with large layers get there by themselves; this frees
    an array of 8 MiB, which is never written to and so takes no physical memory, to get there at
    once and surely.

    The price is that of all memory that is kept: between arrays that live on, it stays with the
    process. Who would rather have it given back starts Python with the environment variable
    ``MALLOC_MMAP_THRESHOLD_=131072``; the library then has no say.

    The source is "mallopt(3)", M_MMAP_THRESHOLD, in the Linux manual.

    Examples
    --------
    >>> keep_freed_memory()
    """
    np.empty(8 << 20, np.uint8)
