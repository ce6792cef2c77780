import math
from statistics import fmean

import pytest
import torch

from anypo import compose


def nll(h):
    return math.log(1 + math.exp(-0.3 * h))


def margin(chosen, rejected):
    return sum(chosen.new) - sum(chosen.ref) - sum(rejected.new) + sum(rejected.ref)


def by_hand(pairs):
    margins = [margin(*pair) for pair in pairs]
    return fmean((0.8 * nll(h) - 0.2 * nll(-h)) / 0.6 for h in margins)


def test_reproduces_the_golden_numbers(reproduces_pairs):
    reproduces_pairs(compose("robust_dpo"), "robust_dpo.loss")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("robust_dpo", knobs={"beta": 0.3, "label_smoothing": 0.2})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


def test_flipped_labels_leave_the_expected_loss_that_of_dpo(one_pair):
    robust = compose("robust_dpo", knobs={"label_smoothing": 0.2})
    dpo = compose("dpo")
    logprobs, batch = one_pair(1.7, -0.4)
    flipped = batch.replace(preference=-batch["preference"])
    right, wrong = (robust.loss(logprobs, robust.prepare(x)).total.item() for x in (batch, flipped))
    clean = dpo.loss(logprobs, dpo.prepare(batch)).total.item()
    assert 0.8 * right + 0.2 * wrong == pytest.approx(clean, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("margin", "loss", "slope"),
    [(-800.0, 900.0, -1.125), (800.0, -100.0, -0.125)],
    ids=["wrong", "right"],
)
def test_margins_of_hundreds_of_nats_saturate(
    one_pair, loss_and_gradient, dtype, margin, loss, slope
):
    logprobs, batch = one_pair(margin / 2, -margin / 2, dtype)
    algorithm = compose("robust_dpo", knobs={"beta": 1.0})
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == pytest.approx([slope, -slope])
