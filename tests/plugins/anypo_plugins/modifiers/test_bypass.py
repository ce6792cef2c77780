import math
from statistics import fmean

import pytest
import torch

from anypo import compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.sampler[t])
            clipped = min(max(ratio, 0.8), 1.28)
            gains.append(min(ratio * row.advantage, clipped * row.advantage))
    return -fmean(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("dapo", "bypass"), by_hand, *random_batch(seed))


@pytest.mark.parametrize("name", ["grpo", "gspo", "ppo", "hybrid_grpo"])
def test_the_sampler_stands_for_the_old_policy_whatever_the_ratio(random_batch, name):
    logprobs, batch = random_batch()
    values = batch.values
    plain, bypassed = compose(name), compose(name, "bypass")
    prepared = plain.prepare(batch).replace(old_logprobs=batch.sampler_logprobs)
    expected = plain.loss(logprobs, prepared, values=values).total
    found = bypassed.loss(logprobs, bypassed.prepare(batch), values=values).total
    assert torch.equal(found, expected)


def test_the_trainer_need_not_ask_the_policy_before_the_update():
    assert "old_logprobs" not in compose("dapo", "bypass").prepare_requires
    assert "sampler_logprobs" in compose("dapo", "bypass").requires


def test_nothing_is_left_to_correct(random_batch):
    logprobs, batch = random_batch()
    totals = [
        algorithm.loss(logprobs, algorithm.prepare(batch)).total
        for algorithm in (compose("dapo", "bypass"), compose("dapo", "bypass", "tis"))
    ]
    assert torch.equal(*totals)
