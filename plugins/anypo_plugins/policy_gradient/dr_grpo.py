"""GRPO Done Right.

Source: Liu et al. 2025, arXiv:2503.20783, section 3.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class DrGRPO(Plugin):
    """GRPO without its two biases: neither spread nor length divides what a completion counts."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        """A_i = r_i - mean(r), over the rewards of a group; [N]."""
        return F.group_standardize(batch.rewards, batch.group, scale="none")

    @hookimpl
    def weight(self, batch):
        """1 / (N L), L being the generation budget, whatever the completion's length; [N, T]."""
        return F.constant_length_mean(batch.mask, batch.max_completion_length)
