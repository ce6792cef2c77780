"""The shared formulas of policy optimisation: pure functions of tensors.

Shapes are those of `anypo.batch`. Log-probs are in nats. Everything is vectorised, works in
float32 and float64, and never lets a masked position reach a result or a gradient.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LOG_RATIO_LIMIT = 20.0  # exp(20) = 4.9e8: beyond it float32 overflows and the gradient is noise
EQUAL_REWARDS = 1e-8  # a group whose rewards differ by less has nothing to say

Estimator = Literal["k1", "k2", "k3"]
KLGradient = Literal["naive", "ratio", "score", "k2"]


# -- masked statistics ---------------------------------------------------------------------------


def masked(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`x` with exact zeros, in value and gradient, wherever the mask is False."""
    return torch.where(mask, x, 0)


def masked_mean(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
    """Mean over the unmasked positions; 0 if there is none."""
    return masked(x, mask).sum() / mask.sum().clamp(min=1)


def whiten(
    x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], *, correction: int = 1, eps: float = 1e-8
) -> Float[Tensor, "N T"]:
    """(x - mean) / sqrt(var + eps) over the unmasked positions; with fewer than two, x itself."""
    count = mask.sum()
    if count < 2:
        return masked(x, mask)
    centred = x.double() - masked_mean(x.double(), mask)
    variance = masked(centred.square(), mask).sum() / (count - correction)
    return masked(centred * torch.rsqrt(variance + eps), mask).to(x.dtype)


# -- group statistics ----------------------------------------------------------------------------


