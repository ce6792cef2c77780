import math

import pytest
import torch
from anypo import Batch, compose
from anypo.testing import Conformance

from anypo_sapo import SAPO


class TestConformance(Conformance):
    plugin = SAPO


def gradient(ratio, reward):
    """Of the gain of a row's one token in its log-prob; the reward of the other row is 0."""
    old = torch.zeros(2, 1, dtype=torch.float64)
    group, rewards = torch.tensor([0, 0]), torch.tensor([reward, 0.0], dtype=torch.float64)
    batch = Batch(mask=torch.ones(2, 1), group=group, rewards=rewards, old_logprobs=old)
    prepared = (algorithm := compose(SAPO)).prepare(batch)
    logprobs = (old + math.log(ratio)).requires_grad_()
    algorithm.loss(logprobs, prepared).total.backward()
    return -2 * logprobs.grad[0].item(), prepared.advantages[0].item()


@pytest.mark.parametrize("ratio", [0.2, 1.0, 1.5, 3.0])
@pytest.mark.parametrize(("reward", "tau"), [(1.0, 1.0), (-1.0, 1.05)])
def test_the_gradient_is_that_of_the_ratio_times_a_gate(ratio, reward, tau):
    found, advantage = gradient(ratio, reward)
    p = 1 / (1 + math.exp(-tau * (ratio - 1)))
    assert found == pytest.approx(4 * p * (1 - p) * ratio * advantage, rel=1e-9)


def test_on_policy_the_gate_is_open():
    found, advantage = gradient(1.0, 1.0)
    assert found == pytest.approx(advantage) == pytest.approx(0.5**0.5, abs=1e-5)
