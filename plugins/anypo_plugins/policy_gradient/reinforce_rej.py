"""Reinforce-Rej.

Source: Xiong et al. 2025, arXiv:2504.11343: rewards of 1 and -1, and no baseline.
"""

from typing import ClassVar

import torch
from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.grpo import GRPO


class ReinforceRej(Plugin):
    """Raises right and lowers wrong completions, of prompts that have both."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ()

    group_size: int = 4
    kl_coef: float = 0.0
    right_above: float = Field(0.5, description="The reward above which a completion is right.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """G completions of every prompt; groups that are all right or all wrong are dropped."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        right, wrong = (
            {s.group for s in samples if (s.reward > self.right_above) is so}
            for so in (True, False)
        )
        return [sample for sample in samples if sample.group in right & wrong]

    @hookimpl
    def advantage(self, batch):
        """A = 1 if r > right_above, else -1; [N]."""
        return torch.where(batch.rewards > self.right_above, 1.0, -1.0)
