"""Rewards of claims; `exact` and `length` come with anypo."""

from __future__ import annotations

from typing import Any

from anypo_tasks import answers
from anypo_tasks.rewards import text_of

BRIEF = 18  # tokens: an answer that is worked out in full has up to 22


def worked(completions: list[Any], answer: list[str], **_: Any) -> list[float]:
    """1 for a right answer with both of its sums written out: at first hardly ever."""
    texts = map(text_of, completions)
    return [
        float(text.count("=") == 2 and answers.final(text) == right)
        for text, right in zip(texts, answer, strict=True)
    ]


def brief(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """1 for a short completion, whatever it says."""
    return [float(len(ids) <= BRIEF) for ids in completion_ids]
