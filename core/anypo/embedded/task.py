"""The built-in task: add two two-digit numbers and put the sum in <answer> tags."""

from __future__ import annotations

import bisect
import itertools
import random
import re
from typing import Any

HELD_OUT = 500  # problems kept for evaluation: the standard error of a score is about 0.02
DEMONSTRATIONS = 6000
BARE_CORRECT = 0.2  # how often a bare answer is right: the model cannot add in its head
SLIP = 0.06  # how often a worked demonstration ends in a wrong answer

SUM = re.compile(r"(\d+(?:\+\d+)+)=(\d+)")
ANSWER = re.compile(r"<answer>(\d+)</answer>")

Row = dict[str, Any]


def problems(seed: int) -> tuple[list[Row], list[Row]]:
    """All problems as rows of a data set with `prompt` and `answer`: training and held out."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(seed).shuffle(pairs)
    rows = [_row(a, b) for a, b in pairs]
    return rows[HELD_OUT:], rows[:HELD_OUT]


def demonstrations(rows: list[Row], seed: int) -> list[Row]:
    """Conversations that solve problems in three styles of very different worth."""
    draw = random.Random(seed)
    return [_demonstration(draw.choice(rows), draw) for _ in range(DEMONSTRATIONS)]


def right_steps(
    completion_tokens: list[list[str]], answer: list[str], **_: Any
) -> list[list[tuple[int, float]]]:
    """A reward function for process supervision: 1 for right sums and the right answer.

    The answer is worth a half, the sums share the other; each step ends with its last token. An
    answer that is missing is a wrong one at the last token: else leaving it out would pay.
    """
    return [_judged(tokens, right) for tokens, right in zip(completion_tokens, answer, strict=True)]


def _judged(tokens: list[str], right: str) -> list[tuple[int, float]]:
    ends = list(itertools.accumulate(len(token) for token in tokens))
    text = "".join(tokens)
    sums, answer = list(SUM.finditer(text)), ANSWER.search(text)
    steps = {
        bisect.bisect_left(ends, match.end()): _is_true(match) / 2 / len(sums) for match in sums
    }
    if answer:
        steps[bisect.bisect_left(ends, answer.end())] = (answer[1] == right) / 2
    elif tokens:
        steps[len(tokens) - 1] = 0.0
    return list(steps.items())


def _is_true(match: re.Match[str]) -> bool:
    return sum(map(int, match[1].split("+"))) == int(match[2])


def _row(a: int, b: int) -> Row:
    return {"prompt": [{"role": "user", "content": f"{a}+{b}"}], "answer": str(a + b)}


def _demonstration(row: Row, draw: random.Random) -> Row:
    a, b = (int(number) for number in row["prompt"][0]["content"].split("+"))
    style = draw.choices((_bare, _terse, _full), weights=(45, 15, 40))[0]
    reply = {"role": "assistant", "content": style(a, b, draw)}
    return {"messages": [*row["prompt"], reply]}


def _bare(a: int, b: int, draw: random.Random) -> str:
    """No working, and mostly wrong."""
    guess = a + b if draw.random() < BARE_CORRECT else a + b + draw.choice((-20, -10, -1, 1, 10))
    return _answer(guess)


def _terse(a: int, b: int, draw: random.Random) -> str:
    """The sums of the columns, the carry left to the head."""
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    working = f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}={tens} "
    return working + _answer(_maybe_slip(a + b, draw))


def _full(a: int, b: int, draw: random.Random) -> str:
    """The sums of the columns, the carry written out."""
    ones = a % 10 + b % 10
    tens = a // 10 + b // 10 + ones // 10
    working = f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}+{ones // 10}={tens} "
    return working + _answer(_maybe_slip(a + b, draw))


def _maybe_slip(total: int, draw: random.Random) -> int:
    return total + draw.choice((-10, -1, 1, 10)) if draw.random() < SLIP else total


def _answer(total: int) -> str:
    return f"<answer>{total}</answer>"