def group_index(group: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Groups renumbered 0, 1, 2, …; they need be neither contiguous nor of equal size."""
    index: Tensor = torch.unique(group, return_inverse=True)[1]
    return index


def group_sum(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, the sum of `x` over the rows of its group."""
    index = group_index(group)
    return torch.zeros_like(x).index_add(0, index, x)[index]


def group_mean(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, the mean of `x` over the rows of its group."""
    return group_sum(x, group) / group_sum(torch.ones_like(x), group)


def group_spread(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, max - min of `x` over the rows of its group."""
    index = group_index(group)
    top = torch.zeros_like(x).scatter_reduce(0, index, x, "amax", include_self=False)
    bottom = torch.zeros_like(x).scatter_reduce(0, index, x, "amin", include_self=False)
    return (top - bottom)[index]


def group_standardize(
    rewards: Float[Tensor, " N"],
    group: Int[Tensor, " N"],
    *,
    eps: float = 1e-6,
    correction: int = 1,
    center: Literal["mean", "leave_one_out"] = "mean",
    scale: Literal["group", "batch", "none"] = "group",
    singleton: Literal["zero", "raw"] = "zero",
) -> Float[Tensor, " N"]:
    """A_i = (r_i - mean(r)) / (std(r) + eps), over the rewards of a group.

    Statistics are float64, and a group of equal rewards gives exactly 0: in float32 eight rewards
    of 0.7 have a standard deviation of 6e-8, which a small eps turns into large advantages.

    Args:
        eps: Added to the standard deviation, outside the root.
        correction: 1 divides the variance by n - 1, 0 by n.
        center: `leave_one_out` uses the mean of the other rows of the group (RLOO).
        scale: What to divide by: the standard deviation of the group, of all rows, or nothing.
        singleton: What a group of one row gets: 0, or its reward as it stands.

    Source: DeepSeekMath, arXiv:2402.03300, section 4.1.2.
    """
    values = rewards.double()
    size = group_sum(torch.ones_like(values), group)
    centred = values - group_mean(values, group)
    centred = torch.where(group_spread(values, group) <= EQUAL_REWARDS, 0, centred)
    if center == "leave_one_out":
        centred = centred * size / (size - 1).clamp(min=1)
    if scale == "group":
        freedom = (size - correction).clamp(min=1)
        centred = centred / ((group_sum(centred.square(), group) / freedom).sqrt() + eps)
    elif scale == "batch" and len(values) > correction:
        centred = centred / (values.std(correction=correction) + eps)
    if singleton == "raw":
        centred = torch.where(size == 1, values, centred)
    return centred.to(rewards.dtype)


# -- importance ratio ----------------------------------------------------------------------------


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


# -- KL divergence -------------------------------------------------------------------------------


def k1(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """d = log pi - log pi_ref. Unbiased, but its gradient is 0 on average."""
    return logprobs - ref


def k2(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """d^2 / 2. Biased, but its gradient is that of the reverse KL(pi || ref)."""
    return (logprobs - ref).square() / 2


def k3(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """exp(-d) + d - 1. Unbiased and never negative; its gradient is that of KL(ref || pi)."""
    log_ratio = (ref - logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def kl_penalty(
    logprobs: Float[Tensor, "N T"],
    ref_logprobs: Float[Tensor, "N T"],
    old_logprobs: Float[Tensor, "N T"],
    *,
    estimator: Estimator = "k3",
    gradient: KLGradient = "naive",
) -> Float[Tensor, "N T"]:
    """An estimate per token of KL(pi || pi_ref), from tokens that pi_old sampled.

    Args:
        estimator: See `k1`, `k2`, `k3`.
        gradient: `naive` differentiates the estimator as it stands. `ratio` weighs it by
            pi / pi_old and `score` by pi / stop_gradient(pi): both give the reverse KL's gradient.
            `k2` keeps the estimator's value and takes the gradient of k2.

    Source: Schulman, "Approximating KL Divergence", 2020; the `ratio` form is DeepSeek-V3.2's.
    """
    value = ESTIMATORS[estimator](logprobs, ref_logprobs)
    if gradient == "ratio":
        return exp_ratio(logprobs - old_logprobs) * value
    if gradient == "score":
        return exp_ratio(logprobs - logprobs.detach()) * value
    if gradient == "k2":
        straight_through = k2(logprobs, ref_logprobs)
        return value.detach() + straight_through - straight_through.detach()
    return value


# -- weightings: a scalar objective is sum(weights * values) --------------------------------------


def token_mean(mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """mask / number of tokens: every token of the batch counts the same."""
    return mask.double() / mask.sum().clamp(min=1)


def per_completion_mean(
    mask: Bool[Tensor, "N T"], *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / length / number of completions: every completion counts the same."""
    return per_completion_sum(mask, count_empty=count_empty) / _lengths(mask)


def per_completion_sum(
    mask: Bool[Tensor, "N T"], *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / number of completions: a completion counts by its length.

    Args:
        count_empty: Whether a row without any unmasked token counts as a completion.
    """
    rows = len(mask) if count_empty else int(mask.any(-1).sum())
    return mask.double() / max(rows, 1)


def constant_length_mean(
    mask: Bool[Tensor, "N T"], length: int, *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / length / number of completions, `length` being the generation budget.

    Source: Dr. GRPO, arXiv:2503.20783: a constant does not favour long wrong completions.
    """
    return per_completion_sum(mask, count_empty=count_empty) / length


def group_token_mean(mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]) -> Float[Tensor, "N T"]:
    """mask / tokens of the group / number of groups: every prompt counts the same."""
    tokens = group_sum(mask.sum(-1).double(), group)
    return mask / (tokens.clamp(min=1) * _groups(mask, group)).unsqueeze(-1)


def group_completion_mean(
    mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]
) -> Float[Tensor, "N T"]:
    """mask / length / completions of the group / number of groups."""
    completions = group_sum(mask.any(-1).double(), group)
    return mask / _lengths(mask) / (completions.clamp(min=1) * _groups(mask, group)).unsqueeze(-1)


def _groups(mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]) -> int:
    return max(1, len(set(group[mask.any(-1)].tolist())))


def _lengths(mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    return mask.sum(-1, keepdim=True).clamp(min=1).double()


# -- critic --------------------------------------------------------------------------------------


def gae(
    rewards: Float[Tensor, "N T"],
    values: Float[Tensor, "N T"],
    mask: Bool[Tensor, "N T"],
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"]]:
    """Generalised advantage estimates and the returns A + V that the critic learns.

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lam A_{t+1}, where t + 1 is the
    next unmasked token: text the policy did not write is passed over. After the last one, V and A
    are 0.

    Source: Schulman et al. 2015, arXiv:1506.02438, equation 16.
    """
    advantages = torch.zeros_like(values)
    next_advantage = torch.zeros_like(values[:, 0])
    next_value = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = advantage
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
    return masked(advantages, mask), masked(advantages + values, mask)


def at_last_token(rewards: Float[Tensor, " N"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """The reward of each row at its last unmasked token, 0 elsewhere."""
    tokens_left = mask.flip(-1).cumsum(-1).flip(-1)
    return torch.where(mask & (tokens_left == 1), rewards.unsqueeze(-1), 0)


def clipped_value_loss(
    values: Float[Tensor, "N T"],
    old_values: Float[Tensor, "N T"],
    returns: Float[Tensor, "N T"],
    value_clip: float,
) -> Float[Tensor, "N T"]:
    """max((V - R)^2, (clip(V, V_old - value_clip, V_old + value_clip) - R)^2) / 2.

    Args:
        value_clip: How far a value may usefully move; 0: anywhere.
    """
    loss = (values - returns).square()
    if value_clip:
        near = values.clamp(old_values - value_clip, old_values + value_clip)
        loss = torch.maximum(loss, (near - returns).square())
    return loss / 2
