"""Entropy-shaped advantages, a modifier.

Source: "Reasoning with Exploration: An Entropy Perspective", Cheng et al. 2025, arXiv:2506.14758,
equations 4 to 6. The entropy is that before the update; in the first optimizer step that is the
current.
"""

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class EntropyShaped(Plugin):
    """Tokens at which the policy was undecided count for more."""

    shape_alpha: float = Field(0.4, gt=0, description="What a nat of entropy is worth; PPO: 0.1.")
    shape_kappa: float = Field(2.0, gt=1, description="At most |A| / shape_kappa is added.")

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        """A + min(shape_alpha H, |A| / shape_kappa), H the entropy of the token; [N, T]."""
        advantages, others = F.split_advantages((yield), batch.mask)
        more = torch.minimum(
            self.shape_alpha * batch.old_entropy, advantages.abs() / self.shape_kappa
        )
        return {**others, "advantages": advantages + more}
