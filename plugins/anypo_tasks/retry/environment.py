"""The environment `retry`: says in words which columns of a sum are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from anypo import Environment, Turn
from anypo_tasks import answers

COLUMNS = ("ones", "tens", "hundreds")


class Retry(Environment):
    """Says which columns of a wrong answer are wrong, for another try; a right one is worth 1."""

    task: ClassVar = "retry"

    def reset(self, row: Mapping[str, Any]) -> None:
        """Read the right answer, of the column `answer`."""
        self.right = str(row["answer"])

    def step(self, message: dict[str, Any]) -> Turn:
        """Judge the answer that a reply marks."""
        answer = answers.final(message["content"])
        if answer == self.right:
            return Turn(reward=1.0, done=True)
        return Turn(said_of(answer, self.right))


def said_of(answer: str, right: str) -> str:
    """Which columns of an answer are wrong, the lowest one first."""
    if not (answer.isascii() and answer.isdecimal()):
        return "there is no number"
    size = max(len(answer), len(right))
    pairs = zip(reversed(answer.zfill(size)), reversed(right.zfill(size)), strict=True)
    wrong = [place for place, (digit, other) in enumerate(pairs) if digit != other]
    named = [COLUMNS[place] for place in wrong if place < len(COLUMNS)]
    return f"wrong: {' and '.join(named) or 'too long'}"
