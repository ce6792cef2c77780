"""`anypo run NAME` with nothing else runs, and learns, whatever the algorithm."""

import json

import pytest
from learning import evaluations, on_built_in_task, teacher, whole
from shapes import of_each

from anypo import run


def is_told(algorithm):
    """Whether somebody else than the policy says what is good."""
    seen, taught = algorithm.inputs, "teacher" in algorithm.requires
    alone = seen.sampler and not (seen.scorer or taught)
    return not alone and "teacher" not in algorithm.options


NAMES = on_built_in_task()
LEARNING = [name for name in NAMES if is_told(whole(name))]
every_algorithm = pytest.mark.parametrize("name", of_each(NAMES))


def scores(folder):
    """The held-out scores of a run."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return evaluations([json.loads(line) for line in lines])


@every_algorithm
def test_every_algorithm_runs(name, quick_cache, tmp_path):
    algorithm = whole(name)
    options = {"steps": 2, "prompts_per_step": 4, "max_completion_length": 8}
    if algorithm.inputs.sampler:
        options["max_rounds"] = 2
    if "teacher" in algorithm.requires:
        options["teacher"] = "policy"
    folder = run(algorithm, output=str(tmp_path / "run"), **options)
    assert len(scores(folder)) == 2


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LEARNING)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_algorithm_learns_the_built_in_task(name, seed, tmp_path):
    algorithm = whole(name)
    options = teacher(algorithm, {}, tmp_path / "teacher")
    folder = run(algorithm, seed=seed, output=str(tmp_path / "run"), **options)
    before, *_, after = scores(folder)
    assert after >= before + 0.2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_grpo_learns_the_built_in_task_well(seed, tmp_path):
    before, *_, after = scores(run("grpo", seed=seed, output=str(tmp_path / "run")))
    assert after >= 0.8
    assert after >= before + 0.3
