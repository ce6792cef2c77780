import math

import pytest
import torch

from anypo import compose, hookimpl

WIDE = {"clip_low": 0.1, "clip_high": 0.1}


class Slope:
    """An advantage that falls along the completion."""

    @hookimpl
    def advantage(self, batch):
        return batch.rewards.unsqueeze(-1) - 0.4 * torch.arange(batch.mask.shape[1])


def by_hand(rows, new, sg):
    counted = [row for row in rows if row.tokens]
    total = 0.0
    for row in counted:
        logs = [sg[row.index][t] - row.old[t] for t in row.tokens]
        sequence = math.exp(sum(logs) / len(logs))
        gains = []
        for t in row.tokens:
            ratio = sequence * math.exp(new[row.index][t]) / math.exp(sg[row.index][t])
            advantage = row.reward - 0.4 * t
            gains.append(min(ratio * advantage, min(max(ratio, 0.9), 1.1) * advantage))
        total += sum(gains) / len(gains)
    return -total / len(counted)


@pytest.mark.parametrize(
    ("name", "advantages"),
    [("gspo_token.loss_equal_adv", "computed"), ("gspo_token.loss_token_adv", "given")],
)
def test_reproduces_the_golden_loss(reproduces, name, advantages):
    reproduces(compose("gspo_token"), name, advantages=advantages)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("gspo_token", Slope, knobs=WIDE), by_hand, *random_batch(seed))


@pytest.mark.parametrize("knobs", [{}, WIDE], ids=["paper", "wide"])
@pytest.mark.parametrize("scale", [1e-3, 0.7])
def test_with_equal_advantages_it_is_gspo(random_batch, loss_and_gradient, knobs, scale):
    logprobs, batch = random_batch(scale=scale)
    results = []
    for name in ("gspo", "gspo_token"):
        algorithm = compose(name, knobs=knobs)
        loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
        results.append((loss.total, gradient))
    (loss, gradient), (token_loss, token_gradient) = results
    assert gradient.any()
    torch.testing.assert_close(token_loss, loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(token_gradient, gradient, rtol=1e-12, atol=1e-12)
