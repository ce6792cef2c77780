"""The chains of docs/pipelines.md: every command runs, and each run starts from the one before."""

import json

import pytest
from learning import evaluations
from pipelines import commands, label, obey


def gain(folder, metric=None):
    """By how much the held-out score of a run rose."""
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    before, *_, after = (
        [step[metric] for step in steps if metric in step] if metric else evaluations(steps)
    )
    return after - before


REWARD = """
def score(completion_ids, **_):
    return [1.0 + len(set(ids)) for ids in completion_ids]
"""


def test_each_run_starts_from_the_one_before(quick_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward.py").write_text(REWARD)  # the model adds nothing up in so short a time
    short = ["--max-completion-length", "8"]
    judged = [*short, "--samples", "2", "--reward", "reward.py:score"]
    quick = [*short, "--steps", "1", "--prompts-per-step", "2"]
    for command in commands():
        obey(command, *(quick if command.startswith("anypo run") else judged))
    made = {label(command) for command in commands() if "--output" in command}
    assert {"ppo", "rft", "dpo2", "grpo2", "mixed.jsonl"} <= made | {"mixed.jsonl"}
    for name in made:
        assert (tmp_path / name).is_file() or (tmp_path / "runs" / name / "model").is_dir()
    new, mixed = (len((tmp_path / f"{n}.jsonl").read_text().splitlines()) for n in ("new", "mixed"))
    assert mixed == new + new // 9


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_chains_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in commands():
        obey(command)
    runs = tmp_path / "runs"
    assert gain(runs / "sft") > 0.15
    assert gain(runs / "rm") > 0.5
    assert gain(runs / "ppo", "eval/score/rm") > 1  # which need not be a gain in what is right
    assert gain(runs / "dpo") > 0.03
    assert gain(runs / "grpo") > 0
