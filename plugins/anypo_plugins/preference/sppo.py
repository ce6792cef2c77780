"""Self-Play Preference Optimization, hard on pairs and soft on its own completions.

Source: Wu et al. 2024, arXiv:2405.00675, equation 4.7 and algorithm 1. beta is 1 / eta. On pairs it
is TRL's `sppo_hard`. The paper's preference model is one that compares; here rewards are compared.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.rloo import RLOO
from anypo_plugins.preference.dpo import DPO


class SPPOHard(Plugin):
    """Regresses the winner's log-ratio to 1 / (2 beta), and the loser's to the opposite."""

    extends: ClassVar = (DPO,)
    task_knobs: ClassVar = {"addition": {"beta": 0.2}}

    beta: float = Field(0.001, gt=0, description="The log-ratios to reach are ±1 / (2 beta).")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-(log_ratio(w) - 1 / (2 beta))^2 - (log_ratio(l) + 1 / (2 beta))^2; [N, 1]."""
        short = log_ratio - advantages / (2 * self.beta)
        return -F.pair_sum(short.square(), batch.group)


class SPPO(Plugin):
    """Regresses the log-ratio of own completions to how often they beat those of their group."""

    extends: ClassVar = (RLOO,)
    claims: ClassVar = ("reward_shift", "reward_scale", "own_gradient")

    group_size: int = 5
    kl_coef: float = 0.0
    eta: float = Field(1e3, gt=0, description="The log-ratio of a sure winner is to be eta / 2.")

    @hookimpl
    def advantage(self, batch):
        """A = P(y beats the group) - 1 / 2, a tie being half a win, as that with itself; [N]."""
        rewards, group = batch.rewards, batch.group
        together = group.unsqueeze(-1) == group
        lead = (rewards.unsqueeze(-1) - rewards).sign()
        return torch.where(together, lead, 0).sum(-1) / (2 * together.sum(-1))

    @hookimpl
    def clip(self, log_ratio, advantages):
        """-(log_ratio - eta A)^2; [N, 1]."""
        return -(log_ratio - self.eta * advantages).square()
