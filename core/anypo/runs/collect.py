"""Write down what a model says, scored, in the formats that algorithms learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from anypo.data.formats import CONVERSATIONS
from anypo.errors import ConfigError
from anypo.hooks.batch import Sample
from anypo.runs.judge import Judge, Said
from anypo.runs.judging import judging
from anypo.runs.lines import Lines
from anypo.runs.observer import Observer
from anypo.support.saving import write_on_first

Kept = Literal["all", "best", "pairs"]
OF_FORMATS = {*CONVERSATIONS, "text", "label", "margin"}  # columns that the new rows have or lack


@dataclass
class Collected:
    """What became of the prompts."""

    prompts: int = 0  # that were completed
    rows: int = 0  # written
    alike: int = 0  # prompts left out: no completion is better than another
    too_low: int = 0  # prompts left out: no completion has the reward that is asked for
    empty: int = 0  # completions left out: there is nothing in them
    truncated: int = 0  # rows whose completion, or the better one, was cut at the limit


def collect(
    model: str | Path,
    output: str | Path,
    *,
    keep: Kept = "all",
    min_reward: float | None = None,
    data: str | Sequence[str] = (),
    reward: Any = (),
    samples: int = 8,
    observer: Observer | None = None,
    **options: Any,
) -> Collected:
    """Write completions of prompts with their scores as JSONL, a row each, as they are made.

        collect("runs/sft", "pairs.jsonl", keep="pairs", data="train.jsonl", reward="math")

    A row has what else the row of its prompt holds, so the file may be completed again, too.

    Args:
        model: Directory, hub name or run directory.
        output: A new file. Of a command that fails it has the rows until then.
        keep: `all` completions, or the `best` of each prompt, for sft; or `pairs` of the best and
            the worst one, for whatever learns from pairs.
        min_reward: Leave out completions with less, and pairs whose better one has less.
        data: Data sets as of a run, `NAME=…` each where there are several; without, the rows to
            learn from of the task from which the model comes.
        reward: As of a run.
        samples: Completions of each prompt.
        observer: Told what is worth it, and how far it is.
        options: See `JudgingConfig`.

    Raises:
        AnypoError: With one sentence on what is wrong.
    """
    if keep not in get_args(Kept):
        raise ConfigError(f"keep is {keep!r:.60}, not one of {', '.join(get_args(Kept))}")
    file, given = _new_file(output), {"data": data, "samples": samples, **options}
    given |= {"reward": reward} if reward else {}
    with judging(model, given, "train.jsonl", observer) as judge:
        write_on_first(judge.world, file, file.touch)
        try:
            return _written(judge, file, keep, -math.inf if min_reward is None else min_reward)
        finally:
            if judge.world.is_first and not file.stat().st_size:  # it would bar another try
                file.unlink()


def _written(judge: Judge, file: Path, keep: Kept, floor: float) -> Collected:
    """Write rows as they are made; what became of the prompts."""
    lines, found = Lines(file), Collected()
    for said in judge.said():
        for row in _rows(said, keep, floor, found):
            lines.add(row)
        if judge.world.is_first:
            lines.flush()
    return found


def _new_file(output: str | Path) -> Path:
    file = Path(output)
    if file.exists():
        raise ConfigError(f"output '{file}' exists already: choose another, or delete it")
    if not file.parent.is_dir():
        raise ConfigError(f"output '{file}' cannot be written: there is no '{file.parent}'")
    return file


class Scored(NamedTuple):
    """A completion as it is written down."""

    completion: Any
    sample: Sample

    @property
    def reward(self) -> float:
        """What it is judged by."""
        return self.sample.reward or 0.0


def _rows(said: Said, keep: Kept, floor: float, found: Collected) -> list[dict[str, Any]]:
    """The rows that are made of what was said to a prompt, which are counted."""
    pairs = zip(said.completions, said.samples, strict=True)
    every = [Scored(completion, sample) for completion, sample in pairs if _says(completion)]
    found.prompts += 1
    found.empty += len(said.samples) - len(every)
    best, worst = (pick(every, key=lambda one: one.reward, default=None) for pick in (max, min))
    if best is None or worst is None or best.reward < floor:
        found.too_low += 1
        return []
    if keep == "pairs" and best.reward == worst.reward:
        found.alike += 1
        return []
    if keep == "pairs":
        rows = [_pair(best, worst)]
    else:
        kept = [best] if keep == "best" else every
        rows = [_single(one) for one in kept if one.reward >= floor]
    found.rows += len(rows)
    found.truncated += sum(row["truncated"] for row in rows)
    others = {k: v for k, v in said.prompt.columns.items() if k not in OF_FORMATS}
    return [{**others, "prompt": said.prompt.content, **row} for row in rows]


def _asked(sample: Sample) -> dict[str, Any]:
    """The prompt of a conversation, which its environment may have gone on with."""
    return {} if sample.asked is None else {"prompt": sample.asked}


def _single(one: Scored) -> dict[str, Any]:
    scores = {k: None if math.isnan(v) else v for k, v in one.sample.scores.items()}
    return _asked(one.sample) | {
        "completion": one.completion,
        "truncated": one.sample.truncated,
        "reward": one.reward,
        "scores": scores,
        **({"feedback": one.sample.feedback} if one.sample.feedback else {}),
    }


def _pair(best: Scored, worst: Scored) -> dict[str, Any]:
    return _asked(best.sample) | {
        "chosen": best.completion,
        "rejected": worst.completion,
        "truncated": best.sample.truncated,
        "score_chosen": best.reward,
        "score_rejected": worst.reward,
    }


def _says(completion: Any) -> bool:
    """Whether there is anything in it: nobody can learn from a row without."""
    if isinstance(completion, str):
        return bool(completion.strip())
    return any((message["content"] or "").strip() for message in completion)
