import math

import pytest
import torch

from anypo import Batch, compose


def by_hand(rows, new, sg):
    def rank(row):
        mates = [r for r in rows if r.group == row.group]
        size = {r.index: abs(r.advantage) if r.tokens else 0.0 for r in mates}
        return sum(size[r.index] > size[row.index] for r in mates)

    kept = [row for row in rows if rank(row) < 2 and row.tokens]
    total = 0.0
    for row in kept:
        for t in row.tokens:
            ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
            total += min(ratio * a, min(max(ratio, 0.8), 1.2) * a) / len(row.tokens)
    return -total / len(kept)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    some = (batch.group == 7) | (batch.group == 2) | (batch.group == 5)  # no ties among these
    algorithm = compose("cppo", knobs={"group_size": 4, "kl_coef": 0.0})
    agrees_by_hand(algorithm, by_hand, logprobs[some], batch.rows(some.nonzero().squeeze(-1)))


@pytest.mark.parametrize(
    ("prune", "right", "kept"),
    [(0.5, 1, [0, 1, 2, 3]), (0.5, 7, [0, 1, 2, 7]), (0.875, 1, [0]), (0.0, 4, list(range(8)))],
)
def test_of_completions_that_are_right_or_wrong_no_more_are_kept(prune, right, kept):
    batch = Batch(
        mask=torch.ones(8, 2).bool(),
        group=torch.zeros(8).long(),
        rewards=(torch.arange(8) < right).float(),
        old_logprobs=torch.zeros(8, 2),
        ref_logprobs=torch.zeros(8, 2),
    )
    weights = compose("cppo", knobs={"prune": prune}).prepare(batch).weights["policy"]
    assert weights.any(-1).nonzero().squeeze(-1).tolist() == kept
    assert float(weights.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("size", "prune", "kept"), [(7, 0.5, 3), (5, 0.5, 2), (10, 0.8, 2), (4, 0.9, 1), (3, 0.0, 3)]
)
def test_a_part_of_a_completion_is_not_kept(size, prune, kept):
    batch = Batch(
        mask=torch.ones(size, 1).bool(),
        group=torch.zeros(size).long(),
        rewards=torch.arange(size).double(),
        old_logprobs=torch.zeros(size, 1),
        ref_logprobs=torch.zeros(size, 1),
    )
    algorithm = compose("cppo", knobs={"group_size": size, "prune": prune})
    assert int((algorithm.prepare(batch).weights["policy"] > 0).sum()) == kept
