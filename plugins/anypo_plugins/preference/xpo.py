"""Exploratory Preference Optimization.

Source: Xie et al. 2024, arXiv:2405.21046, algorithm 1; one completion is the policy's, and its
rival the reference's, as there. It prints no alpha; 1e-5 is TRL's.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.online_dpo import OnlineDPO, best_and_worst, penalised


class XPO(Plugin):
    """Online DPO against the reference, from whose completions it also moves away to explore."""

    extends: ClassVar = (OnlineDPO,)

    xpo_alpha: float = Field(1e-5, ge=0, description="How much it explores (alpha).")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """A completion of the policy and one of the reference; the better one is chosen."""
        drawn = (sampler.sample(prompts, 1), sampler.sample(prompts, 1, model="reference"))
        rivals = [
            replace(sample, columns={**sample.columns, "of_reference": float(whose)})
            for pair in zip(*drawn, strict=True)
            for whose, sample in enumerate(pair)
        ]
        scored = [penalised(s, self.missing_eos_penalty) for s in scorer(prompts, rivals)]
        pairs = zip(scored[::2], scored[1::2], strict=True)
        return [sample for pair in pairs for sample in best_and_worst(pair, self.ties)]

    @hookimpl
    def regularizer(self, logprobs, batch):
        """xpo_alpha log pi(y) of the reference's completion, for both rows of a pair; [N, 1]."""
        of_reference = batch.mask & (batch["of_reference"] > 0).unsqueeze(-1)
        logprob = F.masked(logprobs, of_reference).sum(-1, keepdim=True)
        return {"explore": self.xpo_alpha * F.pair_sum(logprob, batch.group)}
