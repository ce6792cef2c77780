"""Anchored Preference Optimization: APO-zero and APO-down.

Source: D'Oosterlinck et al. 2024, arXiv:2408.06266, equations 7 and 8.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class APOZero(Plugin):
    """Raises the chosen and lowers the rejected completion, each by itself."""

    extends: ClassVar = (DPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """sigmoid(r_w) - sigmoid(r_l), r = beta log_ratio; [N, 1]."""
        return F.margin(torch.sigmoid(self.beta * log_ratio), advantages, batch.group)


class APODown(Plugin):
    """Lowers both completions, and the rejected one more: for a policy better than its data."""

    extends: ClassVar = (DPO,)
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1, "sft_coef": 1.0}}  # its data are better

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-sigmoid(r_w) + sigmoid(r_w - r_l), r = beta log_ratio; [N, 1]."""
        rewards = self.beta * log_ratio
        chosen = torch.where(advantages > 0, torch.sigmoid(rewards), 0)
        lead = torch.sigmoid(F.margin(rewards, advantages, batch.group))
        return lead - F.pair_sum(chosen, batch.group)
