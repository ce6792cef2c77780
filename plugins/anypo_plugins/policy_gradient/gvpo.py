"""Group Variance Policy Optimization.

Source: Zhang et al. 2025, arXiv:2504.19599, its squared loss over 2 tau, with G - 1 for G, by which
it is unbiased. The policy that it is held to is the one that sampled.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.kimi import Kimi


class GVPO(Plugin):
    """Kimi's regression of what sets completions to one prompt apart, and not of their mean."""

    extends: ClassVar = (Kimi,)
    claims: ClassVar = ("reward_shift",)
    couples: ClassVar = "group"

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """A log r - tau / 2 (log r - mean(log r))^2, the mean being that of the group; [N, 1]."""
        apart = log_ratio - F.group_mean(log_ratio.squeeze(-1), batch.group).unsqueeze(-1)
        return advantages * log_ratio - self.tau / 2 * apart.square()

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|) G / (G - 1), G being the size of the group; [N, T]."""
        size = F.group_sum(batch.mask.new_ones(len(batch), dtype=torch.double), batch.group)
        unbiased = size / (size - 1).clamp(min=1)
        return F.per_completion_mean(batch.mask) * unbiased.unsqueeze(-1)
