import math
from statistics import fmean

import pytest

from anypo import compose


def counted(row, shared):
    each = [new - ref for new, ref in zip(row.new, row.ref, strict=True)]
    return sum(each[:shared]) + 0.4 * sum(each[shared:])


def by_hand(pairs):
    total = []
    for chosen, rejected in pairs:
        shared = min(len(chosen.new), len(rejected.new))
        h = counted(chosen, shared) - counted(rejected, shared)
        total.append(math.log(1 + math.exp(-0.3 * h)))
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("ld_dpo"), "ld_dpo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("ld_dpo", knobs={"beta": 0.3, "ld_alpha": 0.4})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


def test_with_all_tokens_alike_it_is_dpo(random_pairs):
    logprobs, batch = random_pairs()
    algorithms = compose("ld_dpo", knobs={"ld_alpha": 1.0}), compose("dpo")
    one, other = (a.loss(logprobs, a.prepare(batch)).total.item() for a in algorithms)
    assert one == pytest.approx(other)
