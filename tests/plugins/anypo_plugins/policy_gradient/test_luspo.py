import math

import pytest
import torch

from anypo import AnypoError, compose, hookimpl
from anypo import functional as F


def by_hand(rows, new, sg):
    counted, total = [row for row in rows if row.tokens], 0.0
    for row in counted:
        logs = [new[row.index][t] - row.old[t] for t in row.tokens]
        ratio = math.exp(sum(logs) / len(logs))
        gain = min(ratio * row.advantage, min(max(ratio, 0.9), 1.1) * row.advantage)
        total += len(row.tokens) * gain
    return -total / len(counted)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("luspo"), "luspo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("luspo", knobs={"clip_low": 0.1, "clip_high": 0.1})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_tokens_of_equal_advantage_count_the_same_whatever_the_length(
    random_batch, loss_and_gradient
):
    _, batch = random_batch()
    algorithm = compose("luspo")
    _, gradient = loss_and_gradient(algorithm, batch.old_logprobs, algorithm.prepare(batch))
    rows = int(batch.mask.any(-1).sum())
    torch.testing.assert_close(gradient, -algorithm.prepare(batch).advantages / rows)


class ByLength:
    """The same weights without a word that they are meant."""

    @hookimpl
    def weight(self, batch):
        return F.per_completion_sum(batch.mask)


def test_the_same_weights_are_refused_where_nobody_claims_that_they_are_meant():
    with pytest.raises(AnypoError, match="makes long sequences count for more"):
        compose("gspo", ByLength)
