"""Efficient Exact Optimization, on pairs.

Source: Ji et al. 2024, arXiv:2402.00856, equation 16. TRL calls it `exo_pair`.
"""

import math
from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class EXO(Plugin):
    """Matches smoothed labels in reverse KL, where DPO does so in forward KL."""

    extends: ClassVar = (DPO,)

    label_smoothing: float = Field(1e-3, gt=0, lt=0.5, description="Share of flipped labels (e).")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-q log(q / (1 - e)) - (1 - q) log((1 - q) / e), q = sigmoid(beta h); [N, 1]."""
        h = self.beta * F.margin(log_ratio, advantages, batch.group)
        right = logsigmoid(h) - math.log1p(-self.label_smoothing)
        wrong = logsigmoid(-h) - math.log(self.label_smoothing)
        return -h.sigmoid() * right - (-h).sigmoid() * wrong
