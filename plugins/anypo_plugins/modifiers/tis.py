"""Truncated Importance Sampling, a modifier.

Source: Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training"
(blog); icepop: Zhao et al. 2025, "Small Leak Can Sink a Great Ship" (blog).
"""

from typing import Literal

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class TIS(Plugin):
    """Corrects the gain for a sampler whose log-probs differ from the trainer's."""

    tis_mode: Literal["token", "sequence", "icepop"] = Field(
        "token", description="A weight per token, one per sequence, or icepop's, per token."
    )
    tis_cap: float = Field(2.0, gt=0, description="token, sequence: weights are truncated to this.")
    tis_low: float = Field(0.5, gt=0, le=1, description="icepop: smaller weights become 0.")
    tis_high: float = Field(2.0, ge=1, description="icepop: larger weights become 0.")

    @hookimpl(wrapper=True)
    def clip(self, batch):
        """min(w, tis_cap) gain, w = pi_old(y_t) / pi_sampler(y_t); [N, T].

        `sequence`: w is the product over t. `icepop`: w where tis_low <= w <= tis_high, else 0.
        """
        gain = yield
        return self._weight(batch.old_logprobs, batch.sampler_logprobs, batch.mask) * gain

    def _weight(self, old_logprobs, sampler_logprobs, mask):
        if self.tis_mode == "sequence":
            total = F.sequence_log_ratio(old_logprobs, sampler_logprobs, mask, reduce="sum")
            return F.exp_ratio(total).clamp(max=self.tis_cap)
        weight = F.exp_ratio(F.token_log_ratio(old_logprobs, sampler_logprobs))
        if self.tis_mode == "icepop":
            return torch.where((weight >= self.tis_low) & (weight <= self.tis_high), weight, 0)
        return weight.clamp(max=self.tis_cap)
