"""The built-in task: add two two-digit numbers and put the sum in <answer> tags."""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Callable
from typing import Any

HELD_OUT = 500  # problems kept for evaluation: the standard error of a score is about 0.02
DEMONSTRATIONS = 6000
DEMONSTRATED = (45, 15, 40)  # percent of bare, terse and full demonstrations
COMPLETED = (15, 25, 60)  # and of the completions to imitate
FAILURES = (70, 20, 10)  # and about those of a wrong answer after the warm start
BARE_CORRECT = 0.2  # how often a bare answer is right: the model cannot add in its head
SLIP = 0.06  # how often a worked demonstration ends in a wrong answer
ERRORS = (-20, -10, -1, 1, 10)  # by how much a guess is off
SLIPS = (-10, -1, 1, 10)  # and the answer after a slip

SUM = re.compile(r"(\d+(?:\+\d+)+)=(\d+)")
ANSWER = re.compile(r"<answer>(\d+)</answer>")

Row = dict[str, Any]


def problems(seed: int) -> tuple[list[Row], list[Row]]:
    """All problems as rows of a data set, for training and held out.

    Every row has a prompt and the right `answer`; and for algorithms that learn from given
    completions a right and a wrong one, `chosen` and `rejected`, and a `completion` to imitate.
    """
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    random.Random(seed).shuffle(pairs)
    draw = random.Random(seed)
    rows = [_row(a, b, draw) for a, b in pairs]
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


def _row(a: int, b: int, draw: random.Random) -> Row:
    wrong = a + b + draw.choice(ERRORS)
    return {
        "prompt": [{"role": "user", "content": f"{a}+{b}"}],
        "answer": str(a + b),
        "chosen": _reply(_full(a, b, a + b)),
        "rejected": _reply(_style(draw, FAILURES)(a, b, wrong)),
        "completion": _reply(_style(draw, COMPLETED)(a, b, _maybe_slip(a + b, draw))),
    }


def _style(draw: random.Random, weights: tuple[int, ...]) -> Callable[[int, int, int], str]:
    return draw.choices((_bare, _terse, _full), weights=weights)[0]


def _reply(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def _demonstration(row: Row, draw: random.Random) -> Row:
    return {"messages": [*row["prompt"], *_reply(tried(row, draw, DEMONSTRATED)[0])]}


def tried(row: Row, draw: random.Random, weights: tuple[int, ...]) -> tuple[str, str]:
    """A try to solve a problem, and the answer in it.

    Args:
        row: The problem.
        draw: Decides what becomes of it.
        weights: Percent of bare, terse and full tries.
    """
    a, b = (int(number) for number in row["prompt"][0]["content"].split("+"))
    style = _style(draw, weights)
    total = _guess(a + b, draw) if style is _bare else _maybe_slip(a + b, draw)
    return style(a, b, total), str(total)


def _guess(total: int, draw: random.Random) -> int:
    """Mostly wrong."""
    return total if draw.random() < BARE_CORRECT else total + draw.choice(ERRORS)


def _maybe_slip(total: int, draw: random.Random) -> int:
    return total + draw.choice(SLIPS) if draw.random() < SLIP else total


def _bare(a: int, b: int, total: int) -> str:
    """No working."""
    return f"<answer>{total}</answer>"


def _terse(a: int, b: int, total: int) -> str:
    """The sums of the columns, the carry left to the head."""
    ones, tens = a % 10 + b % 10, a // 10 + b // 10
    return f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}={tens} " + _bare(a, b, total)


def _full(a: int, b: int, total: int) -> str:
    """The sums of the columns, the carry written out."""
    ones = a % 10 + b % 10
    tens = a // 10 + b // 10 + ones // 10
    working = f"{a % 10}+{b % 10}={ones} {a // 10}+{b // 10}+{ones // 10}={tens} "
    return working + _bare(a, b, total)
