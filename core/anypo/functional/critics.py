"""Advantages and losses that need a critic."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anypo.functional.masking import masked


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
    are 0. `lam` may be one for each row, [N].

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
