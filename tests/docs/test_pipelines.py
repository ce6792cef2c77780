"""The chains of docs/pipelines.md: every command runs, and each run starts from the one before."""

import json

import pytest
from learning import evaluations
from pipelines import commands

from anypo_cli import main


def gain(folder, metric=None):
    """By how much the held-out score of a run rose."""
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    before, *_, after = (
        [step[metric] for step in steps if metric in step] if metric else evaluations(steps)
    )
    return after - before


def test_each_run_starts_from_the_one_before(quick_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = ["--steps", "2", "--prompts-per-step", "4", "--max-completion-length", "8"]
    for command in commands():
        assert main(command + quick) == 0
    for name in ("sft", "rm", "ppo", "dpo", "grpo"):
        assert (tmp_path / "runs" / name / "model").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_chains_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands():
        assert main(command) == 0
    runs = tmp_path / "runs"
    assert gain(runs / "sft") > 0.15
    assert gain(runs / "rm") > 0.5
    assert gain(runs / "ppo", "eval/score/exact") > 0.04
    assert gain(runs / "dpo") > 0.08
    assert gain(runs / "grpo") > 0
