"""Rewards, as both libraries call them."""

from typing import Any

from anypo_tasks.rewards import exact

right = exact("")


def score(completions: list[Any], **_: Any) -> list[float]:
    """So large that 1e-4 beside their standard deviation does not show."""
    return [1000.0 * value for value in small(completions)]


def small(completions: list[Any], **_: Any) -> list[float]:
    """About 1."""
    return [sum(map(ord, _text(c))) % 17 / 8 for c in completions]


def other(completions: list[Any], **_: Any) -> list[float]:
    """Of another size than `score`."""
    return [100.0 * (sum(map(ord, _text(c))) % 5) for c in completions]


def of_tokens(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """Hardly ever the same for a whole group, whatever the text of its tokens is."""
    return [sum(ids) % 17 / 8 for ids in completion_ids]


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]
