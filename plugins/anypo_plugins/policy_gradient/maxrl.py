"""Maximum Likelihood Reinforcement Learning.

Source: Tajwar et al. 2026, arXiv:2602.02710.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class MaxRL(Plugin):
    """GRPO divided by the mean of a group's rewards: rare right answers count for more."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_scale",)

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch, state):
        """A_i = (r_i - mean(r)) / mean(r), over the rewards of a group; 0 if mean(r) <= 0; [N]."""
        if (batch.rewards < 0).any():
            state.setdefault("notes", []).append(
                "maxrl takes rewards for chances of being right: of groups whose mean reward is "
                "negative it learns nothing, so give rewards from 0 to 1"
            )
        centred = F.group_standardize(batch.rewards, batch.group, scale="none")
        mean = F.group_mean(batch.rewards, batch.group)
        return torch.where(mean > 0, centred / mean, 0)
