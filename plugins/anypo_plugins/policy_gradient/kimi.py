"""Kimi k1.5's online policy mirror descent.

Source: Kimi Team 2025, arXiv:2501.12599, section 2.3.2, equation 3: the gradient that the report
follows, which is that of its squared loss over 2 tau. Neither penalty for length nor curriculum.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class Kimi(Plugin):
    """Regresses the log-ratio to the advantage: no ratio weighs it, and a square holds it back."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)

    kl_coef: float = 0.0
    tau: float = Field(0.1, gt=0, description="How strongly a step is held back.")

    @hookimpl
    def advantage(self, batch):
        """A_i = r_i - mean(r), over the rewards of a group; [N]."""
        return F.group_standardize(batch.rewards, batch.group, scale="none")

    @hookimpl
    def ratio(self, logprobs, batch):
        """log r_i = sum over t of log pi(y_t) - log pi_old(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """A log r - tau / 2 (log r)^2; [N, 1]."""
        return advantages * log_ratio - self.tau / 2 * log_ratio.square()
