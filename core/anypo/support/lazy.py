"""Sequences whose items are made when they are asked for."""

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TypeVar, overload

T = TypeVar("T")


class Lazy(Sequence[T]):
    """A sequence that says how many items it has, and what is at a place."""

    @abstractmethod
    def at(self, place: int) -> T:
        """The item at a place, counted from 0."""

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        found = range(len(self))[place]
        return self.at(found) if isinstance(found, int) else [self.at(each) for each in found]


@dataclass(frozen=True)
class Picked(Lazy[T]):
    """Some of the items of another sequence."""

    items: Sequence[T]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def at(self, place: int) -> T:
        """See `Lazy`."""
        return self.items[self.places[place]]


@dataclass(frozen=True)
class Joined(Lazy[T]):
    """The items of several sequences, one after the other."""

    parts: Sequence[Sequence[T]]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self.parts else 0

    def at(self, place: int) -> T:
        """See `Lazy`."""
        part = bisect_right(self._ends, place)
        return self.parts[part][place - self._ends[part]]
