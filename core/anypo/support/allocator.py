"""Memory that is freed is kept for what comes next.

By default glibc gives large blocks back to the system, and the next step gets them anew, page by
page: a sixth of the time of a step of a small model.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
DEFAULTS = {TRIM_THRESHOLD: 128 * 2**10, MMAP_THRESHOLD: 128 * 2**10}  # bytes
KEPT = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 32 * 2**20}  # the most that all versions take


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep memory that is freed in the block; whatever is not glibc goes on as it always does."""
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        yield
        return
    try:
        for name, size in KEPT.items():
            libc.mallopt(name, size)
        yield
    finally:
        for name, size in DEFAULTS.items():
            libc.mallopt(name, size)
        libc.malloc_trim(0)
