"""Rows made of those of the built-in task, where a claim needs others than it has."""

from __future__ import annotations

from random import Random
from typing import Any

from anypo_tasks.addition.problems import ERRORS, SLIPS, problems
from anypo_tasks.addition.task import SEED

Row = dict[str, Any]
REPEATS = (1, 2, 3, 4)  # how often a rambling completion works a sum out
RIGHT = 0.7  # of the rambling answers, however long


def flipped(draw: Random, share: float) -> list[Row]:
    """Pairs, of which a share names the wrong completion as the chosen one."""
    return [_swapped(row) if draw.random() < share else row for row in _rows()]


def few(draw: Random, number: int) -> list[Row]:
    """So few pairs that each is seen many times."""
    return draw.sample(_rows(), number)


def labelled(draw: Random, good: float) -> list[Row]:
    """Single completions with a label, a share of them good ones."""
    return [_labelled(row, is_good=draw.random() < good) for row in _rows()]


def rambling(draw: Random) -> list[Row]:
    """To imitate: completions that work a sum out over and over, right or wrong alike."""
    return [_completed(row, _rambled(row, draw)) for row in _rows()]


def guessing(draw: Random, worked: float) -> list[Row]:
    """To imitate: answers without any working, mostly wrong ones, but for a share."""
    return [
        row | {"completion": row["chosen"]}
        if draw.random() < worked
        else _completed(row, _answer(int(row["answer"]) + draw.choice(ERRORS)))
        for row in _rows()
    ]


def _rows() -> list[Row]:
    return problems(SEED)[0]


def _swapped(row: Row) -> Row:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


def _labelled(row: Row, *, is_good: bool) -> Row:
    completion = row["chosen"] if is_good else row["rejected"]
    return {"prompt": row["prompt"], "completion": completion, "label": is_good}


def _completed(row: Row, text: str) -> Row:
    return row | {"completion": [{"role": "assistant", "content": text}]}


def _rambled(row: Row, draw: Random) -> str:
    working = row["chosen"][0]["content"].partition("<")[0]
    total = int(row["answer"]) + (0 if draw.random() < RIGHT else draw.choice(SLIPS))
    return working * draw.choice(REPEATS) + _answer(total)


def _answer(total: int) -> str:
    return f"<answer>{total}</answer>"
