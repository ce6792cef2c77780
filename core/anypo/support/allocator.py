"""Memory that is freed is kept for what comes next.

By default glibc gives large blocks back to the system, and the next step gets them anew, page by
page, which is a good part of the time of a step of a small model.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 32 * 2**20}  # bytes, the most that glibc takes
USUAL = {TRIM_THRESHOLD: 64 * 2**20, MMAP_THRESHOLD: 32 * 2**20}  # where it goes by itself


class _Heap(ctypes.Structure):
    """`struct mallinfo2` of malloc.h: bytes from the system, as one heap and as blocks apart."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("unused", ctypes.c_size_t * 3),
        ("hblkhd", ctypes.c_size_t),
        ("others", ctypes.c_size_t * 5),
    )


def heap_size() -> int:
    """Bytes that the allocator has from the system, holes included; 0 if it does not say."""
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = _Heap
    told = libc.mallinfo2()
    return int(told.arena + told.hblkhd)


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
        for name, size in USUAL.items():
            libc.mallopt(name, size)
        libc.malloc_trim(0)
