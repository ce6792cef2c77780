import math
from statistics import fmean

import pytest
import torch

from anypo import AnypoError, compose


def by_hand(pairs):
    total = []
    for chosen, rejected in pairs:
        h = sum(chosen.new) - sum(chosen.ref) - sum(rejected.new) + sum(rejected.ref)
        right = 1 / (1 + math.exp(-0.3 * h))
        total.append(-0.8 * math.log(right) - 0.2 * math.log(1 - right))
    return fmean(total)


def test_reproduces_the_golden_numbers(reproduces_pairs):
    reproduces_pairs(compose("cdpo"), "cdpo.loss")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("cdpo", knobs={"beta": 0.3, "label_smoothing": 0.2})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.mark.parametrize("name", ["cdpo", "robust_dpo"])
def test_without_flipped_labels_it_is_dpo(random_pairs, loss_and_gradient, name):
    logprobs, batch = random_pairs()
    smoothed = compose(name, knobs={"label_smoothing": 0.0})
    loss, gradient = loss_and_gradient(smoothed, logprobs, smoothed.prepare(batch))
    dpo = compose("dpo")
    expected, slope = loss_and_gradient(dpo, logprobs, dpo.prepare(batch))
    assert loss.total.item() == pytest.approx(expected.total.item(), rel=1e-12)
    torch.testing.assert_close(gradient, slope)


def test_pushes_a_margin_no_further_than_the_labels_can_be_trusted(one_pair, loss_and_gradient):
    algorithm = compose("cdpo", knobs={"beta": 0.5})
    best = math.log(9) / 0.5  # where sigmoid(beta h) = 0.9
    slopes = []
    for h in (best - 0.1, best, best + 0.1):
        logprobs, batch = one_pair(h, 0.0)
        _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
        slopes.append(gradient[0].item())
    assert slopes[0] < 0 < slopes[2]
    assert slopes[1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("margin", "loss", "slope"), [(-800.0, 720.0, -0.9), (800.0, 80.0, 0.1)], ids=["wrong", "right"]
)
def test_margins_of_hundreds_of_nats_saturate(
    one_pair, loss_and_gradient, dtype, margin, loss, slope
):
    logprobs, batch = one_pair(margin / 2, -margin / 2, dtype)
    algorithm = compose("cdpo", knobs={"beta": 1.0})
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize("name", ["cdpo", "robust_dpo"])
@pytest.mark.parametrize("share", [0.5, -0.1])
def test_more_labels_are_right_than_wrong(name, share):
    with pytest.raises(AnypoError, match="label_smoothing"):
        compose(name, knobs={"label_smoothing": share})
