"""Masked Importance Sampling, a modifier.

Source: Liu et al. 2025, "When Speed Kills Stability: Demystifying RL Collapse from the
Training-Inference Mismatch" (blog), sequence-level MIS, where mis_low is 0; the geometric mean with
a weight per token is OpenRLHF's `seq-mask-tis`. A mask per token is icepop, see `tis`.
"""

from typing import Literal

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class MIS(Plugin):
    """Drops the completions of which the trainer and the sampler think too differently."""

    mis_mode: Literal["product", "geometric"] = Field(
        "product",
        description="What judges and weighs a completion: the product of its tokens' ratios; or "
        "their geometric mean, which does not fade with the length, and each token's own weight.",
    )
    mis_low: float = Field(0.5, ge=0, le=1, description="Completions below this are dropped.")
    mis_high: float = Field(2.0, ge=1, description="Completions above this are dropped.")

    @hookimpl(wrapper=True)
    def clip(self, batch):
        """w gain where mis_low <= w <= mis_high, else 0; w = pi_old(y) / pi_sampler(y); [N, T].

        `geometric`: w_t gain where mis_low <= w^(1 / |y|) <= mis_high, w_t being a token's ratio.
        """
        gain = yield
        both = batch.old_logprobs, batch.sampler_logprobs
        whole = self.mis_mode == "product"
        log_ratio = F.sequence_log_ratio(*both, batch.mask, reduce="sum" if whole else "mean")
        judged = F.exp_ratio(log_ratio)
        weight = judged if whole else F.exp_ratio(F.token_log_ratio(*both))
        return torch.where((judged >= self.mis_low) & (judged <= self.mis_high), weight, 0) * gain
