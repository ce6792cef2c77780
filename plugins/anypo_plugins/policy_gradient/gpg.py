"""Group Policy Gradient.

Source: Chu et al. 2025, arXiv:2504.02546, equations 5 to 8, without its least share of groups that
teach. In verl alpha counts completions of other rewards than 0.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class GPG(Plugin):
    """Plain policy gradient without ratio or clip; groups that teach nothing count nowhere."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        """A_i = alpha (r_i - mean(r)), alpha = rows / rows of groups of unequal rewards; [N]."""
        centred = F.group_standardize(batch.rewards, batch.group, scale="none")
        unequal = F.group_spread(batch.rewards, batch.group) > F.EQUAL_REWARDS
        return len(batch) / unequal.sum().clamp(min=1) * centred

    @hookimpl
    def ratio(self, logprobs):
        """log pi(y_t), compared with nothing; [N, T]."""
        return logprobs

    @hookimpl
    def clip(self, log_ratio, advantages):
        """A log pi(y_t), never clipped; [N, T]."""
        return advantages * log_ratio

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
