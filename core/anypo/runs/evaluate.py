"""Judge a model by several completions of every prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from anypo.rewards.votes import Answers, answers, teller
from anypo.runs.estimates import Estimate, best_of, majority, over_prompts, sizes
from anypo.runs.judge import Judge, Said
from anypo.runs.judging import judging
from anypo.runs.observer import Observer

SCORE = "score"  # what the reward is called, the weighted sum of all


@dataclass(frozen=True)
class Assessment:
    """How well a model does on a data set, by one score."""

    set: str  # the name of the data set; nothing where only one is named
    score: str  # `score`, the reward; `score/NAME`, what one of several rewards gives
    prompts: int  # to which it applies
    samples: int  # completions of each
    truncated: float  # share of the completions that reached the limit without an end
    estimates: dict[str, Estimate]  # mean@k, pass@1 … pass@k or best@1 … best@k, majority@k

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; the keys stay what they are."""
        told = {name: estimate._asdict() for name, estimate in self.estimates.items()}
        return {**vars(self), "estimates": told}


def evaluate(
    model: str | Path,
    *,
    data: str | Sequence[str] = (),
    reward: Any = (),
    samples: int = 8,
    observer: Observer | None = None,
    **options: Any,
) -> list[Assessment]:
    """How well a model does: set by set, by the reward, and by each of several rewards.

        evaluate("runs/sft", data="test.jsonl", reward="math", samples=8)
        evaluate("Qwen/Qwen3-0.6B", data=["gsm=gsm.jsonl", "hard=hard.jsonl"], reward="math")

    With n completions of each prompt, `mean@n` is their mean reward; `pass@k` the share of prompts
    of which one of k completions is right, where rewards are 0 and 1 (see `best_of`), else `best@k`
    the highest reward of k; `majority@n` the reward of the answer that most of them give, where a
    reward function tells answers (see `answers`).

    Args:
        model: Directory, hub name or run directory.
        data: Data sets as of a run, `NAME=…` each where there are several; without, the held-out
            rows of the task from which the model comes.
        reward: As of a run.
        samples: Completions of each prompt.
        observer: Told what is worth it, and how far it is.
        options: See `JudgingConfig`.

    Raises:
        AnypoError: With one sentence on what is wrong.
    """
    given = {"data": data, "samples": samples, **options}
    given |= {"reward": reward} if reward else {}
    with judging(model, given, "held_out.jsonl", observer) as judge:
        if samples > 1 and teller(judge.scorer) is None:
            judge.observer.note(
                "no majority is told: no reward says what the answer of a completion is (answer_of)"
            )
        by_set = groupby(judge.said(), key=lambda said: said.set)
        return [found for name, said in by_set for found in _assessments(name, list(said), judge)]


def _assessments(name: str, said: Sequence[Said], judge: Judge) -> Iterator[Assessment]:
    """Of a data set, by every score that applies to any of its prompts."""
    told = [answers(judge.scorer, one.completions) for one in said]
    truncated = fmean(sample.truncated for one in said for sample in one.samples)
    rewards, n = judge.scorer.rewards, judge.config.samples
    scores = {SCORE: [[sample.reward or 0.0 for sample in one.samples] for one in said]}
    for reward in rewards if len(rewards) > 1 else ():
        rows = [[sample.scores[reward.name] for sample in one.samples] for one in said]
        scores[f"{SCORE}/{reward.name}"] = rows
    for score, rows in scores.items():
        pairs = zip(rows, told, strict=True)
        known = [(row, given) for row, given in pairs if not any(map(math.isnan, row))]
        if known:
            yield Assessment(name, score, len(known), n, truncated, _estimates(n, known))


def _estimates(n: int, known: Sequence[tuple[list[float], Answers]]) -> dict[str, Estimate]:
    """Of `n` scores of each prompt, and the answers that go with them."""
    rows = [row for row, _ in known]
    word = "pass" if all(score in (0, 1) for row in rows for score in row) else "best"
    found = {f"mean@{n}": [fmean(row) for row in rows]}
    found |= {f"{word}@{k}": [best_of(k, row) for row in rows] for k in sizes(n)}
    votes = [majority(row, given) for row, given in known if given is not None]
    found |= {f"majority@{n}": votes} if votes else {}
    return {name: over_prompts(values) for name, values in found.items()}
