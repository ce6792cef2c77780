"""What reward functions return, of which nothing is trusted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from anypo.data.content import sound
from anypo.errors import DataError, RewardError

PARTS = {"score", "feedback"}  # of a judgement that is written as a mapping


@dataclass(frozen=True)
class Judgement:
    """What a reward function may return for a completion: a score, and words beside it."""

    score: Any  # what it may return without words: a number, None, or the rewards of steps
    feedback: str = ""


@dataclass(frozen=True)
class Answer:
    """What a reward says of a completion, once it has been checked."""

    score: float | list[tuple[int, float]]  # NaN where it does not apply; or the rewards of steps
    feedback: str = ""


def checked(name: str, answer: Any, rows: int) -> list[Answer]:
    """What a reward says of each of so many completions.

    Raises:
        RewardError: It is not one finite number, None or list of steps per completion, alone or
            with feedback.
    """
    values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, list | tuple):
        raise RewardError(f"reward '{name}' returned {answer!r:.60}, not a list of numbers")
    if len(values) != rows:
        raise RewardError(f"reward '{name}' returned {len(values)} numbers for {rows} completions")
    return [_judged(f"reward '{name}'", value, i) for i, value in enumerate(values)]


def _judged(who: str, value: Any, row: int) -> Answer:
    if isinstance(value, Mapping) and "score" in value and value.keys() <= PARTS:
        value = Judgement(**value)
    if not isinstance(value, Judgement):
        return Answer(_checked_value(who, value, row))
    if not isinstance(value.feedback, str):
        raise RewardError(
            f"{who} returned {value.feedback!r:.60} as the feedback to completion {row}: feedback "
            "is a text, '' where there is nothing to say"
        )
    try:
        feedback = sound(value.feedback.strip())
    except DataError as error:
        raise RewardError(
            f"{who} gave feedback to completion {row} that is broken: {error}"
        ) from error
    return Answer(_checked_value(who, value.score, row), feedback)


def _checked_value(who: str, value: Any, row: int) -> float | list[tuple[int, float]]:
    if value is None:
        return math.nan
    if _is_number(value):
        return float(value)
    if isinstance(value, list | tuple) and all(_is_step(step) for step in value):
        return [(int(end), float(reward)) for end, reward in value]
    raise RewardError(
        f"{who} returned {value!r:.60} for completion {row}: a reward is a finite number, None "
        "where it does not apply, or a list of (end token, reward) steps; with words beside it, "
        "Judgement(score, feedback)"
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
