import math

import pytest
import torch

from anypo import Loss
from anypo.hooks.batch import Sample
from anypo.training.metrics import Meter, reward_metrics, sample_metrics


def sample(length, truncated=False, group=0, **scores):
    reward = sum(score for score in scores.values() if not math.isnan(score)) if scores else None
    return Sample([1], [2] * length, group, reward, scores, truncated=truncated)


def test_rewards_and_lengths_are_averaged_over_the_samples():
    samples = [sample(2, a=1.0, b=2.0), sample(4, truncated=True, a=0.0, b=4.0)]
    assert sample_metrics(samples) == {
        "reward/mean": 3.5,
        "reward/a": 0.5,
        "reward/b": 3.0,
        "reward/std": 0.5,
        "groups/flat": 0.0,
        "length/mean": 3.0,
        "length/truncated": 0.5,
    }


def test_groups_are_flat_whose_rewards_are_all_equal():
    rewards = {0: [0.1, 0.1, 0.1], 1: [0.0, 1.0], 2: [1.0, 1.0 + 1e-12], 3: [7.0]}
    samples = [sample(1, group=g, a=reward) for g, row in rewards.items() for reward in row]
    assert sample_metrics(samples)["groups/flat"] == pytest.approx(2 / 3)


def test_one_completion_to_each_prompt_is_no_group():
    metrics = sample_metrics([sample(1, group=0, a=0.5), sample(1, group=1, a=0.5)])
    assert "groups/flat" not in metrics
    assert metrics["reward/std"] == 0.0


def test_a_score_that_does_not_apply_is_left_out_of_its_mean():
    samples = [sample(1, a=1.0, b=math.nan), sample(1, a=3.0, b=4.0)]
    assert reward_metrics(samples) == {"mean": 4.0, "a": 2.0, "b": 4.0}


def test_a_score_that_never_applies_has_no_mean():
    samples = [sample(1, a=1.0, b=math.nan), sample(1, a=3.0, b=math.nan)]
    assert reward_metrics(samples) == {"mean": 2.0, "a": 2.0}


def test_a_metric_of_nothing_has_no_mean():
    meter = Meter()
    nothing, three = torch.tensor(0.0), torch.tensor(3.0)
    metrics = {"never": (nothing, nothing), "once": (three, torch.tensor(1.0))}
    meter.add(Loss(nothing, {}, metrics))
    assert meter.means() == {"loss": 0.0, "once": 3.0}


def test_samples_without_rewards_have_lengths_alone():
    assert sample_metrics([sample(2), sample(4)]) == {"length/mean": 3.0, "length/truncated": 0.0}


def test_no_reward_hides_the_sum_of_all_by_its_name():
    assert reward_metrics([sample(1, mean=1.0, other=2.0)])["mean"] == 3.0


def test_the_mismatch_counts_unmasked_tokens_over_all_micro_batches():
    meter = Meter()
    mask = torch.tensor([[True, False], [True, True]])
    theirs = torch.zeros(2, 2)
    meter.compare(torch.tensor([[0.1, 9.0], [-0.3, 0.0]]), theirs, mask)
    meter.compare(torch.tensor([[0.2, 9.0]]), theirs[:1], mask[:1])
    means = meter.means()
    assert means["mismatch/mean"] == pytest.approx(0.6 / 4)
    assert means["mismatch/max"] == pytest.approx(0.3)
    ratios = [math.exp(gap) for gap in (0.1, -0.3, 0.0, 0.2)]
    assert means["mismatch/ratio"] == pytest.approx(sum(ratios) / 4)


def test_what_is_counted_may_be_on_any_device_but_is_read_from_one():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        meter, one = Meter(), torch.ones((), device="cuda")
        meter.count("rows/learning", one, one)
        meter.count("entropy", one, one)
        assert {pair.device.type for pair in meter.sums.values()} == {"cuda"}
