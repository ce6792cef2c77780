"""Hybrid GRPO.

Source: Sane 2025, arXiv:2502.01652; how its formula is read is said at `mode`.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class HybridGRPO(Plugin):
    """GRPO's groups of completions, judged token by token by PPO's critic."""

    extends: ClassVar = (GRPO,)

    task_options: ClassVar = {
        task: {"critic_learning_rate": 1e-3} for task in ("addition", "retry", "calculator")
    }

    kl_coef: float = 0.0
    mode: Literal["sample", "mix", "state_mean"] = Field(
        "sample",
        description="sample: each completion by its own reward; mix: with GRPO's advantage; "
        "state_mean: the literal formula, one number for all of a group.",
    )
    granularity: Literal["token", "sequence"] = Field(
        "token", description="sample: an advantage per token (GAE), or one per completion."
    )
    mix_weight: float = Field(0.5, ge=0, le=1, description="mix: share of GRPO's advantage.")
    reward_transform: Literal["identity", "batch_std", "tanh"] = Field(
        "identity",
        description="batch_std: divided by the batch's deviation; tanh: of GRPO's advantage.",
    )
    value_target: Literal["sample", "group_mean"] = Field(
        "sample",
        description="What the critic learns: a sample's A + V, or the group's mean reward.",
    )
    gamma: float = Field(1.0, ge=0, le=1, description="Discount per token.")
    lam: float = Field(0.95, ge=0, le=1, description="GAE: 0 trusts the critic, 1 the rewards.")
    value_coef: float = Field(0.1, ge=0, description="Weight of the critic's loss.")
    value_clip: float = Field(
        0.2, ge=0, description="How far a value may usefully move from V_old; 0: anywhere."
    )

    @hookimpl
    def advantage(self, batch):
        """A = whiten(GAE), from each completion's own reward at its last token; [N, T].

        `sequence`: r_i - V(prompt). `state_mean`: the same, averaged over the group. `mix`:
        mix_weight A_GRPO + (1 - mix_weight) whiten(GAE).
        """
        rewards = self._transformed(batch.rewards, batch.group)
        estimates, returns = F.gae(
            F.at_last_token(rewards, batch.mask),
            batch.values,
            batch.mask,
            gamma=self.gamma,
            lam=self.lam,
        )
        if self.value_target == "group_mean":
            returns = F.group_mean(rewards, batch.group).unsqueeze(-1).expand(batch.mask.shape)
        return {"advantages": self._judged(batch, rewards, estimates), "returns": returns}

    @hookimpl
    def regularizer(self, values, batch):
        """value_coef / 2 max((V - R)^2, (V clipped - R)^2); [N, T]."""
        if not self.value_coef:
            return None
        loss = F.clipped_value_loss(values, batch.values, batch["returns"], self.value_clip)
        return {"value": self.value_coef * loss}

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)

    def _transformed(self, rewards, group):
        if self.reward_transform == "tanh":
            return F.group_standardize(rewards, group).tanh()
        if self.reward_transform == "batch_std" and len(rewards) > 1:
            deviation = rewards.double().std()  # in float32, that of equal rewards is not 0
            # Not centred: a critic of centred rewards has nothing to learn.
            return rewards / float(deviation) if deviation > F.EQUAL_REWARDS else rewards
        return rewards

    def _judged(self, batch, rewards, estimates):
        if self.mode == "state_mean":
            return F.group_mean(rewards - _first_values(batch), batch.group)
        if self.mode == "sample" and self.granularity == "sequence":
            return rewards - _first_values(batch)
        whitened = F.whiten(estimates, batch.mask)
        if self.mode == "mix":
            group_relative = F.group_standardize(batch.rewards, batch.group).unsqueeze(-1)
            return torch.lerp(whitened, group_relative, self.mix_weight)
        return whitened


def _first_values(batch):
    return F.first_token(batch.values, batch.mask).squeeze(-1)
