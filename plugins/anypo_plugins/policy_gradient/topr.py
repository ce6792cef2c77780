"""Tapered Off-Policy REINFORCE.

Source: Le Roux et al. 2025, arXiv:2503.14286, equation 8. Its rewards are 1 and -1 without a
baseline; here the other completions to a prompt are one. Its runs divide a gain by the length,
which its equations do not; verl's `topr` takes the ratio per token, too.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.rloo import RLOO


class TOPR(Plugin):
    """Good completions are imitated as they are, bad ones by a ratio of at most 1."""

    extends: ClassVar = (RLOO,)
    claims: ClassVar = ("stop_gradient",)

    kl_coef: float = 0.0

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs, batch):
        """stop_gradient(1 if A > 0 else min(r, 1)) A log pi(y); [N, 1]."""
        tapered = F.exp_ratio(log_ratio.detach()).clamp(max=1)
        taper = torch.where(advantages > 0, 1, tapered)
        return taper * advantages * F.masked(logprobs, batch.mask).sum(-1, keepdim=True)
