import math

import pytest
import torch

from anypo import AnypoError, compose


def by_hand_with(loss):
    def by_hand(rows, new, sg):
        right, total = [row for row in rows if row.tokens and row.reward > 0], 0.0
        for row in right:
            for t in row.tokens:
                ratio = math.exp(new[row.index][t] - row.old[t])
                gain = min(ratio, 1.2) if loss == "clipped" else new[row.index][t]
                total += gain / len(row.tokens)
        return -total / len(right)

    return by_hand


@pytest.mark.parametrize("loss", ["clipped", "likelihood"])
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed, loss):
    algorithm = compose("raft", knobs={"loss": loss})
    agrees_by_hand(algorithm, by_hand_with(loss), *random_batch(seed))


def test_where_nothing_is_right_nothing_is_learnt(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    algorithm = compose("raft")
    prepared = algorithm.prepare(batch.replace(rewards=-torch.ones(len(batch))))
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    assert loss.total == 0
    assert not gradient.any()


def test_a_clip_range_is_refused_where_there_is_no_ratio():
    with pytest.raises(AnypoError, match="clip_high"):
        compose("raft", knobs={"loss": "likelihood", "clip_high": 0.3})
