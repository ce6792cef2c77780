"""Curves short enough to be drawn."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from anypo import RunRecord
from anypo_report.runs import PHASE, Spent, metrics_of, spent, values_of

NUMBERS = 100_000  # of all curves of a report
POINTS = 1000  # of one curve at most


def curves(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Of each run, its metrics: `values`, and which of its `axes` they stand at.

    Axes have the steps of the points, and what the run had cost by then. A long curve is cut into
    equally long pieces, and each of its points is the mean of one. `each` is the number of steps of
    the longest piece.
    """
    number = sum(len(metrics_of(run)) for run in runs)
    points = max(2, min(POINTS, NUMBERS // max(1, number)))
    return [_curves(run, points) for run in runs]


def seconds_by_phase(run: RunRecord) -> dict[str, float]:
    """How long a step took on average, by phase."""
    phases = [name for name in metrics_of(run) if name.startswith(PHASE)]
    seconds = {name.removeprefix(PHASE): values_of(run, name).values() for name in phases}
    return {phase: rounded(fmean(found)) for phase, found in seconds.items() if found}


def rounded(value: float) -> float:
    """A number with as many digits as can be seen."""
    return float(f"{value:.5g}")


def _curves(run: RunRecord, points: int) -> dict[str, Any]:
    axes: dict[tuple[int, ...], int] = {}
    metrics, each = {}, 1
    costs = {cost.step: cost for cost in spent(run)}
    for name in metrics_of(run):
        if found := values_of(run, name):
            size = -(-len(found) // points)
            steps, values = _means(found, size)
            axis = axes.setdefault(steps, len(axes))
            metrics[name], each = {"axis": axis, "values": values}, max(each, size)
    return {"axes": [_axis(steps, costs) for steps in axes], "metrics": metrics, "each": each}


def _means(found: Mapping[int, float], size: int) -> tuple[tuple[int, ...], list[float]]:
    """The last step of every piece of a curve, and its mean value."""
    steps, values = list(found), list(found.values())
    pieces = [slice(at, at + size) for at in range(0, len(steps), size)]
    return tuple(steps[p][-1] for p in pieces), [rounded(fmean(values[p])) for p in pieces]


def _axis(steps: Sequence[int], costs: Mapping[int, Spent]) -> dict[str, list[float]]:
    return {
        "step": list(steps),
        "seconds": [rounded(costs[step].seconds) for step in steps],
        "tokens": [rounded(costs[step].tokens) for step in steps],
    }
