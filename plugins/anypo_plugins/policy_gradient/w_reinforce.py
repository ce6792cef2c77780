"""Weighted REINFORCE, and negative sample reinforcement (NSR) as its end.

Source: Zhu et al. 2025, arXiv:2506.01347, section 5.
"""

from typing import ClassVar

import torch
from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class WREINFORCE(Plugin):
    """Wrong answers are unlearnt in full, right ones learnt a little; there is no baseline."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    positive: float = Field(
        0.1, ge=0, description="How much a right answer counts (lambda); 0: not at all (NSR)."
    )

    @hookimpl
    def advantage(self, batch):
        """A_i = positive where r_i > 0, else -1; [N]."""
        return torch.where(batch.rewards > 0, self.positive, -torch.ones_like(batch.rewards))
