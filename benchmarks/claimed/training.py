"""An experiment that trains: one run, or several of which each goes on with the model before."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from anypo import Observer, Sample, compose, run
from anypo.training.trainer import Report
from claimed.claim import Run
from claimed.drawing import task_folder
from claimed.measures import Curve

POINTS = 12  # of a curve
WATCHED = {  # metrics of a step, and what their curves are called
    "length/mean": "length",
    "length/truncated": "truncated",
    "entropy": "entropy",
    "clip/fraction": "clipped",
    "kl/ref": "kl",
    "groups/flat": "flat groups",
    "rewards/margins": "margin",
}
QUICK = {"steps": 2, "prompts_per_step": 4, "eval_every": 1, "warmup_steps": 0}


def stage(algorithm: str, knobs: Mapping[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    """A run of an experiment.

    Args:
        algorithm: By its name.
        knobs: Of the algorithm.
        how: `hooks`, a plugin for a stage each; `rows`, a function of `claimed.rows` with its
            arguments in a list, to learn from in place of the task's own; and run options.
    """
    kept = {name: how.pop(name) for name in ("hooks", "rows") if name in how}
    return {"algorithm": algorithm, "knobs": dict(knobs or {}), **kept, "options": how}


def trains(*stages: Mapping[str, Any]) -> Run:
    """The experiment of some stages; the curves are those of the last one."""
    return Run("claimed.training:trained", {"stages": list(stages)})


def trained(seed: int, stages: Sequence[Mapping[str, Any]], *, quick: bool = False) -> Any:
    """The curves of the last stage, and the seconds of all."""
    start, model = time.process_time(), {}
    with TemporaryDirectory() as home:
        for number, how in enumerate(stages):
            watch, folder = Watch(), Path(home, str(number))
            options = {**how["options"], **(QUICK if quick else {}), **model}
            given = _given(how["rows"], seed, Path(f"{folder}.jsonl")) if "rows" in how else {}
            algorithm = compose(how["algorithm"], knobs=how["knobs"], hooks=how.get("hooks"))
            run(algorithm, observer=watch, seed=seed, output=str(folder), **{**given, **options})
            model = {"model": str(folder / "model")}
    return watch.curves() | {"seconds": [(watch.last, time.process_time() - start)]}


class Watch(Observer):
    """Notes what a run does, step by step."""

    def __init__(self) -> None:
        self.noted: dict[str, list[tuple[float, float]]] = {}
        self.written = 0  # tokens
        self.last = 0  # step

    def reported(self, report: Report) -> None:
        """A step is done."""
        self.last = report.step
        for metric, name in WATCHED.items():
            if metric in report.metrics:
                self._note(name, report.metrics[metric])
        samples = [sample for _, sample in report.completions]
        self.written += sum(sample.length for sample in samples)
        self._note("tokens", float(self.written))
        wrong = [s.length for s in samples if s.reward is not None and not _is_right(s)]
        if wrong:
            self._note("length of wrong answers", fmean(wrong))
        for evaluated in report.evaluated:
            for name, value in evaluated.metrics.items():
                if name.startswith(("score", "rewards/accuracies")):
                    self._note(name, value)
            if evaluated.samples:
                self._note("right", fmean(map(_is_right, evaluated.samples)))
                self._note("held-out length", fmean(s.length for s in evaluated.samples))

    def curves(self) -> dict[str, Curve]:
        """All that was noted."""
        return {name: thinned(points) for name, points in self.noted.items()}

    def _note(self, name: str, value: float) -> None:
        self.noted.setdefault(name, []).append((self.last, value))


def thinned(points: Curve) -> list[tuple[float, float]]:
    """A curve of few points, each the mean of those that it stands for, at the last of them."""
    size = -(-len(points) // POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], fmean(y for _, y in part)) for part in parts]


def _is_right(sample: Sample) -> bool:
    """By the answer alone, where that is one of several rewards."""
    return sample.scores.get("exact", sample.reward) >= 1


def _given(rows: Sequence[Any], seed: int, file: Path) -> dict[str, Any]:
    """Options that name rows made of those of the built-in task, and the task's held-out ones."""
    made = resolve_name(f"claimed.rows:{rows[0]}")(random.Random(seed), *rows[1:])
    file.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    held_out = str(task_folder() / "held_out.jsonl")
    return {"data": str(file), "eval_data": held_out, "reward": ["exact"]}
