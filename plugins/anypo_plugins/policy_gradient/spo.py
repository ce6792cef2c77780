"""Single-stream Policy Optimization.

Source: Xu and Ding 2025, arXiv:2509.13232, section 4, with the constant forgetting of its reference
implementation: the paper's follows the KL since a prompt was last drawn. Prompts are drawn as ever,
not by how uncertain their values are.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.baselines import name_of, rewards_of, unknown, with_column
from anypo_plugins.policy_gradient.grpo import GRPO


class SPO(Plugin):
    """One completion per prompt: what the prompt earned in earlier steps is its baseline."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")
    task_options: ClassVar = {
        task: {"prompts_per_step": 128} for task in ("addition", "retry", "calculator")
    }

    group_size: int = Field(1, ge=1, description="Completions sampled per prompt (G).")
    clip_high: float = 0.28
    kl_coef: float = 0.0
    rho: float = Field(
        0.875, ge=0, lt=1, description="Share that a prompt's value keeps of what it was."
    )
    value_samples: int = Field(
        8, ge=1, description="Completions that a prompt's first value is the mean reward of."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """y of every prompt, with v(x); then v(x) = rho v(x) + (1 - rho) r."""
        values = state.setdefault("spo", {})
        new = unknown(prompts, values)
        drawn = rewards_of([*new.values()], sampler, scorer, self.value_samples)
        values |= {name: sum(r) / len(r) for name, r in zip(new, drawn, strict=True)}
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        names = [name_of(prompts[sample.group]) for sample in samples]
        judged = [with_column(s, baseline=values[n]) for s, n in zip(samples, names, strict=True)]
        for name, sample in zip(names, samples, strict=True):
            values[name] += (1 - self.rho) * (sample.reward - values[name])
        return judged

    @hookimpl
    def advantage(self, batch):
        """A = r - v(x), standardised over the batch; [N]."""
        return F.group_standardize(batch.rewards - batch.baseline, torch.zeros_like(batch.group))

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
