"""Group reward-Decoupled Normalization Policy Optimization.

Source: Liu et al. 2026, arXiv:2601.05242.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO

ROUNDING = 1e-6  # share of its scores' sizes by which a reward may differ from their sum unshaped


class GDPO(Plugin):
    """GRPO for several rewards: none drowns the others, for each has a standard deviation of 1."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")

    batch_normalize: bool = Field(
        True, description="Standardise the sum over the batch, however many rewards there are."
    )

    @hookimpl
    def advantage(self, batch):
        """A_i = sum over k of w_k (r_ik - mean(r_k)) / std(r_k), by group; standardised; [N].

        A reward that does not apply to a row is 0 there and absent from its statistics. What
        shaping added to the sum of the scores counts as one more reward.
        """
        advantages, shaping = torch.zeros_like(batch.rewards), batch.rewards.double()
        size = torch.zeros_like(shaping)
        for name, scores in batch.scores.items():
            weight, applies = batch.score_weights[name], ~scores.isnan()
            part = weight * scores.double().nan_to_num()
            shaping, size = shaping - part, size + part.abs()
            advantages[applies] += weight * F.group_standardize(
                scores[applies], batch.group[applies]
            )
        shaping = torch.where(shaping.abs() > ROUNDING * size, shaping, 0).to(advantages.dtype)
        advantages = advantages + F.group_standardize(shaping, batch.group)
        if self.batch_normalize:
            return F.group_standardize(advantages, torch.zeros_like(batch.group))
        return advantages
