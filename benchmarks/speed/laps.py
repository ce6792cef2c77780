"""What the steps of a run take, told alike of both libraries."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

import torch

WARM = 2  # steps that do not count
PHASES = ("rollout", "update")  # that are told of anypo's steps


@dataclass
class Laps:
    """The steps of a run, in order."""

    ends: list[float] = field(default_factory=list)  # in seconds, on some clock
    tokens: list[int] = field(default_factory=list)  # of the completions
    metrics: list[dict[str, float]] = field(default_factory=list)  # that a run of anypo writes
    memory: float = 0.0  # GiB, at most

    def ended(self) -> None:
        """A step ends now."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> list[float]:
        """Of each step that counts."""
        return [end - start for start, end in pairwise(self.ends[WARM - 1 :])]

    def phase(self, name: str) -> list[float]:
        """The seconds of a phase, of each step of anypo that counts."""
        return [step[f"seconds/{name}"] for step in self.metrics[WARM:]]


def together(runs: Sequence[Laps]) -> dict[str, float]:
    """The medians over the steps of several runs, and the memory of the largest."""
    tokens = median(number for laps in runs for number in laps.tokens[WARM:])
    seconds = median(step for laps in runs for step in laps.seconds)
    found = {
        "tokens/s": round(tokens / seconds, 1),
        "s/step": round(seconds, 3),
        "GiB": round(max(laps.memory for laps in runs), 2),
    }
    for phase in PHASES if runs[0].metrics else ():
        found[phase] = round(median(part for laps in runs for part in laps.phase(phase)), 3)
    return found
