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
        paid = (penalised(sample, self.missing_eos_penalty) for sample in samples)
        by_prompt = groupby(paid, key=lambda sample: sample.group)
        return [s for _, group in by_prompt for s in best_and_worst(list(group), self.ties)]


def penalised(sample, missing_eos_penalty):
    """The sample with a lower reward if it has no end."""
    return replace(sample, reward=sample.reward - missing_eos_penalty * sample.truncated)


def best_and_worst(group, ties):
    """The best of some samples as chosen and the worst as rejected; nothing if a tie is dropped."""
    best = max(group, key=lambda sample: sample.reward)
    worst = min(reversed(group), key=lambda sample: sample.reward)
    if ties == "drop" and best.reward == worst.reward:
        return []
    return [_preferred(best, 1.0), _preferred(worst, -1.0)]


def _preferred(sample, preference):
    return replace(sample, columns={**sample.columns, "preference": preference})
