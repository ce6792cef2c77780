"""What reward functions return, of which nothing is trusted."""

import math
from numbers import Real
from typing import Any

from anypo.errors import RewardError

Answer = float | list[tuple[int, float]]  # a score, or the rewards of steps


def checked(name: str, answer: Any, rows: int) -> list[Answer]:
    """What a reward says of each of so many completions; NaN where it does not apply.

    Raises:
        RewardError: It is not one finite number, None or list of steps per completion.
    """
    values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, list | tuple):
        raise RewardError(f"reward '{name}' returned {answer!r:.60}, not a list of numbers")
    if len(values) != rows:
        raise RewardError(f"reward '{name}' returned {len(values)} numbers for {rows} completions")
    return [_checked_value(f"reward '{name}'", value, i) for i, value in enumerate(values)]


def _checked_value(who: str, value: Any, row: int) -> Answer:
    if value is None:
        return math.nan
    if _is_number(value):
        return float(value)
    if isinstance(value, list | tuple) and all(_is_step(step) for step in value):
        return [(int(end), float(reward)) for end, reward in value]
    raise RewardError(
        f"{who} returned {value!r:.60} for completion {row}: a reward is a finite number, None "
        "where it does not apply, or a list of (end token, reward) steps"
    )


def _is_number(value: Any) -> bool:
    try:
        value = value.item() if hasattr(value, "item") else value  # of NumPy and torch
        return isinstance(value, Real) and math.isfinite(value)
    except (OverflowError, RuntimeError, ValueError):
        return False


def _is_step(step: Any) -> bool:
    is_pair = isinstance(step, list | tuple) and len(step) == 2
    return is_pair and isinstance(step[0], int) and _is_number(step[1])
