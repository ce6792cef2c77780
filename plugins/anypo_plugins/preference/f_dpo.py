"""f-DPO.

Source: Wang et al. 2023, arXiv:2309.16240, table 1. TRL's coefficient of the alpha divergence is 1
- f_alpha.
"""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO

Divergence = Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]


class FDPO(Plugin):
    """DPO for another divergence from the reference than the reverse KL."""

    extends: ClassVar = (DPO,)

    f_divergence_type: Divergence = Field(
        "js_divergence", description="From the reference; reverse_kl is DPO itself."
    )
    f_alpha: float = Field(0.5, gt=0, le=1, description="Of the alpha_divergence; 1: forward_kl.")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta (f'(u_w) - f'(u_l))), u = pi / pi_ref; [N, 1]."""
        return logsigmoid(self.beta * F.margin(self._slope(log_ratio), advantages, batch.group))

    def _slope(self, log_ratio):
        """f'(u) up to a constant, which a margin cancels."""
        match self.f_divergence_type:
            case "forward_kl":
                return -F.exp_ratio(-log_ratio)
            case "js_divergence":
                return logsigmoid(log_ratio)
            case "alpha_divergence":
                return -F.exp_ratio(-self.f_alpha * log_ratio) / self.f_alpha
        return log_ratio
