import math

import pytest
import torch

from anypo import AnypoError, compose, hookimpl
from anypo import functional as F


def by_hand(rows, new, sg):
    counted = [row for row in rows if row.tokens]
    total = 0.0
    for row in counted:
        logs = [new[row.index][t] - row.old[t] for t in row.tokens]
        ratio = math.exp(sum(logs) / len(logs))
        total += min(ratio * row.advantage, min(max(ratio, 0.9), 1.1) * row.advantage)
    return -total / len(counted)


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("gspo.loss_paper_clip", {}),
        ("gspo.loss_wide_clip", {"clip_low": 0.2, "clip_high": 0.2}),
    ],
)
def test_reproduces_the_golden_loss(reproduces, name, knobs):
    reproduces(compose("gspo", knobs=knobs), name)


def test_reproduces_the_golden_stack_with_other_advantages(reproduces):
    reproduces(compose("gspo"), "stack.gspo_gfpo", advantages="given")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("gspo", knobs={"clip_low": 0.1, "clip_high": 0.1})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_a_completion_is_clipped_as_a_whole(random_batch, loss_and_gradient):
    algorithm = compose("gspo")
    logprobs, batch = random_batch()
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    live = [row[kept] for row, kept in zip(gradient, batch.mask, strict=True)]
    assert all(len(row.unique()) <= 1 for row in live)
    assert 0 < sum(bool(row.any()) for row in live) < len(live)


def test_on_a_stack_of_token_weights_a_completion_still_counts_once(random_batch):
    _, batch = random_batch()
    weights = compose("dapo", "gspo").prepare(batch).weights["policy"]
    torch.testing.assert_close(weights, F.per_completion_mean(batch.mask))


class PerToken:
    """An advantage that grows along the completion."""

    @hookimpl
    def advantage(self, batch):
        return batch.rewards.unsqueeze(-1) * torch.arange(batch.mask.shape[1])


def test_an_advantage_per_token_is_refused():
    with pytest.raises(AnypoError, match="one ratio per sequence"):
        compose("gspo", PerToken)
