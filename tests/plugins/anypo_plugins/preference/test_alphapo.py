import math
from functools import partial
from statistics import fmean

import pytest

from anypo import compose


def reward(row, alpha):
    p = math.exp(fmean(row.new))
    return (1 - p**-alpha) / alpha if alpha else math.log(p)


def by_hand(alpha, pairs):
    margins = [reward(w, alpha) - reward(z, alpha) for w, z in pairs]
    return fmean(math.log(1 + math.exp(0.4 - 1.5 * h)) for h in margins)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("alphapo"), "alphapo")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("alpha", [0.3, -0.2, 0.0])
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, alpha, seed):
    knobs = {"beta": 1.5, "simpo_gamma": 0.4, "alpha": alpha}
    agrees_pair_by_pair(
        compose("alphapo", knobs=knobs), partial(by_hand, alpha), *random_pairs(seed)
    )
