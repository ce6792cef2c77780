"""On-policy distillation.

Source: Thinking Machines, "On-Policy Distillation", 2025: the reverse KL from a teacher, token by
token, as the reward of a policy gradient without discount.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class OPD(Plugin):
    """Learns from a teacher's log-probs of what the policy itself writes; no reward is needed."""

    extends: ClassVar = (GRPO,)

    group_size: int = Field(4, ge=1, description="Completions sampled per prompt (G).")
    kl_coef: float = 0.0

    @hookimpl
    def rollout(self, prompts, sampler):
        """G completions y_1 … y_G of every prompt."""
        return sampler.sample(prompts, self.group_size)

    @hookimpl
    def advantage(self, batch):
        """A_t = log pi_teacher(y_t) - log pi_old(y_t); [N, T]."""
        return batch.teacher_logprobs - batch.old_logprobs

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|; [N, T]."""
        return F.token_mean(batch.mask)
