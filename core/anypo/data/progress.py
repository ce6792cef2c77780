"""Tell how far somebody is who goes through many rows."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[str, int, int], None]  # is told what is done, how much of it, and of how much

PATIENCE = 2.0  # seconds in which nothing is told
EVERY = 0.2  # seconds


def silent(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def watch(items: Iterable[T], total: int, tell: Callable[[int, int], None]) -> Iterator[T]:
    """The items; how many are done is told now and then, if it takes long."""
    start, due, done = time.monotonic(), PATIENCE, 0
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - start > due:
            due = time.monotonic() - start + EVERY
            tell(done, total)
    if due > PATIENCE:
        tell(done, total)
