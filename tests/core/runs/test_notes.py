"""What a user is told of a run beside its figures."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from anypo import Prompt, Sample, compose
from anypo.data.found import PromptSet
from anypo.data.tally import Tally
from anypo.hooks.environment import Environment
from anypo.hooks.runtime import Runtime
from anypo.rewards.scorer import GIVEN
from anypo.runs.notes import StepNotes, before
from anypo.runs.options import RunConfig
from anypo.sampling.load import ChosenEnvironment
from anypo.training.trainer import Report

QUIET = {"epochs": 2, "warmup_steps": 0, "steps": 9}  # of which nothing is to be said
RUNTIME = Runtime(torch.device("cpu"))
GRPO = compose("grpo")


def told_before(
    algorithm,
    prompts,
    shares=None,
    held_out=(),
    template=None,
    forgets=False,
    environment=None,
    **options,
):
    config = RunConfig(**{**QUIET, "prompts_per_step": 2, **options})
    tally = Tally()
    for prompt in prompts:
        tally.add(prompt)
    sets = [PromptSet("mine", prompts, range(len(prompts)), tally)] * (len(shares or [1]))
    setup = SimpleNamespace(config=config, prompts=prompts, sets=sets, shares=shares)
    setup.tokenizer = SimpleNamespace(chat_template=template)
    setup.held_out, setup.held_out_rows, setup.forgets = dict(held_out), {}, forgets
    setup.scorer = SimpleNamespace(given=GIVEN)
    chosen = SimpleNamespace(environments=SimpleNamespace(chosen=environment))
    setup.talking = environment and chosen
    return list(before(algorithm, setup))


PROMPTS = [Prompt([token], "a", {"answer": "b"}) for token in range(3)]


def test_of_an_ordinary_run_there_is_nothing_to_tell():
    assert told_before(GRPO, PROMPTS) == []


def test_that_a_step_repeats_prompts_is_told():
    assert told_before(GRPO, PROMPTS, prompts_per_step=3) == []
    (note,) = told_before(GRPO, PROMPTS, prompts_per_step=4)
    assert note.startswith("a step takes 4 prompts, but there are only 3: it takes some of them se")


@pytest.mark.parametrize("column", ["prompts", "completions", "completion_ids"])
def test_a_column_that_no_reward_sees_is_told_where_there_are_rewards(column):
    rows = [*PROMPTS, Prompt([3], "a", {column: "b"})]
    (note,) = told_before(GRPO, rows)
    assert note.startswith(f"no reward sees column '{column}' of the data set")
    assert told_before(compose("sft"), rows, epochs=1) == []


def test_that_a_template_forgets_thoughts_is_told():
    (note,) = told_before(GRPO, PROMPTS, forgets=True)
    assert note.startswith("the chat template leaves out of earlier replies what was thought; in")


def test_that_a_class_for_trl_is_taken_for_one_is_told():
    (note,) = told_before(GRPO, PROMPTS, environment=ChosenEnvironment("A", dict, is_of_trl=True))
    assert note.startswith("environment 'A' is a class for TRL's environment_factory: its public")
    assert told_before(GRPO, PROMPTS, environment=ChosenEnvironment("A", Environment)) == []


def test_that_prompts_are_learnt_several_times_is_told_of_those_that_are_sampled():
    (note,) = told_before(GRPO, [*PROMPTS, *PROMPTS[:2]])
    assert note == "2 of 5 prompts to learn from repeat an earlier one"
    assert told_before(compose("sft"), [*PROMPTS, *PROMPTS[:2]], epochs=1) == []


def test_that_held_out_prompts_are_learnt_is_told():
    sets = {"": [Prompt([9], "b")], "hard": [Prompt([9], "b"), *PROMPTS[:2]]}
    (note,) = told_before(GRPO, PROMPTS, held_out=sets)
    assert note.startswith("2 of 3 held-out prompts of 'hard' are learnt from, too: what is measur")


def test_that_no_chat_template_is_used_is_told_where_there_is_one():
    (note,) = told_before(GRPO, PROMPTS, template="{{ messages }}")
    assert note.startswith("prompts of 'mine' are texts, which are read as they are; messages woul")
    messages = [replace(prompt, content=[{"role": "user"}]) for prompt in PROMPTS]
    assert told_before(GRPO, messages, template="{{ messages }}") == []


def test_how_much_of_a_mixture_each_data_set_gives_is_told():
    (note,) = told_before(GRPO, PROMPTS, shares=[0.75, 0.25])
    assert note == (
        "18 prompts are drawn: 75% of 'mine', 4.5 passes over its 3 prompts; "
        "25% of 'mine', 1.5 passes over its 3 prompts"
    )


def told(*reports, **options):
    scorer = SimpleNamespace(rewards=[])
    setup = SimpleNamespace(config=RunConfig(**options), scorer=scorer, tokenizer=None)
    notes = StepNotes(setup, RUNTIME)
    return [note for report in reports for note in notes.of(report)]


@pytest.mark.parametrize("name", ["eval/score", "eval/score/math", "eval/hard/score"])
def test_a_score_of_nothing_before_training_is_told(name):
    (note,) = told(Report(0, {"eval/loss": 0.0, name: 0.0}))
    assert note.startswith(f"{name} is 0 before training: if the model should get some of it right")
    assert told(Report(0, {"eval/loss": 0.0, name: 0.1}), Report(9, {name: 0.0})) == []


def test_what_several_steps_tell_is_told_once():
    samples = [Sample([1], [2], group=7)] * 4
    report = Report(1, missing=3, notes=["it rains"], samples=samples)
    missing, rains = told(report, replace(report, step=2), prompts_per_step=4)
    assert missing.startswith("step 1 kept 1 of 4 prompts in 8 rounds and trained on those")
    assert rains == "it rains"
