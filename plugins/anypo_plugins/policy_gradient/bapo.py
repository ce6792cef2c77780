"""Balanced Policy Optimization with adaptive clipping.

Source: Xi et al. 2025, arXiv:2510.18927, equation 8 and algorithm 1. The bounds are those of each
minibatch. The authors' code moves the lower one first, and wants half of the gain to be positive.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class BAPO(Plugin):
    """GRPO whose clip range moves up until good tokens have their share of what is learnt."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    good_share: float = Field(0.4, ge=0, lt=1, description="Share that good tokens shall have.")
    low_start: float = Field(0.6, gt=0, le=1, description="Lower bound of the ratio at first.")
    low_end: float = Field(0.9, gt=0, le=1, description="It rises to this at most.")
    low_step: float = Field(0.02, gt=0, description="By how much at a time.")
    high_start: float = Field(1.2, ge=1, description="Upper bound of the ratio at first.")
    high_end: float = Field(3.0, ge=1, description="It rises to this at most.")
    high_step: float = Field(0.05, gt=0, description="By how much at a time.")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """r A; what is beyond its bound has no weight; [N, T]."""
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def weight(self, batch, logprobs):
        """1 / sum_i |y_i|; 0 where A > 0 and r > high, or A < 0 and r < low; [N, T]."""
        ratio = F.exp_ratio(logprobs - batch.old_logprobs)
        low, high = self._bounds(ratio, batch)
        stopped = torch.where(batch.advantages > 0, ratio > high, ratio < low)
        return F.token_mean(batch.mask) * ~stopped

    def _bounds(self, ratio, batch):
        """The first with sum over A > 0 of w >= good_share sum of w, w = pi_old |clipped r A|."""
        size, good = batch.old_logprobs.exp() * batch.advantages, batch.advantages > 0
        bad = batch.advantages < 0

        def wanting():
            gained = (size * ratio.clamp(max=high))[good].sum()
            lost = -(size * ratio.clamp(min=low))[bad].sum()
            return gained < self.good_share * (gained + lost)

        low, high = self.low_start, self.high_start
        while (high < self.high_end or low < self.low_end) and wanting():
            if high < self.high_end:
                high = min(high + self.high_step, self.high_end)
            else:
                low = min(low + self.low_step, self.low_end)
        return low, high
