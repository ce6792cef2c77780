"""Group Relative Policy Optimization.

Source: DeepSeekMath, Shao et al. 2024, arXiv:2402.03300, section 4.1.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups


class GRPO(Plugin):
    """PPO without a critic: the group of completions to one prompt is its own baseline."""

    claims: ClassVar = ("reward_shift", "reward_scale")

    group_size: int = Field(8, ge=2, description="Completions sampled per prompt (G).")
    clip_low: float = Field(0.2, gt=0, description="The ratio may fall to 1 - clip_low.")
    clip_high: float = Field(0.2, gt=0, description="The ratio may rise to 1 + clip_high.")
    kl_coef: float = Field(
        0.04, ge=0, description="Weight of the KL penalty (beta); 0 needs no reference model."
    )
    kl_estimator: F.Estimator = Field("k3", description="What estimates the KL divergence.")
    kl_gradient: F.KLGradient = Field("naive", description="How the estimate is differentiated.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """G completions y_1 … y_G of every prompt, each with its reward."""
        return sample_groups(prompts, sampler, scorer, self.group_size)

    @hookimpl
    def advantage(self, batch):
        """A_i = (r_i - mean(r)) / std(r), over the rewards of a group; [N]."""
        return F.group_standardize(batch.rewards, batch.group)

    @hookimpl
    def ratio(self, logprobs, batch):
        """log r_t = log pi(y_t) - log pi_old(y_t); [N, T]."""
        return F.token_log_ratio(logprobs, batch.old_logprobs)

    @hookimpl
    def clip(self, log_ratio, advantages):
        """min(r A, clip(r, 1 - clip_low, 1 + clip_high) A); [N, T]."""
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)

    @hookimpl
    def regularizer(self, logprobs, batch):
        """kl_coef * KL(pi || pi_ref), an estimate per token; [N, T]."""
        if not self.kl_coef:
            return None
        kl = F.kl_penalty(
            logprobs,
            batch.ref_logprobs,
            batch.old_logprobs,
            estimator=self.kl_estimator,
            gradient=self.kl_gradient,
        )
        return {"kl": self.kl_coef * kl}

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): every completion counts the same, whatever its length; [N, T]."""
        return F.per_completion_mean(batch.mask)
