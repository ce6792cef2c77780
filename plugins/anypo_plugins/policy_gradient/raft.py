"""RAFT++, and RAFT as `loss`.

Source: Xiong et al. 2025, arXiv:2504.11343, section 3: equations 1 and 6. The best of a group that
is all wrong is learnt there too, if read literally; here it is not.
"""

from typing import ClassVar, Literal

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class RAFT(Plugin):
    """Learns from completions of positive reward alone, and from all of them alike."""

    extends: ClassVar = (GRPO,)

    group_size: int = 4
    kl_coef: float = 0.0
    loss: Literal["clipped", "likelihood"] = Field(
        "clipped", description="clipped: by importance ratios (RAFT++); likelihood: RAFT, as SFT."
    )

    @hookimpl
    def advantage(self, batch):
        """A_i = 1 where r_i > 0, else 0; [N]."""
        return (batch.rewards > 0).to(batch.rewards.dtype)

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); likelihood: A log pi(y_t); [N, T]."""
        if self.loss == "likelihood":
            return advantages * logprobs
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|), N counting the completions of positive reward alone; [N, T]."""
        return F.per_completion_mean(batch.mask & (batch.advantages > 0))
