"""A case in anypo, from rows to weights, as a user runs it."""

from __future__ import annotations

import json
import sys
from importlib import invalidate_caches
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anypo.runs.run as runs
from anypo import RunConfig, compose
from anypo.hooks import registry
from peers.case import LEARNING_RATE, LENGTH, STEPS, Case, Trace
from peers.recording import by_name, named, recorded
from peers.rows import ROWS

SAMPLED = {"sampler": "replay", "max_completion_length": LENGTH}
USUAL = {
    "steps": STEPS,
    "learning_rate": LEARNING_RATE,
    "warmup_steps": 0,
    "schedule": "constant",
    "max_grad_norm": 1e9,
    "max_completion_length": 64,
    "device": "cpu",
}


POINTS = """
[anypo.samplers]
replay = peers.replay:Replay
scripted = peers.talks:Scripted
[anypo]
like_trl = peers.like_trl:LikeTRL
sapo = anypo_sapo:SAPO
"""
EXAMPLE = Path(__file__).parents[2] / "docs/examples/anypo-sapo"


def install_plugins(site: Path) -> None:
    """Install the plugins of this package and the example of the documentation, as pip would."""
    info = site / "anypo_peers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anypo-peers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    sys.path[:0] = [str(site), str(EXAMPLE)]
    invalidate_caches()
    registry.installed.cache_clear()


def train(case: Case, model: str, folder: Path) -> Trace:
    """Run the case in an empty folder."""
    rows = ROWS[case.rows]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    knobs = {k: v for k, v in case.ours.items() if k not in RunConfig.model_fields}
    algorithm = compose(case.algorithm, knobs=knobs, hooks=case.hooks)
    given = {"prompts_per_step": len(rows), "model": model, "data": str(data)}
    given |= {**USUAL, "output": str(folder / "run")}
    if algorithm.inputs.scorer:
        file = Path(__file__).with_name("rewards.py")
        given |= {**SAMPLED, "reward": [f"{file}:{name}" for name in case.rewards]}
    given |= {k: v for k, v in case.ours.items() if k in RunConfig.model_fields}
    trainers: list[Any] = []

    def kept(*arguments: Any) -> Any:
        trainers.append(make(*arguments))
        trainers.append(named(trainers[0].learner.model))
        return trainers[0]

    make = runs.make_trainer
    with patch.object(runs, "make_trainer", kept), recorded() as gradients:
        output = runs.run(algorithm, **given)
    trainer, before = trainers
    lines = (output / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]  # of each step the mean
    trained = trainer.learner.model
    return Trace(losses, by_name(trained, gradients), before, named(trained))
