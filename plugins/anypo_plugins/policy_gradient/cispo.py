"""Clipped IS-weight Policy Optimization.

Source: MiniMax-M1, MiniMax 2025, arXiv:2506.13585, equations 4 and 5.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class CISPO(Plugin):
    """GRPO that caps the weight of a token instead of dropping its gradient."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("stop_gradient",)

    kl_coef: float = 0.0
    cap: float = Field(5.0, gt=0, description="The ratio counts as at most this much.")

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        """stop_gradient(min(r, cap)) A log pi(y_t); [N, T]."""
        return F.exp_ratio(log_ratio.detach()).clamp(max=self.cap) * advantages * logprobs

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
