"""The moving average of a policy's weights."""

import copy
from contextlib import suppress
from itertools import islice

import pytest
import torch

from anypo.training.average import Average, BiasCorrected
from anypo.training.evaluation import Evaluated

QUICK = {"learning_rate": 1e-2, "warmup_steps": 0, "epochs": 2, "minibatches": 2}


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def moved(layer):
    with torch.no_grad():
        for weight in layer.parameters():
            weight.add_(torch.randn_like(weight))


def values(module):
    return [weight.detach().clone() for weight in module.parameters()]


def test_it_keeps_a_share_of_itself_in_every_update(layer):
    expected, average = values(layer), Average(layer, 0.75)
    for _ in range(3):
        moved(layer)
        average.follow()
        expected = [
            0.75 * old + 0.25 * new for old, new in zip(expected, values(layer), strict=True)
        ]
    for found, wanted in zip(average.weights.values(), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("every", [1, 2])
def test_bema_goes_on_from_where_training_began(layer, every):
    start, average = values(layer), BiasCorrected(layer, every)
    ema = start
    for t in range(1, 6):
        moved(layer)
        average.follow()
        now = values(layer)
        if t % every == 0:
            beta = (10 + t) ** -0.5
            ema = [(1 - beta) * old + beta * new for old, new in zip(ema, now, strict=True)]
        expected = [
            average + (10 + t) ** -0.2 * (new - first)
            for average, new, first in zip(ema, now, start, strict=True)
        ]
        with average.shown():
            for found, wanted in zip(values(layer), expected, strict=True):
                torch.testing.assert_close(found, wanted)
        assert all(map(torch.equal, values(layer), now))


def test_before_any_update_bema_is_the_policy(layer):
    before, average = values(layer), BiasCorrected(layer, 1)
    with average.shown():
        assert all(map(torch.equal, values(layer), before))


def test_the_policy_gets_its_own_weights_back_to_the_bit(layer):
    layer.to(torch.bfloat16)
    average = Average(layer, 0.9)
    moved(layer)
    average.follow()
    before, averaged = values(layer), copy.deepcopy(average.weights)
    shown = []
    with suppress(ZeroDivisionError), average.shown():
        shown += values(layer)
        raise ZeroDivisionError
    assert all(map(torch.equal, values(layer), before))
    assert all(map(torch.equal, shown, [weight.bfloat16() for weight in averaged.values()]))
    assert not all(map(torch.equal, shown, before))
    assert all(map(torch.equal, average.weights.values(), averaged.values()))


def test_it_is_hidden_once(layer):
    average = Average(layer, 0.9)
    moved(layer)
    with average.shown():
        average.hide()
        own = values(layer)
        moved(layer)
        last = values(layer)
    assert all(map(torch.equal, values(layer), last))
    assert not any(map(torch.equal, own, last))


def test_small_steps_of_rounded_weights_are_not_lost(layer):
    layer.to(torch.bfloat16)
    average = Average(layer, 0.9999)
    before = {name: weight.clone() for name, weight in average.weights.items()}
    moved(layer)
    average.follow()
    assert not any(torch.equal(before[name], weight) for name, weight in average.weights.items())


def test_what_is_frozen_has_none(layer):
    layer.bias.requires_grad_(False)
    assert average_names(layer) == ["weight"]


def average_names(layer):
    return list(Average(layer, 0.9).weights)


def test_every_update_is_averaged(model, make_trainer):
    trainer = make_trainer(model, ema=0.5, **QUICK)
    learner, seen = trainer.learner, [values(model)]
    learner.optimizer.register_step_post_hook(lambda *_: seen.append(values(model)))
    list(islice(trainer.train(), 2))
    assert len(seen) == 1 + 2 * 4
    expected = seen[0]
    for updated in seen[1:]:
        expected = [(old + new) / 2 for old, new in zip(expected, updated, strict=True)]
    for found, wanted in zip(learner.average.weights.values(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.fixture
def measured(model, make_trainer, scripted, weights):
    """A trainer with two held-out sets, and the weights of the policy at each evaluation."""
    trainer = make_trainer(model, ema=0.5, eval_every=1, **QUICK)
    seen, synced = [], []
    scripted.sync = lambda model: synced.append(weights(model))

    def evaluate(name):
        seen.append((weights(model), synced[-1] if synced else None))
        return Evaluated({"score": float(len(seen))}, name)

    trainer.evaluations = [lambda: evaluate(""), lambda: evaluate("hard")]
    return trainer, seen, synced


def test_it_is_evaluated_beside_the_policy(measured):
    trainer, _, _ = measured
    before, first, _ = trainer.train()
    names = ["eval/score", "eval/hard/score", "eval/ema/score", "eval/ema/hard/score"]
    assert list(before.metrics) == names
    assert [first.metrics[name] for name in names] == [5, 6, 7, 8]
    assert [found.title for found in first.evaluated] == ["eval", "hard", "ema", "ema/hard"]


def test_who_evaluates_sees_the_averaged_weights_and_who_trains_does_not(measured, weights):
    trainer, seen, synced = measured
    list(islice(trainer.train(), 2))
    policy, average = (
        seen[4][0],
        torch.cat([weight.flatten() for weight in trainer.learner.average.weights.values()]),
    )
    assert torch.equal(seen[6][0], average)
    assert torch.equal(seen[6][1], average)
    assert not torch.equal(policy, average)
    assert torch.equal(synced[-1], policy)
    assert torch.equal(weights(trainer.learner.model), policy)


def test_training_is_what_it_is_without_one(model, make_trainer, weights):
    copied = copy.deepcopy(model)
    for one, ema in ((model, None), (copied, 0.9)):
        list(make_trainer(one, held_out=True, eval_every=1, ema=ema, **QUICK).train())
    assert torch.equal(weights(model), weights(copied))
