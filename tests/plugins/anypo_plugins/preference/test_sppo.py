from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


def by_hand(pairs):
    return fmean((drift(w) - 2.5) ** 2 + (drift(z) + 2.5) ** 2 for w, z in pairs)


def by_hand_of_groups(rows, new, sg):
    losses = []
    for row in rows:
        wins = [(row.reward > mate) + 0.5 * (row.reward == mate) for mate in row.mates]
        ratio = sum(new[row.index][t] - row.old[t] for t in row.tokens)
        if row.tokens:
            losses.append((ratio - 3 * (fmean(wins) - 0.5)) ** 2)
    return fmean(losses)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("sppo_hard"), "sppo_hard")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("sppo_hard", knobs={"beta": 0.2})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize("seed", range(2))
def test_own_completions_agree_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("sppo", knobs={"eta": 3.0}), by_hand_of_groups, *random_batch(seed))


def test_own_completions_need_no_reference():
    assert compose("sppo").requires == {"old_logprobs"}
