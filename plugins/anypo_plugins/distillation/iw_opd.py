"""Importance-weighted on-policy distillation.

Source: Xie et al. 2026, arXiv:2606.22600, as in TRL.
"""

from typing import ClassVar

from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.distillation.opd import OPD


class IWOPD(Plugin):
    """OPD in which a token counts for more the less teacher and policy have differed before it."""

    extends: ClassVar = (OPD,)

    iw_gamma: float = Field(0.5, ge=0, description="By how much the first token counts for more.")

    @hookimpl
    def advantage(self, batch):
        """(1 + iw_gamma (1 - F_t)) d_t, d_t = log pi_teacher(y_t) - log pi_old(y_t); [N, T].

        F_t = sum over s < t of |d_s| / sum over all s of |d_s|.
        """
        gap = batch.teacher_logprobs - batch.old_logprobs
        size = gap.abs()
        before = (size.cumsum(-1) - size) / size.sum(-1, keepdim=True).clamp(min=1e-8)
        return (1 + self.iw_gamma * (1 - before)) * gap
