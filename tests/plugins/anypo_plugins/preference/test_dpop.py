import math
from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


def by_hand(pairs):
    total = []
    for chosen, rejected in pairs:
        h = drift(chosen) - drift(rejected) - 2 * max(0, -drift(chosen))
        total.append(math.log(1 + math.exp(-0.3 * h)))
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("dpop"), "dpop")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("dpop", knobs={"dpop_lambda": 2.0})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))
