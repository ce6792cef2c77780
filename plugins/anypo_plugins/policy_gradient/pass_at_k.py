"""Policy optimization of pass@k.

Source: Tang et al. 2025, arXiv:2503.19595, as verl's `grpo_passk` has it: the leave-one-out gain of
the best of a group, divided by the deviation.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class PassAtK(Plugin):
    """Only the best completion of a group learns, by how far the second best is behind."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        """A_i = (r_i - max of the other r_j) / std(r) for the one best of a group, else 0; [N]."""
        standard, group = F.group_standardize(batch.rewards, batch.group), batch.group
        best = F.group_top_k(standard, group, 1)
        second = F.group_max(torch.where(best, -torch.inf, standard), group)
        alone = F.group_sum(best.to(standard.dtype), group) == 1
        return torch.where(best & alone & second.isfinite(), standard - second, 0)
