import math

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    counted, total = [row for row in rows if row.tokens], 0.0
    for row in counted:
        for t in row.tokens:
            now, before, a = math.exp(new[row.index][t]), math.exp(row.old[t]), row.advantage
            too_far = abs(now - before) > 0.05 and (now - before) * a > 0
            total += 0.0 if too_far else now / before * a / len(row.tokens)
    return -total / len(counted)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("dppo", knobs={"tv_limit": 0.02}), "dppo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("dppo", knobs={"tv_limit": 0.05})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_a_rare_token_may_become_many_times_likelier(loss_and_gradient, random_batch):
    _, batch = random_batch()
    rare = batch.replace(old_logprobs=batch.old_logprobs - 8)
    algorithm = compose("dppo")
    prepared = algorithm.prepare(rare)
    _, gradient = loss_and_gradient(algorithm, rare.old_logprobs + 3, prepared)
    assert ((gradient != 0) == (prepared.advantages != 0)).all()


@pytest.mark.parametrize("knob", ["clip_low", "clip_high"])
def test_a_clip_range_of_the_ratio_is_refused(knob):
    with pytest.raises(AnypoError, match=knob):
        compose("dppo", knobs={knob: 0.1})
