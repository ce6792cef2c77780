"""Variational Sequence-level Soft Policy Optimization.

Source: Shen et al. 2026, arXiv:2602.10693.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class VESPO(Plugin):
    """Policy gradient that fades smoothly where the ratio of a whole completion is far from 1."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("stop_gradient", "by_length")

    kl_coef: float = 0.0
    k_pos: float = Field(2.0, ge=0, description="A > 0: the power of the ratio (k).")
    lambda_pos: float = Field(3.0, ge=0, description="A > 0: how fast large ratios fade.")
    k_neg: float = Field(3.0, ge=0, description="A < 0: the power of the ratio (k).")
    lambda_neg: float = Field(2.0, ge=0, description="A < 0: how fast large ratios fade.")

    @hookimpl
    def ratio(self, logprobs, batch):
        """log W = sum over t of log pi(y_t) - log pi_old(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        """stop_gradient(W^k exp(lambda (1 - W))) A log pi(y_t); [N, T]."""
        good = advantages > 0
        power = torch.where(good, self.k_pos, self.k_neg)
        fade = torch.where(good, self.lambda_pos, self.lambda_neg)
        log_w = log_ratio.detach().clamp(-F.LOG_RATIO_LIMIT, F.LOG_RATIO_LIMIT)
        return (power * log_w + fade * (1 - log_w.exp())).exp() * advantages * logprobs

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
