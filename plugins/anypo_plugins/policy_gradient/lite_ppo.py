"""Lite PPO.

Source: Liu et al. 2025, arXiv:2508.08221, section 5.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class LitePPO(Plugin):
    """GRPO scaled by the deviation of the whole batch's rewards, every token counting the same."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        """A_i = (r_i - mean(r)) / std(r), the mean of the group, the std of the batch; [N]."""
        return F.group_standardize(batch.rewards, batch.group, scale="batch")

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
