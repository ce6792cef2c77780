import math
from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand_zero(pairs):
    return fmean(sigmoid(0.3 * drift(z)) - sigmoid(0.3 * drift(w)) for w, z in pairs)


def by_hand_down(pairs):
    return fmean(sigmoid(0.3 * drift(w)) - sigmoid(0.3 * (drift(w) - drift(z))) for w, z in pairs)


@pytest.mark.parametrize("name", ["apo_zero", "apo_down"])
def test_reproduces_the_golden_numbers(reproduces_paper, name):
    reproduces_paper(compose(name), name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "formula"), [("apo_zero", by_hand_zero), ("apo_down", by_hand_down)]
)
def test_agrees_with_the_equation_worked_by_hand(
    random_pairs, agrees_pair_by_pair, name, formula, seed
):
    agrees_pair_by_pair(compose(name, knobs={"beta": 0.3}), formula, *random_pairs(seed))


@pytest.mark.parametrize(("name", "rises"), [("apo_zero", True), ("apo_down", False)])
def test_what_becomes_of_a_chosen_one_far_ahead(one_pair, loss_and_gradient, name, rises):
    logprobs, batch = one_pair(3.0, -40.0)
    algorithm = compose(name)
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert (gradient[0] < 0) == rises
