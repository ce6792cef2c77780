"""Knowledge distillation.

Source: Hinton et al. 2015, arXiv:1503.02531, section 2.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.supervised.sft import SFT


class KD(Plugin):
    """SFT whose targets are a teacher's probabilities of all tokens, softened."""

    extends: ClassVar = (SFT,)

    soften: float = Field(1.0, gt=0, description="Temperature of both distributions (T).")
    hard_coef: float = Field(0.0, ge=0, description="Weight of SFT on the tokens themselves.")

    @hookimpl
    def distribution(self, log_distribution, teacher_log_distribution):
        """T^2 KL(softmax(teacher / T) || softmax(policy / T)) over the whole vocabulary."""
        both = teacher_log_distribution, log_distribution
        teacher, student = ((x / self.soften).log_softmax(-1) for x in both)
        return {"soft": self.soften**2 * F.kl(teacher, student)}

    @hookimpl
    def clip(self, log_ratio, advantages, token_statistics):
        """A (hard_coef log pi(y_t) - T^2 KL(teacher || pi)); [N, T]."""
        return advantages * (self.hard_coef * log_ratio - token_statistics["soft"])
