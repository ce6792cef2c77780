"""Memory that is freed is kept for what comes next.

By default glibc gives large blocks back to the system, and the next step gets them anew, page by page:
a fifth of the time of a step of a small model.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
DEFAULTS = {TRIM_THRESHOLD: 128 * 2**10, MMAP_THRESHOLD: 128 * 2**10}  # bytes
KEPT = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 32 * 2**20}  # the most that all versions take


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep memory that is freed in the block; what is not glibc does as it always does."""
    libc = ctypes.CDLL(None)
    _set(libc, KEPT)
    try:
        yield
    finally:
        _set(libc, DEFAULTS)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, thresholds: dict[int, int]) -> None:
    if hasattr(libc, "mallopt"):
        for name, size in thresholds.items():
            libc.mallopt(name, size)
