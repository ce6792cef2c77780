"""MiniLLM.

Source: Gu et al. 2023, arXiv:2306.08543, section 2.2: the gradient of the reverse KL in two parts,
that of a single step, exact over the vocabulary, and that of all later ones, normalised by length.
Neither sampling mixed with the teacher nor the loss of pre-training is in it.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.distillation.opd import OPD


class MiniLLM(Plugin):
    """OPD that looks ahead: a token is to blame for what the teacher thinks of later ones."""

    extends: ClassVar = (OPD,)

    single_coef: float = Field(1.0, ge=0, description="Weight of the gradient of a single step.")

    @hookimpl
    def advantage(self, batch):
        """A_t = mean over s > t of log pi_teacher(y_s) - log pi_old(y_s); [N, T]."""
        gains = batch.teacher_logprobs - batch.old_logprobs
        later = gains.flip(-1).cumsum(-1).flip(-1) - gains
        left = batch.mask.flip(-1).cumsum(-1).flip(-1) - 1
        return later / left.clamp(min=1)

    @hookimpl
    def distribution(self, log_distribution, teacher_log_distribution):
        """KL(pi || teacher) over the whole vocabulary."""
        return {"reverse_kl": F.kl(log_distribution, teacher_log_distribution)}

    @hookimpl
    def regularizer(self, token_statistics):
        """single_coef KL(pi || teacher); [N, T]."""
        if not self.single_coef:
            return None
        return {"single": self.single_coef * token_statistics["reverse_kl"]}
