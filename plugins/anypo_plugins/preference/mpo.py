"""Mixed Preference Optimization.

Source: Wang et al. 2024, arXiv:2411.10442, section 3.2. Its quality loss shifts rewards by their
mean so far; TRL's mix of `sigmoid`, `bco_pair` and `sft` does not, and neither does this.
"""

from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class MPO(Plugin):
    """DPO, BCO and SFT at once: which is better, whether it is good, and how it is written."""

    extends: ClassVar = (DPO,)
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1}}

    preference_coef: float = Field(0.8, ge=0, description="Weight of DPO's loss.")
    quality_coef: float = Field(0.2, ge=0, description="Weight of BCO's loss.")
    sft_coef: float = 1.0

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """preference_coef log sigmoid(beta h) + quality_coef BCO, as `bco_pair` has it; [N, 1]."""
        rewards = self.beta * advantages * log_ratio
        preference = logsigmoid(F.pair_sum(rewards, batch.group))
        quality = F.pair_sum(logsigmoid(rewards), batch.group)
        return self.preference_coef * preference + self.quality_coef * quality
