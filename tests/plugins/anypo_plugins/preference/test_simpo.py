import math
from statistics import fmean

import pytest

from anypo import compose


def by_hand(pairs):
    margins = [fmean(w.new) - fmean(z.new) for w, z in pairs]
    return fmean(math.log(1 + math.exp(0.4 - 1.5 * h)) for h in margins)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("simpo"), "simpo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("simpo", knobs={"beta": 1.5, "simpo_gamma": 0.4})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


def test_needs_no_reference():
    assert compose("simpo").requires == set()
