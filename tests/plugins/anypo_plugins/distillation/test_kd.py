import math
from statistics import fmean

import pytest

from anypo import compose


def chances(logits, temperature=1.0):
    powers = [math.exp(x / temperature) for x in logits]
    return [x / sum(powers) for x in powers]


def by_hand_with(temperature, hard):
    def by_hand(rows, policy, teacher):
        losses = []
        for row in rows:
            for t in row.tokens:
                p, q = (chances(x[row.index][t], temperature) for x in (policy, teacher))
                kl = sum(y * math.log(y / x) for x, y in zip(p, q, strict=True))
                said = math.log(chances(policy[row.index][t])[row.said[t]])
                losses.append(temperature**2 * kl - hard * said)
        return fmean(losses)

    return by_hand


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("temperature", "hard"), [(1.0, 0.0), (2.0, 0.3), (0.5, 0.0)])
def test_agrees_with_the_equation_worked_by_hand(
    random_distributions, agrees_in_logits, seed, temperature, hard
):
    algorithm = compose("kd", knobs={"soften": temperature, "hard_coef": hard})
    agrees_in_logits(algorithm, by_hand_with(temperature, hard), *random_distributions(seed))


def test_requires_a_teacher_and_completions():
    assert compose("kd").requires == {"teacher"}
    assert compose("kd").inputs.completions == {"completion"}
