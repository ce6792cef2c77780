"""Proximal Policy Optimization.

Source: Schulman et al. 2017, arXiv:1707.06347, section 3; the KL in the reward and its adaptive
coefficient: Ziegler et al. 2019, arXiv:1909.08593, section 2.2.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups


class PPO(Plugin):
    """A critic says what was to be expected of every token; ratios far from 1 gain no more."""

    task_options: ClassVar = {
        task: {"prompts_per_step": 128, "critic_learning_rate": 1e-3}
        for task in ("addition", "retry", "calculator")
    }

    group_size: int = Field(1, ge=1, description="Completions sampled per prompt (G).")
    clip_low: float = Field(0.2, gt=0, description="The ratio may fall to 1 - clip_low.")
    clip_high: float = Field(0.2, gt=0, description="The ratio may rise to 1 + clip_high.")
    kl_coef: float = Field(
        0.05, ge=0, description="Weight of the KL in the reward (beta); 0 needs no reference model."
    )
    kl_target: float | None = Field(
        None, gt=0, description="Nats per completion that kl_coef adapts to; None: it stays."
    )
    kl_horizon: int = Field(
        10_000,
        ge=1,
        description="Completions, or a rollout, over which kl_coef adapts by at most 20 %.",
    )
    gamma: float = Field(1.0, ge=0, le=1, description="Discount per token.")
    lam: float = Field(0.95, ge=0, le=1, description="GAE: 0 trusts the critic, 1 the rewards.")
    value_coef: float = Field(0.1, ge=0, description="Weight of the critic's loss.")
    value_clip: float = Field(
        0.2, ge=0, description="How far a value may usefully move from V_old; 0: anywhere."
    )
    entropy_coef: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """G completions y_1 … y_G of every prompt, each with its reward."""
        return sample_groups(prompts, sampler, scorer, self.group_size)

    @hookimpl
    def advantage(self, batch, state):
        """A = whiten(GAE(r)), r_t = -kl_coef log(pi_old / pi_ref), the reward at the end; [N, T].

        `returns`, which the critic learns, are the unwhitened A + V.
        """
        estimates, returns = F.gae(
            token_rewards(batch, self._kl_coef(batch, state)),
            batch.values,
            batch.mask,
            gamma=self.gamma,
            lam=self.lam,
        )
        return {"advantages": F.whiten(estimates, batch.mask), "returns": returns}

    @hookimpl
    def ratio(self, logprobs, batch):
        """log r_t = log pi(y_t) - log pi_old(y_t); [N, T]."""
        return F.token_log_ratio(logprobs, batch.old_logprobs)

    @hookimpl
    def clip(self, log_ratio, advantages):
        """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); [N, T]."""
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)

    @hookimpl
    def regularizer(self, values, entropy, batch):
        """value_coef / 2 max((V - R)^2, (V clipped - R)^2) - entropy_coef H; [N, T]."""
        terms = {}
        if self.value_coef:
            loss = F.clipped_value_loss(values, batch.values, batch["returns"], self.value_clip)
            terms["value"] = self.value_coef * loss
        if self.entropy_coef:
            terms["entropy"] = -self.entropy_coef * entropy
        return terms or None

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)

    def _kl_coef(self, batch, state):
        """The coefficient of this rollout; that of the next one is left in the state."""
        if not self.kl_coef or self.kl_target is None:
            return self.kl_coef
        kl_coef = state.get("kl_coef", self.kl_coef)
        kl = float((batch.old_logprobs - batch.ref_logprobs).sum(-1).mean())
        error = min(max(kl / self.kl_target - 1, -0.2), 0.2)
        state["kl_coef"] = kl_coef * (1 + error * min(len(batch) / self.kl_horizon, 1))
        return kl_coef


def token_rewards(batch, kl_coef):
    """-kl_coef (log pi_old(y_t) - log pi_ref(y_t)), and the reward at the last token; [N, T]."""
    rewards = F.at_last_token(batch.rewards, batch.mask)
    return rewards - kl_coef * (batch.old_logprobs - batch.ref_logprobs) if kl_coef else rewards
