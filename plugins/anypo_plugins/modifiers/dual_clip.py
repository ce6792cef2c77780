"""Dual-clip PPO, a modifier.

Source: Ye et al. 2020, arXiv:1912.09729.
"""

import torch
from pydantic import Field

import anypo.functional as F
from anypo import AnypoError, Plugin, hookimpl


class DualClip(Plugin):
    """Bounds what a token of negative advantage can cost when its ratio is large."""

    dual_clip: float = Field(
        3.0, gt=1, description="Where the advantage is negative, the ratio counts up to this (c)."
    )

    @hookimpl(wrapper=True)
    def clip(self, log_ratio, advantages, batch):
        """max(gain, dual_clip A) where A < 0, else gain; [N, T]."""
        gain = yield
        negative = advantages < 0
        if log_ratio.shape[-1] < batch.mask.shape[-1]:
            raise AnypoError(
                "dual_clip bounds a ratio per token, but here the ratio is one per sequence"
            )
        # The slack is for rounding.
        if (negative & (gain > 0.999 * F.exp_ratio(log_ratio) * advantages)).any():
            raise AnypoError(
                "dual_clip needs a clipped surrogate below it, which gains at most r A if A < 0, "
                "but here the gain is larger; what rescales a gain belongs above dual_clip"
            )
        return torch.where(negative, torch.maximum(gain, self.dual_clip * advantages), gain)
