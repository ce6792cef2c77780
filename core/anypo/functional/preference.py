"""Comparisons of the completions to one prompt."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anypo.functional.groups import group_sum
from anypo.functional.masking import row_mean

CERTAIN = -1e-6  # a mean log-prob nearer to 0 than this has no finite log-odds in float32


def margin(
    x: Float[Tensor, "N 1"], preference: Float[Tensor, "N 1"], group: Int[Tensor, " N"]
) -> Float[Tensor, "N 1"]:
    """h = x(chosen) - x(rejected), for both rows of a pair.

    Args:
        x: What the rows are compared by.
        preference: 1 for chosen, -1 for rejected rows.
        group: The two rows of a pair share a number.
    """
    return pair_sum(preference.to(x.dtype) * x, group)


def pair_sum(x: Float[Tensor, "N 1"], group: Int[Tensor, " N"]) -> Float[Tensor, "N 1"]:
    """x(chosen) + x(rejected), for both rows of a pair.

    A row counts as half a pair. So a loss with a term for each row returns this from `clip`.
    """
    return group_sum(x.squeeze(-1), group).unsqueeze(-1)


def mean_logprob(logprobs: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    """The mean log-prob of the tokens of a row; 0 for a row without any."""
    return row_mean(logprobs, mask)


def log_odds(logprob: Float[Tensor, "N 1"]) -> Float[Tensor, "N 1"]:
    """log(p / (1 - p)) of p = exp(logprob), at most that of exp(-1e-6).

    Source: ORPO, arXiv:2403.07691, equation 4.
    """
    logprob = logprob.clamp(max=CERTAIN)
    return logprob - (-torch.expm1(logprob)).log()
