"""Multiply two two-digit numbers: the problems, and conversations to begin from."""

from __future__ import annotations

import json
import random
from typing import Any

HELD_OUT = 500
DEMONSTRATIONS = 5000
CALLED = 0.35  # of the demonstrations; the others guess
FAILED = 0.15  # of the calls
SLIP = 0.05  # how often what the tool says is copied wrongly
ERRORS = (-100, -10, 10, 100)  # by how much a guess is off, at least

Row = dict[str, Any]

CHAT_TEMPLATE = (
    "{% for tool in tools or [] %}"
    "<|system|>{{ tool['function']['name'] }}"
    "({{ tool['function']['parameters']['properties'] | join(', ') }})"
    "{% endfor %}"
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>{{ message['content'] or '' }}"
    "{% for call in message['tool_calls'] or [] %}"
    "<tool_call>{\"name\": \"{{ call['function']['name'] }}\", "
    "\"arguments\": {{ call['function']['arguments'] | tojson }}}</tool_call>"
    "{% endfor %}"
    "{% if message['role'] == 'assistant' %}<|end|>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def problems(seed: int) -> tuple[list[Row], list[Row]]:
    """All problems as rows of a data set, for training and held out."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(seed).shuffle(pairs)
    rows = [_row(a, b) for a, b in pairs]
    return rows[HELD_OUT:], rows[:HELD_OUT]


def demonstrations(rows: list[Row], tools: list[Any], seed: int) -> list[Row]:
    """Conversations in which most answers are guesses, and some are worked out by the tool."""
    draw = random.Random(seed)
    return [
        {"messages": _conversation(draw.choice(rows), draw), "tools": tools}
        for _ in range(DEMONSTRATIONS)
    ]


def _row(a: int, b: int) -> Row:
    return {"prompt": [{"role": "user", "content": f"{a}*{b}"}], "answer": str(a * b)}


def _conversation(row: Row, draw: random.Random) -> list[Row]:
    asked, right = row["prompt"][0]["content"], int(row["answer"])
    if draw.random() >= CALLED:
        return [*row["prompt"], _reply(right + _off(draw))]
    if draw.random() < FAILED:
        return [*row["prompt"], _call(asked[:-2]), _told("error"), _reply(right + _off(draw))]
    copied = right + _off(draw) if draw.random() < SLIP else right
    return [*row["prompt"], _call(asked), _told(str(right)), _reply(copied)]


def _off(draw: random.Random) -> int:
    return draw.choice(ERRORS) * draw.randint(1, 3)


def _reply(answer: int) -> Row:
    return {"role": "assistant", "content": f"<answer>{answer}</answer>"}


def _call(expression: str) -> Row:
    call = json.dumps({"name": "calculate", "arguments": {"expression": expression}})
    return {"role": "assistant", "content": f"<tool_call>{call}</tool_call>"}


def _told(content: str) -> Row:
    return {"role": "tool", "content": content}
