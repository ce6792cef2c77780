"""Length-Unbiased Sequence Policy Optimization.

Source: Liu et al. 2026, arXiv:2602.05261; the clip is that of section 5.1.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.gspo import GSPO


class LUSPO(Plugin):
    """GSPO whose completions count by their length, so that long ones are not learnt less."""

    extends: ClassVar = (GSPO,)
    claims: ClassVar = ("by_length",)

    clip_low: float = 2e-3
    clip_high: float = 2.5e-3

    @hookimpl
    def weight(self, batch):
        """1 / N: a completion's one gain counts |y_i| times; [N, T]."""
        return F.per_completion_sum(batch.mask)
