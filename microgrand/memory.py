"""Memory: keep what large arrays have freed, instead of giving it back at every training step.

The C library's allocator hands the memory of a large freed array back to the operating system,
which must map and clear it again, page by page, for the next array. That can take longer than the
computation. Every training step needs the same arrays again, so the work is wasted.
"""

from __future__ import annotations

import numpy as np


def keep_freed_memory() -> None:
    """Have the GNU C library reuse the memory of arrays up to 8 MiB; elsewhere, do nothing.

    Its allocator adapts to what a program frees. After a freed array of some size, those up to that
    size come from memory that it keeps, and it gives back only what is free beyond twice the size
    at the end of it. Programs that train nets with large layers get there by themselves; this frees
    an array of 8 MiB, which is never written to and so takes no physical memory, to reach that
    state immediately.

    The cost: freed memory stays with the process. To give it back instead, start Python with the
    environment variable ``MALLOC_MMAP_THRESHOLD_=131072``, which the library cannot override.

    The source is "mallopt(3)", M_MMAP_THRESHOLD, in the Linux manual.

    Examples
    --------
    >>> keep_freed_memory()
    """
    np.empty(8 << 20, np.uint8)
