"""What training made of held-out prompts: their completions before it and after it."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Row = dict[str, Any]  # of samples.jsonl


@dataclass(frozen=True)
class Change:
    """A held-out prompt, and what the policy said before training and says after it."""

    prompt: Any  # a text or messages
    before: Row
    after: Row


@dataclass(frozen=True)
class HeldOut:
    """The first and the last evaluation of a run."""

    first: list[Row]
    last: list[Row]

    def changes(self, count: int) -> list[Change]:
        """The first prompts of the first set, each with one completion."""
        after = {_key(row): row for row in reversed(self.last)}
        before = {_key(row): row for row in reversed(self.first)}
        both = [key for key in reversed(before) if key in after]
        return [Change(before[k]["prompt"], before[k], after[k]) for k in both[:count]]

    def errors(self) -> dict[str, float]:
        """The standard error of the last score of every set, over its prompts."""
        rewards: dict[str, dict[Any, list[float]]] = {}
        for row in self.last:
            if row.get("reward") is not None:
                groups = rewards.setdefault(row.get("set", "eval"), {})
                groups.setdefault(row.get("group"), []).append(row["reward"])
        means = {name: list(map(fmean, groups.values())) for name, groups in rewards.items()}
        return {
            name: stdev(scores) / math.sqrt(len(scores))
            for name, scores in means.items()
            if len(scores) > 1
        }


def held_out_of(folder: Path) -> HeldOut:
    """What the samples of a run say; nothing, where they hold no evaluation."""
    rows = [row for row in _rows(folder / "samples.jsonl") if row.get("phase") == "eval"]
    steps = [row["step"] for row in rows]
    if not steps or min(steps) == max(steps):
        return HeldOut([], [])
    ends = min(steps), max(steps)
    first, last = ([row for row in rows if row["step"] == step] for step in ends)
    return HeldOut(first, last)


def _key(row: Row) -> tuple[Any, Any]:
    return row.get("set"), row.get("group")


def _rows(file: Path) -> Iterator[Row]:
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
