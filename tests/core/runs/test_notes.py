"""What a user is told of a run beside its figures."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from anypo import Prompt, Sample, compose
from anypo.data.found import PromptSet
from anypo.data.tally import Tally
from anypo.hooks.runtime import Runtime
from anypo.runs.notes import StepNotes, before
from anypo.runs.options import RunConfig
from anypo.training.trainer import Report

QUIET = {"epochs": 2, "warmup_steps": 0, "steps": 9}  # of which nothing is to be said
RUNTIME = Runtime(torch.device("cpu"))
GRPO = compose("grpo")


def told_before(algorithm, prompts, shares=None, **options):
    config = RunConfig(**{**QUIET, "prompts_per_step": 2, **options})
    tally = Tally()
    for prompt in prompts:
        tally.add(prompt)
    sets = [PromptSet("mine", prompts, range(len(prompts)), tally)] * (len(shares or [1]))
    setup = SimpleNamespace(config=config, prompts=prompts, sets=sets, shares=shares)
    return list(before(algorithm, setup))


PROMPTS = [Prompt([1], "a", {"answer": "b"})] * 3


def test_of_an_ordinary_run_there_is_nothing_to_tell():
    assert told_before(GRPO, PROMPTS) == []


def test_that_a_step_repeats_prompts_is_told():
    assert told_before(GRPO, PROMPTS, prompts_per_step=3) == []
    (note,) = told_before(GRPO, PROMPTS, prompts_per_step=4)
    assert note.startswith("a step takes 4 prompts, but there are only 3: it takes some of them se")


@pytest.mark.parametrize("column", ["prompts", "completions", "completion_ids"])
def test_a_column_that_no_reward_sees_is_told_where_there_are_rewards(column):
    rows = [*PROMPTS, Prompt([1], "a", {column: "b"})]
    (note,) = told_before(GRPO, rows)
    assert note.startswith(f"no reward sees column '{column}' of the data set")
    assert told_before(compose("sft"), rows, epochs=1) == []


def test_how_much_of_a_mixture_each_data_set_gives_is_told():
    (note,) = told_before(GRPO, PROMPTS, shares=[0.75, 0.25])
    assert note == (
        "18 prompts are drawn: 75% of 'mine', 4.5 passes over its 3 prompts; "
        "25% of 'mine', 1.5 passes over its 3 prompts"
    )


def reported(step, rewards, kept=True):
    samples = [Sample([1], [2], 0, reward=reward) for reward in rewards]
    mean = {"reward/mean": sum(rewards) / len(rewards)} if rewards else {}
    return Report(step, mean, samples=samples if kept else ())


def told(*reports, **options):
    notes = StepNotes(RunConfig(**options), RUNTIME)
    return [note for report in reports for note in notes.of(report)]


@pytest.mark.parametrize("kept", [True, False])
def test_rewards_that_are_all_the_same_are_told_of_once(kept):
    steps = [reported(step, [0.1] * 3, kept) for step in range(1, 9)]
    (note,) = told(*steps)
    assert note.startswith("every completion of 3 steps was given the reward 0.1: as long as none")
    assert told(*steps[:2]) == []


def test_rewards_that_differ_somewhere_are_none_to_tell_of():
    same, other = ([reported(step, [r] * 3) for step in (1, 2, 3)] for r in (0.0, 1.0))
    assert told(*same[:2], other[2]) == []
    assert told(*same[:2], reported(3, [1.0, -1.0])) == []
    assert told(*[reported(step, []) for step in (1, 2, 3)]) == []


def test_what_several_steps_tell_is_told_once():
    report = replace(reported(1, [0.0, 1.0]), missing=3, notes=["it rains"])
    missing, rains = told(report, replace(report, step=2), prompts_per_step=4)
    assert missing.startswith("step 1 kept 1 of 4 prompts in 8 rounds and trained on those")
    assert rains == "it rains"
