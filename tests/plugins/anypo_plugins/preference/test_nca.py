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
        noise = math.log(sigmoid(-w)) + math.log(sigmoid(-z))
        total.append(-math.log(sigmoid(w)) - noise / 2)
    return fmean(total)


def by_hand_of_groups(rows, new, sg):
    """Cross-entropies of softmaxes; an empty completion has a share but is not learnt."""
    total = []
    for group in {row.group for row in rows}:
        mates = [row for row in rows if row.group == group]
        target = [math.exp(row.reward / 0.7) for row in mates]
        implicit = [
            math.exp(0.3 * sum(new[row.index][t] - row.ref[t] for t in row.tokens)) for row in mates
        ]
        total.append(
            -sum(
                t / sum(target) * math.log(i / sum(implicit))
                for t, i, row in zip(target, implicit, mates, strict=True)
                if row.tokens
            )
        )
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("nca"), "nca")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("nca", knobs={"beta": 0.3})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize("seed", range(2))
def test_info_nca_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("info_nca", knobs={"beta": 0.3, "nca_alpha": 0.7})
    agrees_by_hand(algorithm, by_hand_of_groups, *random_batch(seed))


def test_info_nca_needs_the_reference_and_no_policy_before_the_update():
    assert compose("info_nca").requires == {"reference"}
    assert compose("info_nca").couples_groups
