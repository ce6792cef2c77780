"""Things that stay in their process, however far that which names them goes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

_known: WeakValueDictionary[str, "Here"] = WeakValueDictionary()


@dataclass(eq=False)
class Here:
    """A thing that one process has; what other processes are sent holds nothing.

    Copies are the same one, so that it is gone when nobody has any of them.
    """

    rank: int  # of the process that has it
    thing: Any
    key: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        _known[self.key] = self

    def __reduce__(self) -> tuple[Callable[..., "Here"], tuple[int, str]]:
        return the_one, (self.rank, self.key)


def the_one(rank: int, key: str) -> Here:
    """Of that key, which holds nothing where this process has it not, or no longer."""
    return _known.get(key) or Here(rank, None, key)
