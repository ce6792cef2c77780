"""DPO-positive, of Smaug.

Source: Pal et al. 2024, arXiv:2402.13228.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class DPOP(Plugin):
    """DPO that pays for a chosen completion less likely than under the reference."""

    extends: ClassVar = (DPO,)

    beta: float = 0.3
    dpop_lambda: float = Field(50.0, ge=0, description="Price of a nat that the chosen has lost.")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta (h - dpop_lambda max(0, -log_ratio(chosen)))); [N, 1]."""
        lost = torch.where(advantages > 0, -log_ratio, 0).clamp(min=0)
        h = F.margin(log_ratio, advantages, batch.group)
        return logsigmoid(self.beta * (h - self.dpop_lambda * F.pair_sum(lost, batch.group)))
