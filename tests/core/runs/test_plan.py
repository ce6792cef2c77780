import json

import pytest
import torch

from anypo import ConfigError, DataError, Observer, compose
from anypo.models.load import load_model
from anypo.runs.options import make_config
from anypo.runs.plan import plan


@pytest.fixture(scope="module")
def options(model_dir, tmp_path_factory):
    rows = [{"prompt": "ab" * n, "chosen": "c" * n, "rejected": "d"} for n in range(1, 9)]
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": model_dir,
        "data": str(file),
        "reward": ["length"],
        "max_completion_length": 16,
        "prompts_per_step": 4,
        "steps": 3,
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def planned(options):
    """Plans, each made once, while no weights can be loaded."""

    def refuse(*_, **__):
        raise AssertionError("weights are loaded")

    known = {}

    def planned(name="grpo", **changes):
        key = name, repr(changes)
        if key not in known:
            given = {**options, **changes}
            config = make_config({k: v for k, v in given.items() if v is not None})
            known[key] = plan(compose(name), config, Observer())
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("anypo.runs.policy.load_model", refuse)
        yield planned


def test_it_says_what_a_step_is_made_of(planned):
    found = planned()
    assert (found.rollout.drawn, len(found.rollout.samples), found.passes) == (32, 32, 1)
    assert found.setup.config.steps == 3
    assert max(len(s.prompt_ids) for s in found.rollout.samples) == 16


def test_a_smaller_budget_takes_more_passes_and_less_memory(planned):
    large, small = planned(), planned(token_budget=64)
    assert small.passes > large.passes
    assert small.in_a_phase < large.in_a_phase


def test_every_part_of_the_weights_is_there(planned, model_dir):
    size = sum(w.nbytes for w in load_model(model_dir).parameters())
    parts = planned().always
    assert parts["weights, trained"] == parts["reference model"] == size
    assert parts["optimizer state (adamw)"] == pytest.approx(2 * size, rel=1e-3)
    assert planned("ppo").always["weights, trained"] == pytest.approx(2 * size, rel=0.1)


def test_adapters_leave_the_weights_alone(planned, model_dir):
    pytest.importorskip("peft")
    size = sum(w.nbytes for w in load_model(model_dir).parameters())
    found = planned(lora_rank=2)
    assert found.always["weights, frozen"] == size
    assert found.always["weights, trained"] < 0.2 * size
    assert found.always["reference model"] == 0
    assert found.trained < found.parameters
    assert found.disk["model"] == size


def test_a_critic_from_a_reward_model_shares_no_frozen_weights(planned, scorer_dir):
    pytest.importorskip("peft")
    shared, own = (
        planned("ppo", lora_rank=2, critic_model=path).always["weights, frozen"]
        for path in (None, scorer_dir)
    )
    assert own == pytest.approx(2 * shared, rel=0.1)


@pytest.mark.parametrize("processes", [{}, {"processes": 2, "sharding": "fsdp"}])
def test_averaged_weights_are_there_once_more(planned, model_dir, processes):
    size = sum(w.nbytes for w in load_model(model_dir).parameters())
    without, found = planned(**processes), planned(ema=0.9, **processes)
    assert without.always["averaged weights"] == 0
    assert found.always["averaged weights"] == size / processes.get("processes", 1)
    assert found.disk["model"] == 2 * without.disk["model"]
    assert found.disk["checkpoint"] == without.disk["checkpoint"] + 2 * size
    corrected = planned(bema=1, **processes)  # keeps the weights before training, in memory alone
    assert corrected.always["averaged weights"] == 2 * found.always["averaged weights"]
    assert corrected.disk == found.disk


def test_checkpointing_keeps_less(planned):
    kept = [planned(gradient_checkpointing=on).phases["updating"] for on in (False, True)]
    plain, less = (next(v for k, v in p.items() if k.startswith("activations")) for p in kept)
    assert less < 0.7 * plain


def test_what_processes_share_is_divided(planned, model_dir):
    alone, shared = planned(), planned(processes=2, sharding="fsdp")
    name = "weights, trained"
    assert shared.always[name] == alone.always[name] / 2
    assert "whole copy, to sample from and to save" in shared.always


def test_an_algorithm_of_given_completions_samples_nothing(planned):
    found = planned("dpo", reward=None)
    assert found.rollout.drawn == 0
    assert len(found.rollout.samples) == 8
    assert not found.phases["sampling"]


def test_a_model_that_gives_rewards_counts(planned, scorer_dir):
    size = sum(w.nbytes for w in load_model(scorer_dir, scalar_head=True).parameters())
    assert planned(reward=[scorer_dir]).always["reward models"] == size


def test_a_model_that_scores_is_planned_too(planned):
    assert planned("reward_model", reward=None).phases["updating"]


def test_it_refuses_what_the_run_would_refuse(planned, options, tmp_path):
    with pytest.raises(ConfigError, match="lora_alpha is set, but not lora_rank"):
        planned(lora_alpha=3)
    with pytest.raises(DataError, match="no column 'completion'"):
        planned("sft", reward=None)
    with pytest.raises(ConfigError, match="sharding is set, but there is one process"):
        planned(sharding="fsdp")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ConfigError, match="no empty directory"):
        planned(output=str(tmp_path / "full"))


def test_what_no_pass_tells_is_said(planned, monkeypatch):
    def fail(*_, **__):
        raise torch._subclasses.fake_tensor.DataDependentOutputException("item")

    monkeypatch.setattr("anypo.runs.footprint.update_of", fail)
    found = planned(seed=1)
    assert found.uncounted[0].startswith("updating")
    assert "updating" not in found.phases
