"""On-Policy RL with Optimal Reward Baseline.

Source: Hao et al. 2025, arXiv:2505.23585. The paper makes one update per rollout, and then the clip
of GRPO does nothing.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class OPO(Plugin):
    """GRPO whose baseline is the mean reward per token of a group: gradients vary the least."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        """A_i = r_i - sum_j |y_j| r_j / sum_j |y_j|, over the completions of a group; [N]."""
        rewards, group = batch.rewards, batch.group
        lengths = batch.lengths.to(rewards.dtype)
        baseline = F.group_sum(lengths * rewards, group) / F.group_sum(lengths, group).clamp(min=1)
        equal = F.group_spread(rewards, group) <= F.EQUAL_REWARDS
        return torch.where(equal, 0, rewards - baseline)
