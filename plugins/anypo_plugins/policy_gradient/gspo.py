"""Group Sequence Policy Optimization.

Source: Zheng et al. 2025, arXiv:2507.18071, section 4.1.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class GSPO(Plugin):
    """GRPO with one importance ratio per completion, which is clipped or kept as a whole."""

    extends: ClassVar = (GRPO,)

    clip_low: float = 3e-4
    clip_high: float = 4e-4
    kl_coef: float = 0.0

    @hookimpl
    def ratio(self, logprobs, batch):
        """log s_i = mean over t of log pi(y_t) - log pi_old(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask)

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): a completion's one gain counts once, whatever its length; [N, T]."""
        return F.per_completion_mean(batch.mask)
