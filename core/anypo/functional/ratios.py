"""Importance ratios and what is gained by them."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anypo.functional.masking import masked

LOG_RATIO_LIMIT = 20.0  # exp(20) = 4.9e8: beyond it float32 overflows and the gradient is noise


def token_log_ratio(
    logprobs: Float[Tensor, "N T"], old_logprobs: Float[Tensor, "N T"]
) -> Float[Tensor, "N T"]:
    """log r_t = log pi(y_t) - log pi_old(y_t), a ratio per token."""
    return logprobs - old_logprobs


def sequence_log_ratio(
    logprobs: Float[Tensor, "N T"],
    old_logprobs: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    *,
    reduce: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, "N 1"]:
    """log s = mean_t or sum_t of the token log-ratios, a ratio per completion.

    Source: the mean is GSPO, arXiv:2507.18071, equation 7; the sum is the exact sequence ratio.
    """
    total = masked(logprobs - old_logprobs, mask).sum(-1, keepdim=True)
    return total / mask.sum(-1, keepdim=True).clamp(min=1) if reduce == "mean" else total


def exp_ratio(log_ratio: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """r = exp(log_ratio), the logarithm clamped to ±20, where the gradient also ends."""
    return log_ratio.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()


def clipped_surrogate(
    log_ratio: Float[Tensor, "N T"],
    advantages: Float[Tensor, "N T"],
    clip_low: float,
    clip_high: float,
) -> Float[Tensor, "N T"]:
    """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), a gain to maximise.

    Source: PPO, arXiv:1707.06347, equation 7; separate bounds from DAPO, arXiv:2503.14476.
    """
    ratio = exp_ratio(log_ratio)
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    return torch.minimum(ratio * advantages, clipped * advantages)
