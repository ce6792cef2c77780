import math
from statistics import fmean

import pytest

from anypo import compose


def logprob(row):
    return sum(row.new)


def by_hand(pairs):
    likely = fmean(new for chosen, _ in pairs for new in chosen.new)
    margins = [logprob(w) - logprob(z) for w, z in pairs]
    return fmean(math.log(1 + math.exp(-0.3 * h)) for h in margins) - 0.5 * likely


def by_hand_of_means(pairs):
    margins = [fmean(w.new) - fmean(z.new) for w, z in pairs]
    return fmean(math.log(1 + math.exp(-0.3 * h)) for h in margins)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("cpo"), "cpo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("cpo", knobs={"beta": 0.3, "sft_coef": 0.5})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize("seed", range(3))
def test_means_agree_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("cpo", knobs={"beta": 0.3, "sft_coef": 0.0, "logps": "mean"})
    agrees_pair_by_pair(algorithm, by_hand_of_means, *random_pairs(seed))


def test_needs_no_reference():
    assert compose("cpo").requires == set()
