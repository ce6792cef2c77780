"""`anypo compare`: which run is better, by how much, and what it cost."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anypo import ConfigError, RunRecord, printable
from anypo_report.runs import Spent, read_runs
from anypo_report.scores import (
    Paired,
    Score,
    Standing,
    headline,
    is_lower_better,
    paired,
    rewards_by_prompt,
    scores_of,
    standing,
)

NONE = "-"
INTERVAL = "±: 95 % interval over held-out prompts, of which samples.jsonl has the completions"

NOT_HELD_OUT = "{} is of the prompts that each run learnt from, which may be others in each"


@dataclass(frozen=True)
class Comparison:
    """Runs by one metric."""

    metric: str
    score: float  # to which steps, seconds and tokens are counted
    standings: dict[str, Standing]  # by run
    paired: dict[str, Paired | None]  # the later runs beside the first one, on the same prompts


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    metric: Annotated[
        str | None, typer.Option(help="By what; by itself the held-out score.")
    ] = None,
    score: Annotated[
        float | None,
        typer.Option(help="To count steps, seconds and tokens to; by itself the worst final one."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, whose keys stay the same.")
    ] = False,
) -> None:
    """Compare runs: final and best score, what it took to get there, on the same prompts."""
    comparison = compared(read_runs(runs), metric, score)
    if as_json:
        print(json.dumps(_as_dict(comparison), indent=2))
        return
    console = Console(highlight=False)
    console.print(_table(comparison))
    if not comparison.metric.startswith("eval/"):
        console.print(Text(NOT_HELD_OUT.format(printable(comparison.metric))), soft_wrap=True)
    for line in _pairs(comparison):
        console.print(Text(line), soft_wrap=True)
    if any(standing.final.error for standing in comparison.standings.values()):
        console.print(Text(INTERVAL, "dim"), soft_wrap=True)


def compared(
    runs: Mapping[str, RunRecord], metric: str | None = None, score: float | None = None
) -> Comparison:
    """Runs by a metric, and what it took to have a score.

    Args:
        runs: By name.
        metric: The held-out score if None.
        score: The worst final one of the runs if None.

    Raises:
        ConfigError: The metric is not one of all runs.
    """
    metric = metric or headline(list(runs.values()))
    if metric is None:
        raise ConfigError("the runs have no score in common: name a metric of all (--metric)")
    last = {name: scores_of(run, metric)[-1] for name, run in runs.items()}
    if score is None:
        finals = [found.value for found in last.values()]
        score = max(finals) if is_lower_better(metric) else min(finals)
    standings = {name: standing(run, metric, score) for name, run in runs.items()}
    rewards = {name: rewards_by_prompt(runs[name], metric, last[name].step) for name in runs}
    first, *others = rewards
    pairs = {name: paired(rewards[name], rewards[first]) for name in others}
    return Comparison(metric, score, standings, pairs)


def _as_dict(comparison: Comparison) -> dict[str, Any]:
    standings, pairs = comparison.standings, comparison.paired
    return {
        "metric": comparison.metric,
        "score": comparison.score,
        "runs": [
            {
                "run": name,
                **asdict(found),
                "reached": found.reached and found.reached._asdict(),
                "paired": (pair := pairs.get(name)) and asdict(pair),
            }
            for name, found in standings.items()
        ],
    }


def _table(comparison: Comparison) -> Table:
    goal = f"to {comparison.score:.4g}"
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    heads = (printable(comparison.metric), "best", "at step", f"steps {goal}", "seconds", "tokens")
    for head in ("steps", *heads):
        table.add_column(head, justify="right", overflow="fold")
    for name, found in comparison.standings.items():
        best = _shown(found.best), str(found.best.step)
        cells = (name, str(found.steps), _shown(found.final), *best, *_cost(found.reached))
        table.add_row(*map(Text, cells))
    return table


def _shown(score: Score) -> str:
    return f"{score.value:.3f}{_margin(score.error)}"


def _margin(error: float | None) -> str:
    return "" if error is None else f" ± {error:.3f}"


def _cost(spent: Spent | None) -> tuple[str, str, str]:
    if spent is None:
        return NONE, NONE, NONE
    return str(spent.step), f"{spent.seconds:.1f}", f"{spent.tokens:,.0f}"


def _pairs(comparison: Comparison) -> list[str]:
    """How each later run stands beside the first, a sentence each."""
    first, lines = next(iter(comparison.standings)), []
    for name, pair in comparison.paired.items():
        if pair is None:
            said = "no held-out prompt of both in samples.jsonl, so they are not paired"
        else:
            said = (
                f"{pair.difference:+.3f}{_margin(pair.error)} on the same {pair.prompts} held-out "
                f"prompts: {pair.better} better, {pair.worse} worse"
            )
        lines.append(f"{name} beside {first}: {said}")
    return lines
