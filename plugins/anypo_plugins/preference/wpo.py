"""Weighted Preference Optimization.

Source: Zhou et al. 2024, arXiv:2406.11827, equation 2.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class WPO(Plugin):
    """DPO that weighs a pair by how likely the policy is to write it itself."""

    extends: ClassVar = (DPO,)
    claims: ClassVar = ("stop_gradient",)

    beta: float = 0.01
    alignment: Literal["sampled", "greedy", "none"] = Field(
        "sampled", description="Of whose tokens a weight is 1: what is drawn, or the likeliest."
    )

    @hookimpl
    def distribution(self, log_distribution):
        """usual = log sum_v pi(v)^2, or log max_v pi(v)."""
        if self.alignment == "none":
            return {}
        if self.alignment == "greedy":
            return {"usual": log_distribution.amax(-1)}
        return {"usual": (2 * log_distribution).logsumexp(-1)}

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs, batch, token_statistics):
        """w(y_w) w(y_l) log sigmoid(beta h), w = exp(mean_t(log pi(y_t) - usual)); [N, 1]."""
        usual = token_statistics.get("usual", torch.zeros_like(logprobs))
        likely = F.mean_logprob(logprobs - usual, batch.mask).detach()
        weight = F.exp_ratio(F.pair_sum(likely, batch.group))
        return weight * logsigmoid(self.beta * F.margin(log_ratio, advantages, batch.group))
