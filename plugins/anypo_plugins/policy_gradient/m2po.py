"""Second-Moment Trust Policy Optimization.

Source: Zheng et al. 2025, arXiv:2510.01161, algorithm 1. The authors' code turns the limit into a
clip range of all tokens instead.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class M2PO(Plugin):
    """Leaves out the tokens that moved furthest along with A, until those left are in bounds."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    m2_limit: float = Field(0.04, gt=0, description="Largest mean (log r)^2 of such tokens (tau).")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """r A, never clipped; [N, T]."""
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def weight(self, batch, logprobs):
        """1 / sum_i |y_i|; 0 for the fewest of the largest (log r)^2 that must go; [N, T].

        Of tokens that a clip might stop alone: where A > 0 and r > 1, or A < 0 and r < 1.
        """
        log_ratio = (logprobs - batch.old_logprobs).double()
        held, square = log_ratio * batch.advantages > 0, log_ratio.square()
        ranked = torch.where(held, square, torch.inf).flatten().sort().values
        mean = ranked.cumsum(0) / torch.arange(1, len(ranked) + 1, device=ranked.device)
        largest = torch.where(mean <= self.m2_limit, ranked, 0).amax()
        return F.token_mean(batch.mask) * ~(held & (square > largest))
