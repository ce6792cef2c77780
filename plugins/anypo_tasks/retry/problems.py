"""Conversations of two tries to add, to begin from: most tries are guesses."""

from __future__ import annotations

import random
from typing import Any

from anypo_tasks.addition import problems
from anypo_tasks.retry.environment import said_of

DEMONSTRATIONS = 5000
TRIED = (60, 15, 25)  # percent of bare, terse and full tries

Row = dict[str, Any]


def demonstrations(rows: list[Row], seed: int) -> list[Row]:
    """Conversations that end with a right answer, or after two tries."""
    draw = random.Random(seed)
    return [_conversation(draw.choice(rows), draw) for _ in range(DEMONSTRATIONS)]


def _conversation(row: Row, draw: random.Random) -> Row:
    messages = list(row["prompt"])
    for answered in (False, True):
        reply, answer = problems.tried(row, draw, TRIED)
        messages.append({"role": "assistant", "content": reply})
        if answered or answer == row["answer"]:
            break
        messages.append({"role": "user", "content": said_of(answer, row["answer"])})
    return {"messages": messages}
