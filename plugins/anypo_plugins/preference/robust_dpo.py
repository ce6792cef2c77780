"""Robust DPO.

Source: Chowdhury et al. 2024, arXiv:2403.00409, section 3.1.
"""

from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.cdpo import CDPO


class RobustDPO(Plugin):
    """DPO whose loss under flipped labels is, on average, that under the true ones."""

    extends: ClassVar = (CDPO,)

    beta: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=0.5)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """((1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)) / (1 - 2 e); [N, 1]."""
        h = self.beta * F.margin(log_ratio, advantages, batch.group)
        share = self.label_smoothing
        return ((1 - share) * logsigmoid(h) - share * logsigmoid(-h)) / (1 - 2 * share)
