"""Learning to Reason under Off-Policy Guidance.

Source: Yan et al. 2025, arXiv:2504.14945, section 3. As there, advantages and weights are those of
Dr. GRPO, and a trace of another model is taken to have had the probability 1. Its runs have an
entropy bonus of 0.01 besides, which is `entropy` on top.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.baselines import with_column
from anypo_plugins.policy_gradient.dr_grpo import DrGRPO


class LUFFY(Plugin):
    """Dr. GRPO with the row's completion in every group, of which unlikely tokens teach most."""

    extends: ClassVar = (DrGRPO,)
    claims: ClassVar = ("own_gradient", "reward_shift")

    group_size: int = Field(7, ge=1, description="Completions sampled per prompt (G).")
    shape_gamma: float = Field(
        0.1, gt=0, description="Below this probability a token of the row's completion is rare."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """y_1 … y_G of the policy, and the row's `completion`, each with its reward."""
        own = sample_groups(prompts, sampler, scorer, self.group_size)
        rows = [prompt.sample("completion", group) for group, prompt in enumerate(prompts)]
        shown = [with_column(s, shown=1.0) for s in scorer(prompts, rows)]
        return [*(with_column(s, shown=0.0) for s in own), *shown]

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs, batch):
        """p / (p + shape_gamma) A for the row's, p = pi(y_t); else min(r A, clip(r) A); [N, T]."""
        shaped = torch.sigmoid(logprobs - math.log(self.shape_gamma)) * advantages
        own = F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)
        return torch.where(batch.shown.unsqueeze(-1) > 0, shaped, own)
