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
        w, z = 0.3 * drift(chosen), 0.3 * drift(rejected)
        quality = math.log(sigmoid(w)) + math.log(sigmoid(-z))
        total.append(-0.6 * math.log(sigmoid(w - z)) - 0.7 * quality)
    tokens = [logprob for chosen, _ in pairs for logprob in chosen.new]
    return fmean(total) - 0.5 * fmean(tokens)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("mpo"), "mpo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose(
        "mpo", knobs={"beta": 0.3, "preference_coef": 0.6, "quality_coef": 0.7, "sft_coef": 0.5}
    )
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))
