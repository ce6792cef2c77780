from types import SimpleNamespace

import pytest
import torch
import transformers
from transformers import get_scheduler

from anypo.errors import ConfigError
from anypo.runs.options import RunConfig
from anypo.training.optimizer import (
    make_optimizer,
    make_schedule,
    optimizer_class,
    remembered_bytes,
)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")],
)
@pytest.mark.parametrize("warmup", [0, 2])
def test_learning_rates_are_those_of_transformers(name, theirs, warmup):
    config = RunConfig(schedule=name, steps=4, warmup_steps=warmup, epochs=3, minibatches=2)
    ours, other = (torch.optim.SGD([torch.zeros(1)], lr=0.5) for _ in range(2))
    schedules = make_schedule(ours, config), get_scheduler(theirs, other, warmup * 6, 24)
    for _ in range(24):
        one, two = (schedule.get_last_lr() for schedule in schedules)
        assert one == pytest.approx(two, rel=1e-12)
        ours.step()
        other.step()
        for schedule in schedules:
            schedule.step()
    assert schedules[0].get_last_lr() == [0.5 if name == "constant" else 0.0]


def stepped(name):
    """A layer after a step by an optimizer, and how far it went."""
    layer = torch.nn.Linear(64, 64)
    config = RunConfig(optimizer=name, learning_rate=0.01)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(config, layer)
    layer(torch.ones(1, 64)).square().sum().backward()
    optimizer.step()
    return optimizer, layer.weight, (layer.weight - before).abs().max().item()


@pytest.mark.parametrize("name", ["adamw", "adamw_torch", "adafactor", "sgd", "rmsprop", "adagrad"])
def test_an_optimizer_goes_by_the_name_that_transformers_has_for_it(name):
    _, _, moved = stepped(name)
    assert moved > 0


@pytest.mark.parametrize("name", ["adamw_8bit", "lion_8bit"])
def test_the_state_of_an_8bit_optimizer_has_8_bits(name):
    pytest.importorskip("bitsandbytes")
    optimizer, weight, moved = stepped(name)
    assert optimizer.state[weight]["state1"].dtype == torch.uint8
    assert moved == pytest.approx(0.01, rel=0.1)  # the learning rate


def test_adafactor_remembers_rows_and_columns_alone():
    optimizer, weight, _ = stepped("adafactor")
    kept = [value for value in optimizer.state[weight].values() if torch.is_tensor(value)]
    assert sum(value.numel() for value in kept if value.dim()) == sum(weight.shape)


def refusal(**options):
    with pytest.raises(ConfigError) as refused:
        optimizer_class(RunConfig(**options))
    return str(refused.value)


def test_an_unknown_optimizer_is_refused_with_the_nearest():
    assert "'adam_w'; did you mean 'adamw'?" in refusal(optimizer="adam_w")


def test_the_extra_is_named_that_an_optimizer_needs(monkeypatch):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda _: None)
    monkeypatch.setattr("transformers.trainer_optimizer.is_bitsandbytes_available", lambda: False)
    assert refusal(optimizer="adamw_8bit") == (
        "optimizer 'adamw_8bit' needs bitsandbytes, which is not installed: "
        "pip install 'anypo[bitsandbytes]'"
    )


@pytest.mark.parametrize("name", ["galore_adamw", "lomo"])
def test_an_optimizer_that_needs_more_is_refused_with_the_reason(name):
    assert refusal(optimizer=name).startswith(f"optimizer '{name}' cannot be used: ")


def given_by_transformers(monkeypatch, kind):
    trainer = SimpleNamespace(get_optimizer_cls_and_kwargs=lambda _: (kind, {}))
    monkeypatch.setattr(transformers, "Trainer", trainer)


def test_an_optimizer_that_must_be_told_of_evaluations_is_refused(monkeypatch):
    class ScheduleFree(torch.optim.SGD):
        def train(self):
            pass

    given_by_transformers(monkeypatch, ScheduleFree)
    assert "a training loop of its own" in refusal(optimizer="schedule_free_sgd")


def test_weight_decay_is_refused_where_there_is_none(monkeypatch):
    class Signs(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

    given_by_transformers(monkeypatch, Signs)
    assert optimizer_class(RunConfig(optimizer="sgd")) == (Signs, {})
    refused = refusal(optimizer="sgd", weight_decay=0.1)
    assert refused == "weight_decay is set, but optimizer 'sgd' has none: leave it out"


@pytest.mark.parametrize(
    ("name", "dtype", "size"),
    [("adamw", "float32", 8), ("adamw", "bfloat16", 4), ("sgd", "float32", 0)],
)
def test_it_is_asked_what_it_remembers_of_a_weight(name, dtype, size):
    config = RunConfig(optimizer=name)
    found = remembered_bytes(config, getattr(torch, dtype), torch.device("cpu"))
    assert found == pytest.approx(size, abs=0.01)
