"""AlphaPO.

Source: Gupta et al. 2025, arXiv:2501.03884; the settings are those for Mistral Instruct, table 3.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.simpo import SimPO


class AlphaPO(Plugin):
    """SimPO with another shape of the reward than the logarithm."""

    extends: ClassVar = (SimPO,)

    simpo_gamma: float = 0.1
    alpha: float = Field(0.25, description="Shape of the reward; 0 is the logarithm.")

    @hookimpl
    def ratio(self, logprobs, batch):
        """(1 - p^-alpha) / alpha, log p = mean over t of log pi(y_t); [N, 1]."""
        logprob = F.mean_logprob(logprobs, batch.mask)
        return (1 - F.exp_ratio(-self.alpha * logprob)) / self.alpha if self.alpha else logprob
