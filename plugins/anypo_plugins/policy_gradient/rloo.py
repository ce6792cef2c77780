"""REINFORCE Leave-One-Out.

Source: Ahmadian et al. 2024, arXiv:2402.14740.
"""

from typing import ClassVar, Literal

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class RLOO(Plugin):
    """A completion is one action; the other completions to its prompt are its baseline."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)

    group_size: int = 4
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl_coef: float = Field(
        0.05, description="Weight of the KL in the reward (beta); 0 needs no reference model."
    )
    kl_estimator: F.Estimator = "k1"
    loss: Literal["clipped", "reinforce"] = Field(
        "clipped", description="reinforce is the paper's, for one update per rollout."
    )

    @hookimpl
    def advantage(self, batch):
        """A_i = R_i - mean of the group's other R_j, R_i = r_i - kl_coef KL_i; [N]."""
        rewards = batch.rewards
        if self.kl_coef:
            kl = F.ESTIMATORS[self.kl_estimator](batch.old_logprobs, batch.ref_logprobs)
            rewards = rewards - self.kl_coef * F.masked(kl, batch.mask).sum(-1)
        return F.group_standardize(rewards, batch.group, center="leave_one_out", scale="none")

    @hookimpl
    def ratio(self, logprobs, batch):
        """log r_i = sum over t of log pi(y_t) - log pi_old(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs, batch):
        """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); reinforce: A log pi(y); [N, 1]."""
        if self.loss == "reinforce":
            return advantages * F.masked(logprobs, batch.mask).sum(-1, keepdim=True)
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)

    @hookimpl
    def regularizer(self):
        """No KL penalty: the KL is in the reward."""
        return {"kl": None}

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): a completion's one gain counts once, whatever its length; [N, T]."""
        return F.per_completion_mean(batch.mask)
