"""Clip-Cov and KL-Cov.

Source: Cui et al. 2025, arXiv:2505.22617, sections 4.2 and 4.3: of the log-probs as they are now.
verl does not choose among tokens that the clip has stopped already; the paper says nothing of it.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class ClipCov(Plugin):
    """GRPO in which a few tokens whose log-prob and advantage covary, drawn anew, learn nothing."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("random_choice",)

    kl_coef: float = 0.0
    cov_ratio: float = Field(2e-4, gt=0, le=1, description="Share of tokens that are stopped.")
    cov_low: float = Field(1.0, description="Stopped tokens covary by more than this.")
    cov_high: float = Field(5.0, description="Stopped tokens covary by less than this.")

    @hookimpl
    def weight(self, batch, state, logprobs):
        """1 / sum_i |y_i|; 0 for random tokens with cov_low < cov < cov_high; [N, T]."""
        cov = _covariance(batch, logprobs)
        places = (batch.mask & (cov > self.cov_low) & (cov < self.cov_high)).nonzero()
        count = _count(self.cov_ratio, batch)
        state["clip_cov"] = state.get("clip_cov", 0) + 1
        random = torch.Generator().manual_seed(state["clip_cov"])
        drawn = torch.randperm(len(places), generator=random)[:count].to(places.device)
        weights = F.token_mean(batch.mask)
        weights[places[drawn].unbind(-1)] = 0
        return weights


class KLCov(Plugin):
    """Policy gradient that holds back by a KL penalty the tokens that covary most."""

    extends: ClassVar = (GRPO,)

    kl_coef: float = 0.0
    cov_ratio: float = Field(2e-3, gt=0, le=1, description="Share of tokens that are held back.")
    cov_coef: float = Field(1.0, ge=0, description="Weight of their KL penalty (beta).")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """r A, never clipped; [N, T]."""
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def regularizer(self, logprobs, batch):
        """cov_coef |log pi(y_t) - log pi_old(y_t)|, of the tokens held back; [N, T]."""
        return {"kl_cov": self.cov_coef * (logprobs - batch.old_logprobs).abs()}

    @hookimpl
    def weight(self, batch, logprobs):
        """1 / sum_i |y_i|; `kl_cov`: the same for tokens of the largest cov > 0, else 0; [N, T]."""
        cov, every = _covariance(batch, logprobs), F.token_mean(batch.mask)
        count = _count(self.cov_ratio, batch)
        held = F.largest(cov.view(1, -1), batch.mask.view(1, -1), count)
        return {"policy": every, "kl_cov": every * (held.view_as(every) & (cov > 0))}


def _count(share, batch):
    return max(1, int(share * int(batch.mask.sum())))


def _covariance(batch, logprobs):
    """(A - mean(A)) (log pi(y_t) - mean(log pi)), over the tokens of the batch; [N, T]."""
    advantages, mask = batch.advantages, batch.mask
    centred = advantages - F.masked_mean(advantages, mask)
    return centred * (logprobs - F.masked_mean(logprobs, mask))
