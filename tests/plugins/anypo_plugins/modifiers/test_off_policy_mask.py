import math
from statistics import fmean

import pytest

from anypo import compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        tokens, a = row.tokens, row.advantage
        drift = fmean(row.sampler[t] - sg[row.index][t] for t in tokens) if tokens else 0.0
        for t in tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            gain = min(ratio * a, min(max(ratio, 0.8), 1.28) * a)
            gains.append(0.0 if a < 0 and drift > 0.1 else gain)
    return -sum(gains) / len(gains)


def test_reproduces_the_golden_loss(reproduces_paper):
    knobs = {"kl_coef": 0.0, "off_policy_delta": 0.01}
    reproduces_paper(compose("grpo", "off_policy_mask", knobs=knobs), "v3.2 mask")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("dapo", "off_policy_mask", knobs={"off_policy_delta": 0.1})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_good_completions_are_never_masked(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    far = logprobs - 5  # all are far less likely than when they were sampled
    algorithm = compose("rloo", "off_policy_mask", knobs={"loss": "reinforce"})
    prepared = algorithm.prepare(batch)
    _, gradient = loss_and_gradient(algorithm, far, prepared)
    learnt = (gradient != 0).any(-1)
    assert learnt.tolist() == ((prepared.advantages > 0) & batch.mask).any(-1).tolist()
    assert learnt.any()
