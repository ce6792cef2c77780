"""A shape in anypo, as a user runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from anypo import Observer, compose, run
from anypo.training.trainer import Report
from speed.apart import peak_memory
from speed.laps import Laps
from speed.shapes import Made, Shape


class Watch(Observer):
    """Notes the steps."""

    def __init__(self) -> None:
        self.laps = Laps()

    def reported(self, report: Report) -> None:
        """A step is done."""
        self.laps.tokens.append(sum(len(sample.completion_ids) for sample in report.samples))
        self.laps.metrics.append(report.metrics)
        self.laps.ended()


def train(shape: Shape, made: Made, threads: int, name: str, options: Mapping[str, Any]) -> Laps:
    """The steps of an algorithm without a KL penalty, one update per rollout.

    Args:
        shape: What a step is given.
        made: The model and the prompts.
        threads: Of the CPU.
        name: Of the algorithm.
        options: Of the run, in place of those that follow from the shape.
    """
    torch.set_num_threads(threads)
    algorithm = compose(name, knobs={"kl_coef": 0.0, "group_size": shape.group})
    watch = Watch()
    with TemporaryDirectory() as folder:
        run(
            algorithm,
            observer=watch,
            output=str(Path(folder, "run")),
            **{**_options(shape, made), **options},
        )
    watch.laps.memory = peak_memory()
    return watch.laps


def _options(shape: Shape, made: Made) -> dict[str, Any]:
    return {
        "model": made.model,
        "data": made.data,
        "reward": [shape.reward],
        "steps": shape.steps,
        "prompts_per_step": shape.prompts,
        "minibatches": 1,
        "max_completion_length": shape.tokens,
        "learning_rate": shape.learning_rate,
        "warmup_steps": 0,
        "schedule": "constant",
    }
