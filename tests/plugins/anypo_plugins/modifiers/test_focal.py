import math
from statistics import fmean

import pytest
import torch

from anypo import Batch, compose


def by_hand_with(gamma, right):
    def by_hand(rows, new, sg):
        gains = []
        for row in rows:
            solved = fmean(reward >= right for reward in row.mates)
            advantage = (1 - solved) ** gamma * row.advantage
            for t in row.tokens:
                ratio = math.exp(new[row.index][t] - row.old[t])
                gains.append(min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage))
        return -fmean(gains)

    return by_hand


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("gamma", "right"), [(0.5, 1.0), (2.0, 0.0), (1.0, 0.3)])
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed, gamma, right):
    logprobs, batch = random_batch(seed)
    batch = batch.replace(rewards=batch.rewards.round())  # some are what is just right
    algorithm = compose("dapo", "focal", knobs={"focal_gamma": gamma, "focal_right": right})
    agrees_by_hand(algorithm, by_hand_with(gamma, right), logprobs, batch)


def test_a_group_that_is_all_right_teaches_nothing():
    batch = Batch(
        mask=torch.ones(2, 2).bool(),
        group=torch.tensor([0, 0]),
        rewards=torch.tensor([1.0, 1.5]),
        old_logprobs=torch.zeros(2, 2),
    )
    assert compose("dapo").prepare(batch).advantages.any()
    assert not compose("dapo", "focal").prepare(batch).advantages.any()
