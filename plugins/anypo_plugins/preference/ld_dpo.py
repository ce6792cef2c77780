"""Length-desensitized DPO.

Source: Liu et al. 2024, arXiv:2409.06411.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class LDDPO(Plugin):
    """DPO in which tokens beyond the length of the other completion count less."""

    extends: ClassVar = (DPO,)

    ld_alpha: float = Field(
        0.5, ge=0, le=1, description="What tokens beyond the shorter one's count; 1 is DPO."
    )

    @hookimpl
    def ratio(self, logprobs, batch):
        """sum_t a_t log pi(y_t) / pi_ref(y_t), a_t = ld_alpha for t > min(|y_w|, |y_l|); [N, 1]."""
        shared = -F.group_max(-batch.lengths, batch.group).unsqueeze(-1)
        beyond = batch.mask.cumsum(-1) > shared
        log_ratio = F.masked(logprobs - batch.ref_logprobs, batch.mask)
        return torch.where(beyond, self.ld_alpha * log_ratio, log_ratio).sum(-1, keepdim=True)
