"""Sequences compared."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any


def shared_start(first: Sequence[Any], *others: Sequence[Any]) -> int:
    """How many items all the sequences begin with in common."""
    items = zip(first, *others, strict=False)
    return len(list(takewhile(lambda each: all(item == each[0] for item in each), items)))
