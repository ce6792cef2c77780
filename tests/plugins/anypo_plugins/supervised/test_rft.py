from statistics import fmean

import pytest

from anypo import compose


def learnt_by_hand_from(threshold):
    def by_hand(draw):
        rows, learnt = draw(6), []
        for row in rows:
            if row.reward < threshold or (row.group, row.said) in learnt:
                row.learnt = 0
            else:
                learnt.append((row.group, row.said))
        return rows

    return by_hand


def loss_by_hand(rows, new, sg):
    return -fmean(new[row.index][t] for row in rows for t in row.tokens)


@pytest.mark.parametrize("threshold", [1.0, 0.5, 2.0])
def test_the_right_ones_are_learnt_once_and_no_other_prompts_drawn(rolls_out_by_hand, threshold):
    algorithm = compose("rft", knobs={"threshold": threshold, "group_size": 6})
    rolls_out_by_hand(algorithm, learnt_by_hand_from(threshold), steps=3)


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("rft"), loss_by_hand, *random_batch(seed))


def test_needs_the_policy_alone():
    assert compose("rft").requires == set()
    assert not compose("rft").inputs.wanted
