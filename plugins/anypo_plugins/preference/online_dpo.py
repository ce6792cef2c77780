"""Online DPO.

Source: Guo et al. 2024, arXiv:2402.04792, algorithm 1.
"""

from dataclasses import replace
from itertools import groupby
from typing import ClassVar, Literal

from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.preference.dpo import DPO


class OnlineDPO(Plugin):
    """DPO on pairs of the policy's own completions: the best against the worst of a prompt."""

    extends: ClassVar = (DPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1, "group_size": 8}}

    group_size: int = Field(2, ge=2, description="Completions sampled per prompt (G).")
    missing_eos_penalty: float = Field(
        0.0, ge=0, description="Taken from the score of a completion without an end."
    )
    ties: Literal["drop", "first"] = Field(
        "drop", description="Equal scores: no pair, or the completion sampled first is chosen."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """Of G scored completions of a prompt, the best as chosen and the worst as rejected."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        by_prompt = groupby(map(self._penalised, samples), key=lambda sample: sample.group)
        return [sample for _, group in by_prompt for sample in self._pair(list(group))]

    def _penalised(self, sample):
        penalty = self.missing_eos_penalty if sample.truncated else 0.0
        return replace(sample, reward=sample.reward - penalty)

    def _pair(self, group):
        best = max(group, key=lambda sample: sample.reward)
        worst = min(reversed(group), key=lambda sample: sample.reward)
        if self.ties == "drop" and best.reward == worst.reward:
            return []
        return [_preferred(best, 1.0), _preferred(worst, -1.0)]


def _preferred(sample, preference):
    return replace(sample, columns={**sample.columns, "preference": preference})
