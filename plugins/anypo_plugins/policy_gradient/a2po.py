"""A*-PO, optimal advantage regression.

Source: Brantley et al. 2025, arXiv:2505.20686, algorithm 1. The paper samples from the reference
for all prompts before it trains; here each prompt's turn comes when it is first drawn. TRL drops
prompts none of whose completions was right then.
"""

from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.baselines import name_of, rewards_of, unknown, with_column


class A2PO(Plugin):
    """Regresses the log-ratio to how much better than the best policy's mean a completion is."""

    claims: ClassVar = ("reward_shift",)
    task_options: ClassVar = {
        task: {"prompts_per_step": 128} for task in ("addition", "retry", "calculator")
    }
    task_knobs: ClassVar = {task: {"beta2": 0.1} for task in task_options}

    beta1: float = Field(
        0.5, gt=0, description="Small: V* is near the reference's best reward; large: its mean."
    )
    beta2: float = Field(1e-3, gt=0, description="Weight of the KL to the reference (beta).")
    value_samples: int = Field(
        8, ge=1, description="Completions of the reference that V* of a prompt is estimated from."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """y of every prompt, with V* = beta1 log mean exp(r / beta1) over the reference's."""
        if state.get("a2po_since") != (moved := state.get("reference_moved")):
            state |= {"a2po": {}, "a2po_since": moved}  # V* is another reference's
        values = state.setdefault("a2po", {})
        new = unknown(prompts, values)
        drawn = rewards_of([*new.values()], sampler, scorer, self.value_samples, model="reference")
        values |= {name: self._optimal(rewards) for name, rewards in zip(new, drawn, strict=True)}
        samples = sample_groups(prompts, sampler, scorer, 1)
        return [with_column(s, v_star=values[name_of(prompts[s.group])]) for s in samples]

    def _optimal(self, rewards):
        scaled = torch.tensor(rewards, dtype=torch.float64) / self.beta1
        share = torch.tensor(len(rewards), dtype=torch.float64).log()
        return self.beta1 * float(scaled.logsumexp(0) - share)

    @hookimpl
    def advantage(self, batch):
        """A = r - V*; [N]."""
        return batch.rewards - batch.v_star

    @hookimpl
    def ratio(self, logprobs, batch):
        """log r_i = sum over t of log pi(y_t) - log pi_ref(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages):
        """-(beta2 log r - A)^2; [N, 1]."""
        return -(self.beta2 * log_ratio - advantages).square()

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): a completion's one gain counts once, whatever its length; [N, T]."""
        return F.per_completion_mean(batch.mask)
