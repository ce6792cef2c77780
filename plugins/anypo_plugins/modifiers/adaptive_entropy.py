"""Adaptive entropy control, a modifier.

Source: Skywork-OR1, He et al. 2025, arXiv:2505.22312, section 3.2.5. The coefficient moves once per
rollout, and never below 0, as in the authors' script; there it is 0.5 at most, and moves by 0.001.
"""

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class AdaptiveEntropy(Plugin):
    """An entropy bonus whose weight rises while the policy is too certain, and then falls."""

    entropy_target: float = Field(0.2, gt=0, description="No bonus where the entropy is above.")
    entropy_delta: float = Field(0.005, gt=0, description="How far the weight moves in a rollout.")
    entropy_start: float = Field(0.0, ge=0, description="The weight in the first rollout.")

    @hookimpl(wrapper=True)
    def advantage(self, batch, state):
        """What it is; and alpha_k = c_k where e_k <= entropy_target, else 0; [N].

        e_k is the mean entropy of the rollout's tokens, c_k+1 = max(0, c_k ± entropy_delta).
        """
        advantages, others = F.split_advantages((yield), batch.mask)
        low = bool(F.masked_mean(batch.old_entropy, batch.mask) <= self.entropy_target)
        now = state.get("adaptive_entropy", self.entropy_start)
        state["adaptive_entropy"] = max(0.0, now + (1 if low else -1) * self.entropy_delta)
        alpha = advantages.new_full((len(batch),), now if low else 0.0)
        return {**others, "advantages": advantages, "entropy_coef": alpha}

    @hookimpl
    def regularizer(self, entropy, batch):
        """-alpha_k H(pi(. | y_<t)); [N, T]."""
        return {"adaptive_entropy": -batch["entropy_coef"].unsqueeze(-1) * entropy}

    @hookimpl
    def metrics(self, batch):
        """The weight of the bonus."""
        return {"entropy/coef": batch["entropy_coef"]}
