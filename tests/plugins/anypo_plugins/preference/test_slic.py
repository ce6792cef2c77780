from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


def by_hand(pairs):
    return fmean(max(0, 1 - 0.3 * (drift(w) - drift(z))) for w, z in pairs)


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("slic"), "hinge")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("slic", knobs={"beta": 0.3})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize(("margin", "loss", "slope"), [(3.0, 0.25, -0.25), (4.5, 0.0, 0.0)])
def test_pairs_far_enough_apart_teach_nothing(one_pair, loss_and_gradient, margin, loss, slope):
    logprobs, batch = one_pair(-1.0, -1.0 - margin)
    algorithm = compose("slic", knobs={"beta": 0.25})
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == pytest.approx([slope, -slope])
