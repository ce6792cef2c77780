from decimal import Decimal, localcontext

import pytest
import torch

from anypo import functional as F

GRID = [-1e-6, -3e-5, -0.001, -0.02, -0.3, -0.69, -0.6931471805599453, -0.6932, -0.8, -2.0, -9.0]
GRID += [-40.0, -90.0, -300.0, -745.0, -2000.0]
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["f64", "f32"]
)


def exactly(logprob):
    """log(p / (1 - p)) and its slope 1 / (1 - p), to 60 digits."""
    with localcontext() as context:
        context.prec = 60 + int(-logprob)  # 1 - exp(-2000) needs its digits
        p = Decimal(logprob).exp()
        return float((p / (1 - p)).ln()), float(1 / (1 - p))


@PRECISIONS
@pytest.mark.parametrize("logprob", GRID)
def test_log_odds_and_their_slope_are_accurate_everywhere(logprob, dtype, tolerance):
    x = torch.tensor([[logprob]], dtype=dtype, requires_grad=True)
    actual = F.log_odds(x)
    actual.sum().backward()
    odds, slope = exactly(x.item())
    assert actual.item() == pytest.approx(odds, rel=tolerance, abs=tolerance)
    if logprob != GRID[0]:  # where they are cut off, either slope will do
        assert x.grad.item() == pytest.approx(slope, rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_certain_completion_has_the_log_odds_of_one_in_a_million_against_it(dtype):
    x = torch.tensor([[0.0], [-1e-9]], dtype=dtype, requires_grad=True)
    actual = F.log_odds(x)
    actual.sum().backward()
    assert actual.flatten().tolist() == pytest.approx([exactly(-1e-6)[0]] * 2, rel=1e-5)
    assert x.grad.tolist() == [[0.0], [0.0]]


def test_an_even_chance_has_no_odds():
    half = torch.tensor([[0.5]], dtype=torch.float64).log()
    assert F.log_odds(half).item() == pytest.approx(0, abs=1e-15)


def test_both_rows_of_a_pair_get_its_margin_wherever_they_stand():
    x = torch.tensor([[1.0], [10.0], [4.0], [30.0]])
    preference = torch.tensor([[-1.0], [1.0], [1.0], [-1.0]])
    margin = F.margin(x, preference, torch.tensor([6, 2, 6, 2]))
    assert margin.tolist() == [[3.0], [-20.0], [3.0], [-20.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_margin_has_the_precision_of_what_is_compared(dtype):
    x = torch.tensor([[1.0], [2.0]], dtype=dtype)
    preference = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    assert F.margin(x, preference, torch.tensor([0, 0])).dtype == dtype


def test_a_mean_logprob_is_of_unmasked_tokens_only():
    logprobs = torch.tensor([[-1.0, torch.nan, -4.0], [5.0, 6.0, 7.0]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert F.mean_logprob(logprobs, mask).tolist() == [[-2.5], [0.0]]


def test_both_rows_of_a_pair_get_the_sum_of_their_terms():
    x = torch.tensor([[1.0], [10.0], [4.0], [30.0]])
    assert F.pair_sum(x, torch.tensor([6, 2, 6, 2])).tolist() == [[5.0], [40.0], [5.0], [40.0]]
