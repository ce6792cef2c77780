"""How good runs are, how sure that is, and what it cost to get there."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from anypo import ConfigError, RunRecord, nearest
from anypo_report.runs import Spent, metrics_of, spent, values_of

WIDTH = NormalDist().inv_cdf(0.975)  # standard errors on either side of a 95 % interval
OTHERS = ("eval/rewards/accuracies", "eval/loss", "reward/mean", "loss")


@dataclass(frozen=True)
class Score:
    """The value of a metric after a step."""

    step: int
    value: float
    error: float | None = None  # half of the 95 % interval over held-out prompts, where known


@dataclass(frozen=True)
class Paired:
    """How much better a run is at the end than another, on the same held-out prompts."""

    prompts: int
    better: int  # prompts
    worse: int
    difference: float  # mean over the prompts
    error: float | None  # half of its 95 % interval; None of a single prompt


@dataclass(frozen=True)
class Standing:
    """How a run did by one metric."""

    steps: int
    final: Score
    best: Score
    reached: Spent | None  # when it first had the score that is asked for; None: never


def headline(runs: Sequence[RunRecord]) -> str | None:
    """The metric of all runs that says most: a held-out score, else what comes near it."""
    found = (m for m in metrics_of(runs[0]) if m.startswith("eval/") and m.endswith("/score"))
    scores = sorted(found, key=lambda metric: (metric.count("/"), metric))  # the policy's first
    candidates = [*scores, *OTHERS]
    return next((m for m in candidates if all(values_of(run, m) for run in runs)), None)


def is_lower_better(metric: str) -> bool:
    """Whether lower values of a metric are the better ones, as of a loss."""
    return "loss" in metric.split("/")


def scores_of(run: RunRecord, metric: str) -> list[Score]:
    """The finite values of a metric, step by step.

    Raises:
        ConfigError: There is none.
    """
    scores = [Score(step, value) for step, value in values_of(run, metric).items()]
    if not scores:
        others = nearest(metric, set(metrics_of(run)) - {metric})
        raise ConfigError(f"'{run.path}' has no finite value of '{metric}'{others}")
    return scores


def best(metric: str, scores: Sequence[Score]) -> Score:
    """The best of the scores by a metric, and of equal ones the first."""
    return max(scores, key=lambda score: _sign(metric) * score.value)


def standing(run: RunRecord, metric: str, wanted: float) -> Standing:
    """How a run did by a metric, and what it took to have a wanted score."""
    scores, sign = scores_of(run, metric), _sign(metric)
    first = next((s.step for s in scores if sign * s.value >= sign * wanted), None)
    reached = next((cost for cost in spent(run) if cost.step == first), None)
    final, top = (_with_error(run, metric, score) for score in (scores[-1], best(metric, scores)))
    return Standing(run.metrics[-1]["step"], final, top, reached)


def rewards_by_prompt(run: RunRecord, metric: str, step: int) -> dict[str, float]:
    """The mean reward of each prompt of the held-out set that a metric scores, after a step."""
    found = defaultdict(list)
    for row in run.samples:
        is_asked = row["phase"] == "eval" and row["step"] == step and _metric_of(row) == metric
        if is_asked and row["reward"] is not None:
            found[json.dumps(row["prompt"], sort_keys=True)].append(row["reward"])
    return {prompt: fmean(rewards) for prompt, rewards in found.items()}


def paired(run: Mapping[str, float], other: Mapping[str, float]) -> Paired | None:
    """A run beside another, by their rewards; None where no prompt is of both."""
    gains = [run[prompt] - other[prompt] for prompt in run.keys() & other.keys()]
    if not gains:
        return None
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return Paired(len(gains), better, worse, fmean(gains), _error(gains))


def _sign(metric: str) -> int:
    return -1 if is_lower_better(metric) else 1


def _with_error(run: RunRecord, metric: str, score: Score) -> Score:
    rewards = rewards_by_prompt(run, metric, score.step)
    return Score(score.step, score.value, _error(list(rewards.values())))


def _metric_of(row: Mapping[str, str]) -> str:
    """The metric that is the mean of a held-out row's reward and those of its set."""
    name = row.get("set", "eval")
    return "eval/score" if name == "eval" else f"eval/{name}/score"


def _error(values: Sequence[float]) -> float | None:
    return WIDTH * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
