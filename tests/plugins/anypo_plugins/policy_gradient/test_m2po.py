import math

import pytest
import torch

from anypo import compose


def by_hand(rows, new, sg):
    places = [(row, t) for row in rows for t in row.tokens]
    moved = {(row.index, t): sg[row.index][t] - row.old[t] for row, t in places}
    held = [(row.index, t) for row, t in places if moved[row.index, t] * row.advantage > 0]
    held.sort(key=lambda place: abs(moved[place]))
    left = set()
    while held and sum(moved[place] ** 2 for place in held) / len(held) > 0.04:
        left.add(held.pop())
    gains = [
        math.exp(new[row.index][t] - row.old[t]) * row.advantage
        for row, t in places
        if (row.index, t) not in left
    ]
    return -sum(gains) / len(places)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_algorithm_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    agrees_by_hand(compose("m2po"), by_hand, logprobs, batch, now={"logprobs": logprobs})


@pytest.mark.parametrize("moved", [-0.21, -0.19, 0.19, 0.21])
def test_only_tokens_that_went_along_with_the_advantage_are_left_out(random_batch, moved):
    _, batch = random_batch()
    prepared = compose("m2po").prepare(batch, logprobs=batch.old_logprobs + moved)
    along = prepared.advantages * moved > 0
    assert along.any()
    left = along & (abs(moved) > 0.2)
    assert torch.equal(prepared.weights["policy"] > 0, batch.mask & ~left)


def test_padding_may_hold_anything(random_batch):
    logprobs, batch = random_batch()
    padded = torch.where(batch.mask, logprobs, torch.nan)
    weights = [compose("m2po").prepare(batch, logprobs=x).weights for x in (logprobs, padded)]
    assert torch.equal(weights[0]["policy"], weights[1]["policy"])
