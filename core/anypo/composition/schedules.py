"""Values of knobs that change from the first step to the last."""

import math
import re
from collections.abc import Callable
from typing import Any

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the way, by share of the steps
    "linear": lambda share: share,
    "cosine": lambda share: (1 - math.cos(math.pi * share)) / 2,
}
WRITTEN = re.compile(rf"({'|'.join(SCHEDULES)})\(\s*([^,\s]+)\s*,\s*([^,\s]+)\s*\)")


class Schedule(str):
    """From one value to another, written as `linear(0.1, 0.0)`; files and tables show that.

    Attributes:
        kind: One of `SCHEDULES`.
        first: The value in the first step.
        last: The value in the last step; of integers, those between are rounded.
    """

    kind: str
    first: Any
    last: Any

    def __new__(cls, kind: str, first: Any, last: Any) -> "Schedule":
        """See the class."""
        schedule = super().__new__(cls, f"{kind}({first}, {last})")
        schedule.kind, schedule.first, schedule.last = kind, first, last
        return schedule

    def __getnewargs__(self) -> Any:  # a text is copied by what it says
        return self.kind, self.first, self.last

    def at(self, share: float) -> Any:
        """The value after a share of the way, from 0 to 1."""
        value = self.first + (self.last - self.first) * SCHEDULES[self.kind](share)
        return round(value) if isinstance(self.first, int) else value


def read_schedule(text: Any, check: Callable[[str], Any]) -> Schedule | None:
    """The schedule that a text says; None if it says none.

    Args:
        text: Such as `cosine(1, 0)`.
        check: Gives either end its type, or raises.
    """
    found = WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    return Schedule(found[1], check(found[2]), check(found[3])) if found else None


def at(value: Any, share: float) -> Any:
    """The value of a knob after a share of the way, whether it is one or follows a schedule."""
    return value.at(share) if isinstance(value, Schedule) else value
