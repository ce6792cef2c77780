"""Second-Moment Trust Policy Optimization.

Source: Zheng et al. 2025, arXiv:2510.01161, algorithm 1.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class M2PO(Plugin):
    """Leaves out the tokens that moved furthest, until the others' mean square is in bounds."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    m2_limit: float = Field(0.04, gt=0, description="Largest mean of (log r)^2 (tau).")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """r A, never clipped; [N, T]."""
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def weight(self, batch, logprobs):
        """1 / sum_i |y_i| for the most tokens of the least (log r)^2 that are in bounds; [N, T]."""
        square = (logprobs - batch.old_logprobs).double().square()
        ranked = torch.where(batch.mask, square, torch.inf).flatten().sort().values
        mean = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1, device=ranked.device)
        largest = torch.where(mean <= self.m2_limit, ranked, -1).amax()
        return F.token_mean(batch.mask) * (square <= largest)
