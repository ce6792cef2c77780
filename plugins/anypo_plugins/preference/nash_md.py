"""Nash learning from human feedback, by mirror descent: Nash-MD-PG.

Source: Munos et al. 2023, arXiv:2312.00886, Nash-MD-PG. There the rival is drawn from a geometric
mixture of policy and reference, token by token; a sampler draws from one model, so here it is the
reference, the mixture's end at a coefficient of 1. TRL takes the KL of each token by itself.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.ppo import PPO


class NashMD(Plugin):
    """Policy gradient on the probability of beating a rival, held back by a KL to the reference."""

    extends: ClassVar = (PPO,)
    claims: ClassVar = ("reward_shift",)

    kl_coef: float = 0.1
    value_coef: float = Field(0.0, le=0, description="There is no critic to learn anything.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """Own completions; r = P(y beats y') = sigmoid(their lead), y' of the reference."""
        models = ("policy", "reference")
        drawn = (sampler.sample(prompts, self.group_size, model=model) for model in models)
        scored = scorer(prompts, [sample for pair in zip(*drawn, strict=True) for sample in pair])
        return [
            replace(own, reward=torch.tensor(own.reward - rival.reward).sigmoid().item())
            for own, rival in zip(scored[::2], scored[1::2], strict=True)
        ]

    @hookimpl
    def advantage(self, batch):
        """A = P - 1 / 2 - kl_coef log pi_old(y) / pi_ref(y); [N]."""
        lead = batch.rewards - 0.5
        if not self.kl_coef:
            return lead
        drift = F.sequence_log_ratio(
            batch.old_logprobs, batch.ref_logprobs, batch.mask, reduce="sum"
        )
        return lead - self.kl_coef * drift.squeeze(-1)

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y) / pi_old(y), summed over the tokens; [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): a completion's one gain counts once, whatever its length; [N, T]."""
        return F.per_completion_mean(batch.mask)
