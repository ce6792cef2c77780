import math

import pytest

from anypo import compose


def by_hand(rows, new, sg):
    counted, total = [row for row in rows if row.tokens], 0.0
    for row in counted:
        sign = 1 if row.advantage >= 0 else -1
        logs = [new[row.index][t] - row.old[t] for t in row.tokens]
        lesser = [sign * min(sign * x, sign * min(max(x, -0.3), 0.2)) for x in logs]
        total += math.exp(sum(lesser) / len(lesser)) * row.advantage
    return -total / len(counted)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("gmpo"), "gmpo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("gmpo", knobs={"clip_low": 0.3, "clip_high": 0.2})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_only_tokens_that_went_too_far_along_with_the_advantage_stop(
    random_batch, loss_and_gradient
):
    logprobs, batch = random_batch()
    algorithm = compose("gmpo")
    prepared = algorithm.prepare(batch)
    _, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    moved = (logprobs - batch.old_logprobs) * prepared.advantages.sign()
    live = batch.mask & (prepared.advantages != 0)
    assert ((gradient == 0) == (moved > 0.4))[live].all()
