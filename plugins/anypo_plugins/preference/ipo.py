"""Identity Preference Optimization.

Source: Azar et al. 2023, arXiv:2310.12036, equation 17.
"""

from typing import ClassVar, Literal

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class IPO(Plugin):
    """DPO that regresses the margin to a finite target, so that clear preferences cannot overfit.

    The paper sums log-ratios; the mean over tokens is its authors' later advice, and TRL's default.
    With it a margin of 1 / (2 beta) is far: raise beta.
    """

    extends: ClassVar = (DPO,)

    beta: float = Field(0.1, gt=0, description="The target margin is 1 / (2 beta); tau.")
    logps: Literal["sum", "mean"] = "mean"

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-(h - 1 / (2 beta))^2, h = log_ratio(chosen) - log_ratio(rejected); [N, 1]."""
        h = F.margin(log_ratio, advantages, batch.group)
        return -(h - 1 / (2 * self.beta)).square()
