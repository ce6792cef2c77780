"""Completion Pruning Policy Optimization.

Source: Lin et al. 2025, arXiv:2503.22342. What pruning saves is not spent on completions of other
prompts, as by its dynamic allocation.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class CPPO(Plugin):
    """GRPO that leaves out the completions of the smallest |A|, and saves their passes."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("random_choice",)  # among equals those that come first are kept

    prune: float = Field(0.5, ge=0, lt=1, description="Share of a group that is left out (P).")

    @hookimpl
    def weight(self, batch):
        """1 / (K |y_i|) for the K = floor((1 - P) G) of a group's largest |A|; [N, T]."""
        keep = max(1, int((1 - self.prune) * self.group_size + 1e-9))  # the slack is for rounding
        size = batch.advantages.abs().amax(-1)
        order = torch.arange(len(batch), device=size.device)
        earlier = (size == size.unsqueeze(-1)) & (order < order.unsqueeze(-1))
        ahead = (size > size.unsqueeze(-1)) | earlier
        kept = (ahead & (batch.group == batch.group.unsqueeze(-1))).sum(-1) < keep
        return F.per_completion_mean(batch.mask & kept.unsqueeze(-1))
