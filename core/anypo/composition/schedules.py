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
    """From one value to another, such as `linear(0.1, 0.0)`; files and tables show it so."""

    def at(self, share: float) -> Any:
        """The value after a share of the way, from 0 to 1; of integers, those between are rounded.

        It is the first one in the first step, and the last one in the last.
        """
        kind, *ends = WRITTEN.split(self)[1:4]
        first, last = (int(end) if end.lstrip("-").isdigit() else float(end) for end in ends)
        value = first + (last - first) * SCHEDULES[kind](share)
        return round(value) if isinstance(first, int) else value


def read_schedule(text: Any, check: Callable[[str], Any]) -> Schedule | None:
    """The schedule that a text says; None if it says none.

    Args:
        text: Such as `cosine(1, 0)`.
        check: Gives either end its type, or raises.
    """
    found = WRITTEN.fullmatch(text.strip()) if isinstance(text, str) else None
    return Schedule(f"{found[1]}({check(found[2])}, {check(found[3])})") if found else None


def at(value: Any, share: float) -> Any:
    """The value of a knob after a share of the way, whether it is one or follows a schedule."""
    return value.at(share) if isinstance(value, Schedule) else value
