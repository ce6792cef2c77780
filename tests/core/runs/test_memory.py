"""What a run does of what it is asked to keep."""

import pytest
import torch
from safetensors.torch import load_file

import anypo.models.checkpointing
from anypo import compose, run
from anypo.errors import ConfigError, TrainingError
from anypo.hooks.runtime import Runtime
from anypo.runs.engines import check_engines
from anypo.runs.options import make_config

GRPO = compose("grpo", knobs={"group_size": 2})


@pytest.fixture
def quick(letters, model_dir):
    """Options of a short run."""
    return {**letters, "model": model_dir, "steps": 2, "learning_rate": 1e-3, "device": "cpu"}


def weights_of(folder):
    return load_file(folder / "model" / "model.safetensors")


def test_gradient_checkpointing_trains_the_same(quick, tmp_path, monkeypatch):
    checkpoint, layers = anypo.models.checkpointing.checkpoint, []

    def counted(*args, **kwargs):
        layers.append(args)
        return checkpoint(*args, **kwargs)

    monkeypatch.setattr(anypo.models.checkpointing, "checkpoint", counted)
    plain = run(GRPO, **quick)
    assert not layers
    again = run(GRPO, **{**quick, "output": str(tmp_path / "again")}, gradient_checkpointing=True)
    assert layers
    assert "gradient_checkpointing = true" in (again / "config.toml").read_text()
    one, other = weights_of(plain), weights_of(again)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_a_run_in_bfloat16_saves_as_precisely_as_it_is_asked_to_train(quick, tmp_path):
    usual = run(GRPO, **quick, dtype="bfloat16")
    low = run(
        GRPO, **{**quick, "output": str(tmp_path / "low")}, dtype="bfloat16", weights="bfloat16"
    )
    assert {weight.dtype for weight in weights_of(usual).values()} == {torch.float32}
    assert {weight.dtype for weight in weights_of(low).values()} == {torch.bfloat16}


def refusal(**options):
    with pytest.raises(ConfigError) as refused:
        check_engines(make_config(options), Runtime())
    return str(refused.value)


def test_what_cannot_be_is_refused_before_anything_is_loaded(monkeypatch):
    assert "set dtype to bfloat16" in refusal(weights="bfloat16")
    assert "no optimizer 'adamm'" in refusal(optimizer="adamm")
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: name == "peft" or None)
    missing = (
        "quantize needs bitsandbytes, which is not installed: pip install 'anypo[bitsandbytes]'"
    )
    assert refusal(lora_rank=4, quantize="nf4") == missing


def no_memory(*_, **__):
    raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.")


ADVICE = r"out of memory; lower token_budget \(it is 16384\)"
PLACES = {  # where it happens, and what is told of that
    "anypo.runs.engines.check_agreement": f"^{ADVICE}",
    "anypo.sampling.generate.TransformersEngine.sample": f"^{ADVICE}",
    "anypo.training.learner.Learner.update": f"^step 1: {ADVICE}",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_lack_of_memory_is_told_as_such_wherever_it_happens(quick, monkeypatch, place):
    monkeypatch.setattr(place, no_memory)
    with pytest.raises(TrainingError, match=PLACES[place]) as told:
        run(GRPO, **quick)
    assert "or set gradient_checkpointing or set lora_rank" in str(told.value)


def test_the_advice_names_nothing_that_is_on_already(quick, monkeypatch):
    monkeypatch.setattr("anypo.training.learner.Learner.update", no_memory)
    with pytest.raises(TrainingError, match="out of memory") as told:
        run(GRPO, **quick, gradient_checkpointing=True, lora_rank=2)
    assert "gradient_checkpointing" not in str(told.value)
    assert "lora_rank" not in str(told.value)


def test_so_is_that_of_a_reward(quick, tmp_path):
    (tmp_path / "reward.py").write_text(
        "import torch\ndef score(**_):\n    return torch.empty(10**15).tolist()\n"
    )
    with pytest.raises(TrainingError, match=f"^step 1: {ADVICE}"):
        run(GRPO, **quick)
