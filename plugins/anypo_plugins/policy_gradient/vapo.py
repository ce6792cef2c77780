"""Value-based Augmented Proximal Policy Optimization.

Source: Yue et al. 2025, arXiv:2504.05118, section 4. Its value pre-training is
`--critic-warmup-steps`.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.ppo import PPO, token_rewards


class VAPO(Plugin):
    """PPO that looks further ahead the longer a completion is, and imitates what was right."""

    extends: ClassVar = (PPO,)
    options: ClassVar = {"critic_warmup_steps": 50}
    task_options: ClassVar = {
        task: {"critic_warmup_steps": 10, "critic_learning_rate": 1e-3}
        for task in ("addition", "retry", "calculator")
    }
    task_knobs: ClassVar = {task: {"group_size": 8, "length_alpha": 1.0} for task in task_options}

    group_size: int = 16
    clip_high: float = 0.28
    kl_coef: float = 0.0
    lam: float = Field(1.0, ge=0, le=1, description="GAE of what the critic learns.")
    length_alpha: float = Field(
        0.05, gt=0, description="lambda = 1 - 1 / (length_alpha |y|) of the advantages, or 0."
    )
    lm_coef: float = Field(0.1, ge=0, description="Weight of the likelihood of right completions.")
    right_above: float = Field(0.5, description="The reward above which a completion is right.")

    @hookimpl
    def advantage(self, batch):
        """A = whiten(GAE(lambda_i)), lambda_i = 1 - 1 / (length_alpha |y_i|); [N, T].

        `returns`, which the critic learns, are those of `lam`.
        """
        rewards = token_rewards(batch, self.kl_coef)
        by_length = (1 - 1 / (self.length_alpha * batch.lengths.clamp(min=1))).clamp(min=0)
        estimates, _ = self._gae(rewards, batch, by_length)
        _, returns = self._gae(rewards, batch, self.lam)
        return {"advantages": F.whiten(estimates, batch.mask), "returns": returns}

    def _gae(self, rewards, batch, lam):
        return F.gae(rewards, batch.values, batch.mask, gamma=self.gamma, lam=lam)

    @hookimpl
    def regularizer(self, logprobs):
        """-lm_coef log pi(y_t) of right completions; [N, T]."""
        return {"lm": -self.lm_coef * logprobs} if self.lm_coef else None

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|; `lm`: the same, over the right completions alone; [N, T]."""
        weights = {"policy": F.token_mean(batch.mask)}
        if self.lm_coef:
            right = batch.mask & (batch.rewards > self.right_above).unsqueeze(-1)
            weights["lm"] = F.token_mean(right)
        return weights
