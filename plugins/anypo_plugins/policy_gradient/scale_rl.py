"""ScaleRL.

Source: Khatri et al. 2025, arXiv:2510.13786, section 4: its loss, and its choice of prompts.
"""

from collections import defaultdict
from dataclasses import replace
from statistics import mean
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.baselines import name_of
from anypo_plugins.policy_gradient.cispo import CISPO


class ScaleRL(Plugin):
    """CISPO scaled over the batch, every prompt counting the same until it is as good as solved."""

    extends: ClassVar = (CISPO,)

    group_size: int = 16
    solved: float = Field(
        0.9, description="A prompt whose mean reward is this or more is asked no more."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """G completions of every prompt not yet solved, without groups of equal rewards."""
        solved, groups = state.setdefault("solved", set()), defaultdict(list)
        asked = [place for place, prompt in enumerate(prompts) if name_of(prompt) not in solved]
        unsolved = [prompts[place] for place in asked]
        for s in sample_groups(unsolved, sampler, scorer, self.group_size) if unsolved else []:
            groups[asked[s.group]].append(replace(s, group=asked[s.group]))
        good = {place for place, group in groups.items() if _mean(group) >= self.solved}
        solved |= {name_of(prompts[place]) for place in good}
        kept = {place for place, group in groups.items() if _spread(group) > F.EQUAL_REWARDS}
        state.setdefault("dropped", []).extend(set(range(len(prompts))) - kept)
        return [sample for place in kept for sample in groups[place]]

    @hookimpl
    def advantage(self, batch):
        """A_i = (r_i - mean(r)) / std(r), the mean of the group, the std of the batch; [N]."""
        return F.group_standardize(batch.rewards, batch.group, scale="batch")

    @hookimpl
    def weight(self, batch):
        """1 / (prompts * tokens of the prompt): every prompt counts the same; [N, T]."""
        return F.group_token_mean(batch.mask, batch.group)


def _mean(group):
    return mean(sample.reward for sample in group)


def _spread(group):
    rewards = [sample.reward for sample in group]
    return max(rewards) - min(rewards)
