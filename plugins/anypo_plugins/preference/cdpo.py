"""Conservative DPO.

Source: Mitchell 2023, "A note on DPO with noisy preferences & relationship to IPO".
"""

from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class CDPO(Plugin):
    """DPO that expects a share of the labels to be flipped, and so stops at a finite margin."""

    extends: ClassVar = (DPO,)

    beta: float = Field(0.1, gt=0)
    label_smoothing: float = Field(0.1, ge=0, lt=0.5, description="Share of flipped labels (e).")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """(1 - e) log sigmoid(beta h) + e log sigmoid(-beta h); [N, 1]."""
        h = self.beta * F.margin(log_ratio, advantages, batch.group)
        return (1 - self.label_smoothing) * logsigmoid(h) + self.label_smoothing * logsigmoid(-h)
