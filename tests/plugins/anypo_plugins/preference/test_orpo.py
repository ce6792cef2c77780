import math
from statistics import fmean

import pytest
import torch

from anypo import AnypoError, compose

ODDS = -math.log(math.e - 1)  # log odds of a mean log-prob of -1
STEEP = math.e / (math.e - 1)  # and their slope
MOST = math.log(1e6)  # log odds of a completion that is certain


def log_odds(row):
    p = math.exp(fmean(row.new))
    return math.log(p / (1 - p))


def odds_loss(chosen, rejected):
    return math.log(1 + math.exp(log_odds(rejected) - log_odds(chosen)))


def by_hand(pairs):
    tokens = [logprob for chosen, _ in pairs for logprob in chosen.new]
    return 0.4 * fmean(odds_loss(*pair) for pair in pairs) - 1.5 * fmean(tokens)


def test_reproduces_the_golden_numbers(
    golden, golden_pairs, pair_order, loss_and_gradient, precision
):
    dtype, tolerance = precision
    close = {"rtol": tolerance, "atol": tolerance}
    expected = golden("orpo.loss")["expected"]
    logprobs, batch = golden_pairs(dtype)
    algorithm = compose("orpo")
    prepared = algorithm.prepare(batch)
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    assert loss.total.item() == pytest.approx(expected["loss"], rel=tolerance)
    assert loss.terms["sft"].item() == pytest.approx(expected["sft_loss"], rel=tolerance)
    per_token = expected["grad_chosen_tokens"] + expected["grad_rejected_tokens"]
    torch.testing.assert_close(gradient, torch.tensor(per_token, dtype=dtype)[pair_order], **close)
    for pair in range(3):
        rows = torch.tensor([pair_order.index(pair), pair_order.index(pair + 3)])
        part = prepared.rows(rows)
        chosen, rejected = algorithm.log_ratio(logprobs[rows], part).flatten().tolist()
        wanted = expected["log_odds_ratio"][pair]
        assert chosen - rejected == pytest.approx(wanted, rel=tolerance, abs=tolerance)
        policy = algorithm.loss(logprobs[rows], part).terms["policy"].item()
        assert 3 * policy == pytest.approx(0.1 * expected["or_per_pair"][pair], rel=tolerance)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    logprobs, batch = random_pairs(seed)
    algorithm = compose("orpo", knobs={"beta": 0.4, "sft_coef": 1.5})
    agrees_pair_by_pair(algorithm, by_hand, logprobs.clamp(max=-0.05), batch)


@pytest.mark.parametrize(
    ("chosen", "rejected", "loss", "slopes"),
    [
        (-500.0, -1.0, 500 + ODDS, (-1.0, STEEP)),
        (-1.0, -500.0, 0.0, (0.0, 0.0)),
        (-500.0, -500.0, math.log(2), (-0.5, 0.5)),
        (-1.0, -1e-9, MOST - ODDS, (-STEEP, 0.0)),
        (-1e-9, -1.0, 0.0, (0.0, 0.0)),
        (0.0, -0.0, math.log(2), (0.0, 0.0)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_certain_and_impossible_completions_stay_finite(
    one_pair, loss_and_gradient, dtype, chosen, rejected, loss, slopes
):
    logprobs, batch = one_pair(chosen, rejected, dtype)
    algorithm = compose("orpo", knobs={"beta": 1.0, "sft_coef": 0.0})
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss, rel=1e-5, abs=2e-6)
    assert gradient.flatten().tolist() == pytest.approx(slopes, rel=1e-5, abs=4e-6)


def test_the_gradient_of_an_almost_certain_completion_is_steep(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(-1e-4, -1e-4, torch.float32)
    algorithm = compose("orpo", knobs={"beta": 1.0, "sft_coef": 0.0})
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert gradient.flatten().tolist() == pytest.approx([-5000.25, 5000.25], rel=1e-5)


def test_needs_no_reference():
    assert compose("orpo").requires == set()


def test_odds_are_of_means_so_there_is_no_choice_of_sums():
    with pytest.raises(AnypoError, match="'ratio' is answered by 'orpo'"):
        compose("orpo", knobs={"logps": "sum"})


def test_sft_touches_the_chosen_rows_only(random_pairs, loss_and_gradient):
    logprobs, batch = random_pairs()
    one, other = (
        loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))[1]
        for algorithm in (compose("orpo", knobs={"sft_coef": c}) for c in (1.0, 0.0))
    )
    chosen = batch.mask & (batch["preference"] == 1).unsqueeze(-1)
    expected = torch.where(chosen, -1 / chosen.sum(), 0.0).double()
    torch.testing.assert_close(one - other, expected)
