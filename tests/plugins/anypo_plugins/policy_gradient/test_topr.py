import math

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    counted, total = [row for row in rows if row.tokens], 0.0
    for row in counted:
        size, others = len(row.mates), sum(row.mates) - row.reward
        advantage = row.reward - others / (size - 1) if size > 1 else 0.0
        ratio = math.exp(sum(sg[row.index][t] - row.old[t] for t in row.tokens))
        taper = 1.0 if advantage > 0 else min(ratio, 1.0)
        total += taper * advantage * sum(new[row.index][t] for t in row.tokens)
    return -total / len(counted)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("topr"), by_hand, *random_batch(seed))


@pytest.mark.parametrize("knobs", [{"clip_low": 0.1}, {"loss": "reinforce"}], ids=str)
def test_knobs_of_the_loss_that_it_replaces_are_refused(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("topr", knobs=knobs)
