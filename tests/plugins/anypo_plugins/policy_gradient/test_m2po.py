import math

import pytest
import torch

from anypo import compose


def by_hand(rows, new, sg):
    places = [(row, t) for row in rows for t in row.tokens]
    squares = sorted((sg[row.index][t] - row.old[t]) ** 2 for row, t in places)
    while squares and sum(squares) / len(squares) > 0.04:
        squares.pop()
    largest, gain = squares[-1] if squares else -1.0, 0.0
    for row, t in places:
        ratio = math.exp(new[row.index][t] - row.old[t])
        gain += ratio * row.advantage * ((sg[row.index][t] - row.old[t]) ** 2 <= largest)
    return -gain / len(places)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_algorithm_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    agrees_by_hand(compose("m2po"), by_hand, logprobs, batch, now={"logprobs": logprobs})


@pytest.mark.parametrize(("moved", "learns"), [(0.0, True), (0.19, True), (0.21, False)])
def test_tokens_that_moved_alike_learn_all_or_none(random_batch, moved, learns):
    _, batch = random_batch()
    weights = compose("m2po").prepare(batch, logprobs=batch.old_logprobs + moved).weights["policy"]
    assert torch.equal(weights > 0, batch.mask if learns else torch.zeros_like(batch.mask))


def test_padding_may_hold_anything(random_batch):
    logprobs, batch = random_batch()
    padded = torch.where(batch.mask, logprobs, torch.nan)
    weights = [compose("m2po").prepare(batch, logprobs=x).weights for x in (logprobs, padded)]
    assert torch.equal(weights[0]["policy"], weights[1]["policy"])
