"""Divergence Proximal Policy Optimization.

Source: Qi et al. 2026, arXiv:2602.04879, equation 13: the binary total variation, with the limit of
the authors' script. verl and TRL cap the ratio at 20; the paper finds caps harmful (section 5.4).
There pi_old is what the sampler reported: put `bypass` above it. The top-K form compares pi and
pi_old on the likeliest tokens of pi_old, and a plugin is shown one distribution at a time.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class DPPO(Plugin):
    """GRPO that stops a token where its probability has moved far, however large the ratio."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    tv_limit: float = Field(0.15, gt=0, lt=1, description="How far a probability may move.")

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs, batch):
        """r A, 0 where |pi - pi_old| > tv_limit and pi - pi_old has the sign of A; [N, T]."""
        moved = logprobs.exp() - batch.old_logprobs.exp()
        too_far = (moved.abs() > self.tv_limit) & (moved * advantages > 0)
        return torch.where(too_far, 0, F.exp_ratio(log_ratio) * advantages)
