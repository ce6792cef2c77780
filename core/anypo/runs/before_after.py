"""What training made of held-out prompts: their completions before it and after it."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from anypo.runs.estimates import over_prompts

Row = dict[str, Any]  # of the samples of a run


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
        errors = {name: over_prompts(scores).error for name, scores in means.items()}
        return {name: error for name, error in errors.items() if error is not None}


def held_out_of(samples: Iterable[Row]) -> HeldOut:
    """What the samples of a run say; nothing, where they hold no two evaluations."""
    rows = [row for row in samples if row["phase"] == "eval"]
    steps = [row["step"] for row in rows]
    if not steps or min(steps) == max(steps):
        return HeldOut([], [])
    ends = min(steps), max(steps)
    first, last = ([row for row in rows if row["step"] == step] for step in ends)
    return HeldOut(first, last)


def _key(row: Row) -> tuple[Any, Any]:
    return row.get("set"), row.get("group")
