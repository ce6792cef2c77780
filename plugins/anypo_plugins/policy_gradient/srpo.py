"""Two-staged history-Resampling Policy Optimization.

Source: Zhang et al. 2025, arXiv:2504.14286. Its two stages, mathematics and then code,
are two runs.
"""

from dataclasses import replace
from itertools import groupby
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.policy_gradient.baselines import name_of
from anypo_plugins.policy_gradient.grpo import GRPO


class SRPO(Plugin):
    """GRPO that does not draw again for a prompt whose completions were all right."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ()

    kl_coef: float = 0.0
    right_above: float = Field(0.5, description="The reward above which a completion is right.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """G completions of every prompt of which they were not all right the last time."""
        easy = state.setdefault("srpo", set())
        names = [name_of(prompt) for prompt in prompts]
        places = [place for place, name in enumerate(names) if name not in easy]
        asked = [prompts[place] for place in places]
        drawn = sample_groups(asked, sampler, scorer, self.group_size) if asked else []
        samples = [replace(sample, group=places[sample.group]) for sample in drawn]
        for place, group in groupby(samples, key=lambda sample: sample.group):
            if all(map(self._is_right, group)):
                easy.add(names[place])
        return samples

    def _is_right(self, sample):
        return sample.reward > self.right_above

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
