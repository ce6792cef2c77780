"""Soft Adaptive Policy Optimization.

Source: Gao et al. 2025, arXiv:2511.20347.
"""

from typing import ClassVar

import anypo.functional as F
import torch
from anypo import Plugin, hookimpl
from pydantic import Field


class SAPO(Plugin):
    """GRPO with a gate that closes little by little, where clipping drops a token at once."""

    extends: ClassVar = ("grpo",)

    kl_coef: float = 0.0
    tau_pos: float = Field(1.0, gt=0, description="How fast the gate closes where A > 0.")
    tau_neg: float = Field(1.05, gt=0, description="How fast the gate closes where A <= 0.")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """(4 / tau) sigmoid(tau (r - 1)) A, tau being tau_pos or tau_neg; [N, T]."""
        distance = F.exp_ratio(log_ratio) - 1
        positive, negative = (
            4 / tau * torch.sigmoid(tau * distance) for tau in (self.tau_pos, self.tau_neg)
        )
        return torch.where(advantages > 0, positive, negative) * advantages
