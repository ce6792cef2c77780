import math

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        ratio = math.exp(sum(sg[row.index][t] - row.old[t] for t in row.tokens))
        k, fade = (2, 3) if row.advantage > 0 else (3, 2)
        size = ratio**k * math.exp(fade * (1 - ratio)) * row.advantage
        gains += [size * new[row.index][t] for t in row.tokens]
    return -sum(gains) / len(gains)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("vespo"), "vespo")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("vespo"), by_hand, *random_batch(seed))


@pytest.mark.parametrize("far", [-300.0, 300.0])
def test_a_completion_that_is_far_off_teaches_nothing_and_overflows_nothing(
    random_batch, loss_and_gradient, far
):
    logprobs, batch = random_batch()
    algorithm = compose("vespo")
    _, gradient = loss_and_gradient(algorithm, logprobs + far, algorithm.prepare(batch))
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("knob", ["clip_low", "clip_high"])
def test_a_clip_range_is_refused(knob):
    with pytest.raises(AnypoError, match=knob):
        compose("vespo", knobs={knob: 0.1})
