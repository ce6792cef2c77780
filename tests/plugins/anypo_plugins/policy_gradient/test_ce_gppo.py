import math

import pytest
import torch

from anypo import compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
            frozen = math.exp(sg[row.index][t] - row.old[t])
            if a > 0 and frozen > 1.2:
                ratio *= 0.9 * 1.2 / frozen
            elif a < 0 and frozen < 0.8:
                ratio *= 0.5 * 0.8 / frozen
            gains.append(ratio * a)
    return -sum(gains) / len(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("ce_gppo", knobs={"keep_low": 0.5, "keep_high": 0.9})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_without_what_is_kept_it_is_dapo(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    gradients = []
    dapo = compose("dapo", knobs={"clip_high": 0.2})
    for algorithm in (dapo, compose("ce_gppo", knobs={"keep_low": 0, "keep_high": 0})):
        gradients.append(loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))[1])
    torch.testing.assert_close(*gradients)
