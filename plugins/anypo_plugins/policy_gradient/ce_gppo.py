"""Controlling Entropy via Gradient-Preserving Clipping Policy Optimization.

Source: Su et al. 2025, arXiv:2509.20712, equation 8; the settings are those for 7B.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.dapo import DAPO


class CEGPPO(Plugin):
    """DAPO in which clipped tokens still teach, as much as they would at the bound, or a share."""

    extends: ClassVar = (DAPO,)
    claims: ClassVar = ("stop_gradient",)

    group_size: int = 8
    clip_high: float = 0.2
    keep_low: float = Field(0.75, ge=0, description="Share below 1 - clip_low (beta_1).")
    keep_high: float = Field(1.0, ge=0, description="Share above 1 + clip_high (beta_2).")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """r A; beyond the bound b that stops A, keep b r / stop_gradient(r) A; [N, T]."""
        ratio, low, high = F.exp_ratio(log_ratio), 1 - self.clip_low, 1 + self.clip_high
        held = (log_ratio - log_ratio.detach()).exp()
        above = (advantages > 0) & (ratio > high)
        below = (advantages < 0) & (ratio < low)
        ratio = torch.where(above, self.keep_high * high * held, ratio)
        return torch.where(below, self.keep_low * low * held, ratio) * advantages
