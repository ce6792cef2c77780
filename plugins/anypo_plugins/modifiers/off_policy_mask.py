"""Off-policy sequence masking, a modifier.

Source: DeepSeek-V3.2, DeepSeek-AI 2025, arXiv:2512.02556, section 3.1 and equation 9, where the
sampler says how likely completions were. It prints no delta; 0.5 is what TRL suggests.
"""

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class OffPolicyMask(Plugin):
    """Bad completions that the policy has drifted away from teach nothing."""

    off_policy_delta: float = Field(
        0.5, ge=0, description="Nats per token by which a completion may have become less likely."
    )

    @hookimpl(wrapper=True)
    def clip(self, advantages, logprobs, batch):
        """0 where A < 0 and mean_t (log pi_sampler - log pi) > off_policy_delta; [N, T]."""
        gain = yield
        drift = F.sequence_log_ratio(batch.sampler_logprobs, logprobs.detach(), batch.mask)
        return torch.where((advantages < 0) & (drift > self.off_policy_delta), 0, gain)
