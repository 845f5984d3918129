"""Memory: keep what large arrays have freed, instead of giving it back at every training step.

The C library's allocator hands the memory of a large freed array back to the operating system,
which then has to map and clear it anew, page by page, for the next array: for dropout on a million
float32, 6.4 of 7.8 ms. Every training step needs the same arrays again, so that is wasted.
"""

from __future__ import annotations

import numpy as np


def keep_freed_memory() -> None:
    """Have the GNU C library keep up to 64 MiB of freed memory; elsewhere, do nothing.

    Its allocator adapts to what a program frees: from then on, arrays up to the size of the
    largest one come from memory that it keeps, and it gives back only what exceeds twice that
    size. The largest that it learns from is 32 MiB with its own few bytes, so free one of almost
    that size. It is never written to and so takes no physical memory. A program that sets the
    ``MALLOC_...`` variables itself keeps its settings.

    The source is "mallopt(3)", M_MMAP_THRESHOLD, in the Linux manual.

    Examples
    --------
    >>> keep_freed_memory()
    """
    np.empty((32 << 20) - 8192, np.uint8)
