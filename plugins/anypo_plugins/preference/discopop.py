"""DiscoPOP, the log-ratio modulated loss.

Source: Lu et al. 2024, arXiv:2406.08414, equation 5. A language model found it. It is not
convex: as the paper notes, a pair that the policy and the reference see alike is pushed the wrong
way at first.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class DiscoPOP(Plugin):
    """Blends DPO's logistic loss with an exponential one, which takes over from beta h = 0 on."""

    extends: ClassVar = (DPO,)
    claims: ClassVar = ("own_direction",)
    task_knobs: ClassVar = {"addition": {"beta": 5.0}}

    beta: float = 0.05
    discopop_tau: float = Field(0.05, gt=0, description="How wide the blend between the two is.")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """(1 - s) log sigmoid(b) - s exp(-b), s = sigmoid(b / tau), b = beta h; [N, 1]."""
        b = self.beta * F.margin(log_ratio, advantages, batch.group)
        share = torch.sigmoid(b / self.discopop_tau)
        return (1 - share) * logsigmoid(b) - share * F.exp_ratio(-b)
