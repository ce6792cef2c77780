"""Reinforce-Rej.

Source: Xiong et al. 2025, arXiv:2504.11343: rewards of 1 and -1, and no baseline. Here they are the
two halves of what a group was rewarded with, which for rewards of right and wrong is the same.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.dynamic_sampling import unequal_groups
from anypo_plugins.policy_gradient.grpo import GRPO


class ReinforceRej(Plugin):
    """Raises right and lowers wrong completions alike, of prompts that have both."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")

    group_size: int = 4
    kl_coef: float = 0.0

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """G completions of every prompt; groups that are all right or all wrong are dropped."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        return unequal_groups(samples, None, state.setdefault("notes", []))

    @hookimpl
    def advantage(self, batch):
        """A_i = sign(r_i - (max(r) + min(r)) / 2), over the rewards of a group; [N]."""
        best, worst = (sign * F.group_max(sign * batch.rewards, batch.group) for sign in (1, -1))
        return (batch.rewards - (best + worst) / 2).sign()
