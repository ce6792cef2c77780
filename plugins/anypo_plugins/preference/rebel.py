"""REBEL: regression to relative rewards.

Source: Gao et al. 2024, arXiv:2404.16767, algorithm 1, which also learns pairs of equal rewards:
here where `ties` is `first`.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.online_dpo import OnlineDPO


class REBEL(Plugin):
    """Regresses how much likelier one completion became than another to how much better it is."""

    extends: ClassVar = (OnlineDPO,)
    claims: ClassVar = ("reward_shift", "own_gradient")

    eta: float = Field(1.0, gt=0, description="Log-ratios move by eta for every unit of reward.")

    @hookimpl
    def advantage(self, batch):
        """A = 1 for the better, -1 for the worse one; `gap`: their rewards' difference; [N]."""
        preference = batch["preference"]
        return {
            "advantages": preference,
            "gap": F.group_sum(preference * batch.rewards, batch.group),
        }

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y) / pi_old(y), the sum or mean over the tokens; [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask, reduce=self.logps)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-(h / eta - gap)^2, h = log_ratio(better) - log_ratio(worse); [N, 1]."""
        h = F.margin(log_ratio, advantages, batch.group)
        return -(h / self.eta - batch["gap"].unsqueeze(-1)).square()
