"""Several runs, each with a name of its own."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

from anypo import ConfigError, RunRecord, printable, read_run

PHASE = "seconds/"  # what the names of metrics begin with that are the seconds of a phase
SPEED = "tokens_per_second"


class Spent(NamedTuple):
    """What a run had cost when a step was done; evaluations are not counted."""

    step: int
    seconds: float
    tokens: float  # of completions


def read_runs(directories: Sequence[Path]) -> dict[str, RunRecord]:
    """The runs by name: that of the directory, or where several have that, the whole path.

    Raises:
        AnypoError: One cannot be read, or is given twice.
    """
    for path, times in Counter(path.resolve() for path in directories).items():
        if times > 1:
            raise ConfigError(f"'{path}' is given {times} times")
    names = Counter(path.resolve().name for path in directories)
    return {
        printable(path if names[path.resolve().name] > 1 else path.resolve().name): read_run(path)
        for path in directories
    }


def metrics_of(run: RunRecord) -> list[str]:
    """The names of all that was measured."""
    return [name for name in dict.fromkeys(chain.from_iterable(run.metrics)) if name != "step"]


def values_of(run: RunRecord, metric: str) -> dict[int, float]:
    """A metric by step, where it was measured and is finite."""
    found = {row["step"]: row[metric] for row in run.metrics if row.get(metric) is not None}
    return {step: value for step, value in found.items() if math.isfinite(value)}


def spent(run: RunRecord) -> list[Spent]:
    """What a run had cost after each of its steps."""
    return list(accumulate(_costs(run), _added))


def _costs(run: RunRecord) -> Iterator[Spent]:
    for row in run.metrics:
        seconds = sum(value for name, value in row.items() if name.startswith(PHASE))
        yield Spent(row["step"], seconds, row.get(SPEED, 0) * seconds)


def _added(before: Spent, more: Spent) -> Spent:
    return Spent(more.step, before.seconds + more.seconds, before.tokens + more.tokens)
