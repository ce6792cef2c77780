"""REINFORCE++ and REINFORCE++-baseline.

Source: Hu et al. 2025, arXiv:2501.03262.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.policy_gradient.ppo import PPO, token_rewards


class ReinforcePP(Plugin):
    """PPO without a critic: the tokens of all completions are one another's baseline."""

    extends: ClassVar = (PPO,)
    claims: ClassVar = ("reward_shift",)
    task_options: ClassVar = {
        task: {"prompts_per_step": 128} for task in ("addition", "retry", "calculator")
    }

    kl_coef: float = 0.01
    gamma: float = 1.0
    value_coef: float = Field(0.0, le=0, description="There is no critic to learn anything.")

    @hookimpl
    def advantage(self, batch):
        """A = whiten(G), G_t = sum over s >= t of gamma^(s - t) r_s; [N, T]."""
        rewards = token_rewards(batch, self.kl_coef)
        no_critic = torch.zeros_like(rewards)
        _, returns = F.gae(rewards, no_critic, batch.mask, gamma=self.gamma, lam=1.0)
        return F.whiten(returns, batch.mask)


class ReinforcePPBaseline(Plugin):
    """GRPO whose advantages are scaled over all tokens of the batch instead of group by group."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")

    kl_coef: float = 0.01
    kl_estimator: F.Estimator = "k2"

    @hookimpl
    def advantage(self, batch):
        """A = whiten(r_i - mean(r)), the mean being that of the group; [N, T]."""
        centred = F.group_standardize(batch.rewards, batch.group, scale="none")
        return F.whiten(centred.unsqueeze(-1).expand(batch.mask.shape), batch.mask)

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
