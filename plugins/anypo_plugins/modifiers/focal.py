"""Focal weights of prompts, a modifier.

Source: F-GRPO, Plyusov et al. 2026, arXiv:2602.06717, where rewards are 0 or 1.
"""

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class Focal(Plugin):
    """Learns less from prompts that are mostly solved, so that rare solutions are not forgotten."""

    focal_gamma: float = Field(0.5, ge=0, description="How fast weights fall with the success.")
    focal_right: float = Field(1.0, description="The reward from which a completion is right.")

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        """(1 - p)^focal_gamma A, p = the share of right completions of the group; [N, T]."""
        advantages, others = F.split_advantages((yield), batch.mask)
        right = (batch.rewards >= self.focal_right).to(batch.rewards.dtype)
        weight = (1 - F.group_mean(right, batch.group)) ** self.focal_gamma
        return {**others, "advantages": weight.unsqueeze(-1) * advantages}
