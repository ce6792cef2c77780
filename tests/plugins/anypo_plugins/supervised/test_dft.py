import math
from statistics import fmean

import pytest

from anypo import compose


def by_hand(rows, new, sg):
    return -fmean(
        math.exp(sg[row.index][t]) * new[row.index][t] for row in rows for t in row.tokens
    )


def test_reproduces_the_golden_loss(reproduces_paper):
    reproduces_paper(compose("dft"), "dft")


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("dft"), by_hand, *random_batch(seed))


def test_needs_the_policy_alone():
    assert compose("dft").requires == set()
    assert compose("dft").inputs.completions == {"completion"}
