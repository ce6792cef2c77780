import math
from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(pairs):
    total = []
    for chosen, rejected in pairs:
        b = 0.3 * (drift(chosen) - drift(rejected))
        share = sigmoid(b / 0.2)
        total.append(-(1 - share) * math.log(sigmoid(b)) + share * math.exp(-b))
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("discopop"), "discopop")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("discopop", knobs={"beta": 0.3, "discopop_tau": 0.2})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize(("margin", "way"), [(0.0, 1), (-20.0, -1), (20.0, -1)])
def test_is_not_convex_at_the_start(one_pair, loss_and_gradient, margin, way):
    logprobs, batch = one_pair(margin, 0.0)
    algorithm = compose("discopop")
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert math.copysign(1, gradient[0]) == way
