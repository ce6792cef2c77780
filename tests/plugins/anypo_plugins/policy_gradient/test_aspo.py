import math

import pytest

from anypo import compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
            frozen = math.exp(sg[row.index][t] - row.old[t])
            if a > 0:
                gains.append(0.0 if frozen > 1.2 else min(1 / frozen, 1.5) * ratio / frozen * a)
            else:
                gains.append(min(ratio * a, min(max(ratio, 0.8), 1.2) * a))
    return -sum(gains) / len(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("aspo", knobs={"flip_cap": 1.5}), by_hand, *random_batch(seed))


def test_of_good_tokens_those_that_have_become_rarer_learn_more(random_batch, loss_and_gradient):
    _, batch = random_batch()
    algorithm = compose("aspo")
    prepared = algorithm.prepare(batch)
    good, sizes = prepared.advantages > 0, []
    for moved in (-2.0, -0.5, 0.0, 0.15, 0.2):
        _, gradient = loss_and_gradient(algorithm, batch.old_logprobs + moved, prepared)
        sizes.append(float(-gradient[good].sum()))
    at_one = sizes[2]
    wanted = [3.0, math.exp(0.5), 1.0, math.exp(-0.15), 0.0]
    assert sizes == pytest.approx([at_one * size for size in wanted])
