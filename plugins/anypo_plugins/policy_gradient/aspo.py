"""Asymmetric Importance Sampling Policy Optimization.

Source: Wang et al. 2025, arXiv:2510.06062, section 6 and equation 3 of its second version. The cap
is that of its figure 4. Its runs have a KL penalty of 0.001 besides.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.dapo import DAPO


class ASPO(Plugin):
    """DAPO that turns the ratio of good tokens over: those that have become rare learn the most."""

    extends: ClassVar = (DAPO,)
    claims: ClassVar = ("stop_gradient",)

    clip_high: float = 0.2
    flip_cap: float = Field(
        3.0, ge=1, description="A > 0: 1 / r counts as at most this much, and still teaches."
    )

    @hookimpl
    def clip(self, log_ratio, advantages):
        """q A, q = stop_gradient(min(1 / r, flip_cap) / r) r, 0 if r > 1 + clip_high; A > 0.

        Where A < 0, min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); [N, T].
        """
        frozen = log_ratio.detach()
        flipped = F.exp_ratio(-frozen).clamp(max=self.flip_cap) * (log_ratio - frozen).exp()
        flipped = torch.where(frozen > math.log1p(self.clip_high), 0, flipped)
        surrogate = F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)
        return torch.where(advantages > 0, flipped * advantages, surrogate)
