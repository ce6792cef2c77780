from statistics import fmean

import pytest
import torch

from anypo import compose


def drift(row):
    return sum(new - ref for new, ref in zip(row.new, row.ref, strict=True))


def by_hand_of_sums(pairs):
    return fmean((drift(chosen) - drift(rejected) - 2.5) ** 2 for chosen, rejected in pairs)


def by_hand_of_means(pairs):
    return fmean((drift(w) / len(w.new) - drift(z) / len(z.new) - 2.5) ** 2 for w, z in pairs)


@pytest.mark.parametrize("logps", ["sum", "mean"])
def test_reproduces_the_golden_numbers(reproduces_pairs, logps):
    reproduces_pairs(compose("ipo", knobs={"logps": logps}), f"ipo.loss_{logps}")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("knobs", "formula"),
    [({"logps": "sum"}, by_hand_of_sums), ({}, by_hand_of_means)],
    ids=["sum", "mean"],
)
def test_agrees_with_the_equation_worked_by_hand(
    random_pairs, agrees_pair_by_pair, seed, knobs, formula
):
    agrees_pair_by_pair(compose("ipo", knobs={"beta": 0.2, **knobs}), formula, *random_pairs(seed))


@pytest.mark.parametrize(("margin", "loss", "slope"), [(2.0, 0, 0), (1.0, 1, -2), (3.5, 2.25, 3)])
def test_a_margin_beyond_the_target_is_pulled_back(
    one_pair, loss_and_gradient, margin, loss, slope
):
    algorithm = compose("ipo", knobs={"beta": 0.25})  # the target is 1 / (2 · 0.25) = 2
    logprobs, batch = one_pair(0.5, 0.5 - margin)
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == pytest.approx([slope, -slope])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_margins_of_hundreds_of_nats_are_finite(one_pair, loss_and_gradient, dtype):
    logprobs, batch = one_pair(-400.0, 395.0, dtype)
    algorithm = compose("ipo")
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == 640_000
    assert gradient.flatten().tolist() == [-1600, 1600]
