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
        q = sigmoid(0.3 * (drift(chosen) - drift(rejected)))
        total.append(q * math.log(q / 0.9) + (1 - q) * math.log((1 - q) / 0.1))
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("exo"), "exo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("exo", knobs={"beta": 0.3, "label_smoothing": 0.1})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


def test_nothing_is_left_to_learn_where_the_labels_are_met(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(math.log(9) / 0.1, 0.0)  # where sigmoid(beta h) = 0.9
    algorithm = compose("exo", knobs={"label_smoothing": 0.1})
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(0, abs=1e-12)
    assert gradient.flatten().tolist() == pytest.approx([0, 0], abs=1e-12)
