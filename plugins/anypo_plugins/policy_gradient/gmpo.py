"""Geometric-Mean Policy Optimization.

Source: Zhao et al. 2025, arXiv:2507.20673, equation 4.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class GMPO(Plugin):
    """GRPO with the geometric mean of the ratios of a completion's tokens, each clipped first."""

    extends: ClassVar = (GRPO,)

    clip_low: float = Field(0.4, gt=0, description="A log-ratio may fall to -clip_low.")
    clip_high: float = Field(0.4, gt=0, description="A log-ratio may rise to clip_high.")
    kl_coef: float = 0.0

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """A exp(mean over t of s min(s l_t, s clip(l_t))), l = log r, s = sign(A); [N, 1]."""
        sign, clipped = advantages.sign(), log_ratio.clamp(-self.clip_low, self.clip_high)
        lesser = sign * torch.minimum(sign * log_ratio, sign * clipped)
        mean = F.row_mean(lesser, batch.mask)
        return F.exp_ratio(mean) * F.row_mean(advantages, batch.mask)
