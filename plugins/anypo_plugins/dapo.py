"""Decoupled Clip and Dynamic Sampling Policy Optimization.

Source: Yu et al. 2025, arXiv:2503.14476, section 3.
"""

from collections import defaultdict
from dataclasses import replace
from math import isnan
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import AnypoError, Plugin, hookimpl
from anypo_plugins.grpo import GRPO


class DAPO(Plugin):
    """GRPO that explores more, learns from every token and skips prompts that teach nothing."""

    extends: ClassVar = (GRPO,)

    group_size: int = 16
    clip_high: float = 0.28
    kl_coef: float = 0.0
    filter_groups: bool = Field(
        True, description="Drop the groups whose raw scores are all equal (dynamic sampling)."
    )
    filter_by: str | None = Field(
        None, description="The reward whose scores these are; else they are the sums of all."
    )
    overlong_cache: int = Field(
        0, ge=0, description="Length of the ramp to full punishment at the limit (L_c); 0: none."
    )
    mask_truncated: bool = Field(
        False, description="No loss on truncated rows; meant instead of overlong punishment."
    )

    @hookimpl(wrapper=True)
    def rollout(self, sampler, state):
        """Groups of unequal scores; r_i + clip((L_max - L_c - |y_i|) / L_c, -1, 0).

        Groups are judged by raw scores: shaped rewards differ even where all answers are wrong.
        """
        samples = yield
        if self.filter_groups:
            samples = self._unequal_groups(samples, state)
        if self.overlong_cache:
            start = sampler.max_completion_length - self.overlong_cache
            samples = [_punished(s, start, self.overlong_cache) for s in samples]
        if self.mask_truncated:
            samples = [replace(s, mask=_nothing(s)) if s.truncated else s for s in samples]
        return samples

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)

    def _unequal_groups(self, samples, state):
        groups = defaultdict(list)
        for sample in samples:
            groups[sample.group].append(sample)
        kept = {name for name, group in groups.items() if self._differ(group)}
        if self.filter_by is None and (hidden := _hidden(groups, kept)):
            state.setdefault("notes", []).append(
                f"filter_groups keeps most groups whose '{hidden}' scores are all equal, because "
                f"another reward tells them apart: --filter-by {hidden} drops them"
            )
        return [sample for sample in samples if sample.group in kept]

    def _differ(self, group):
        if self.filter_by is None:
            return _spread([_raw_score(sample) for sample in group]) > F.EQUAL_REWARDS
        if self.filter_by not in group[0].scores:
            raise AnypoError(
                f"filter_by names '{self.filter_by}', but the rewards of the run are "
                f"{', '.join(group[0].scores)}"
            )
        return _differ_in([self.filter_by], group)


def _punished(sample, start, cache):
    punishment = min(0.0, max(-1.0, (start - len(sample.completion_ids)) / cache))
    return replace(sample, reward=sample.reward + punishment)


def _raw_score(sample):
    applying = [(name, score) for name, score in sample.scores.items() if not isnan(score)]
    return sum(sample.score_weights.get(name, 1.0) * score for name, score in applying)


def _hidden(groups, kept):
    """A reward of right and wrong: most groups that agree in all such are kept for another one."""
    samples = [sample for group in groups.values() for sample in group]
    scores = {name: set(_scores(samples, name)) for name in samples[0].scores}
    binary = [name for name, seen in scores.items() if len(seen) <= 2 and min(seen, default=1) <= 0]
    agree = {name for name, group in groups.items() if not _differ_in(binary, group)}
    if 2 * len(agree & kept) > len(agree) and 0 < len(binary) < len(scores):
        return max(binary, key=lambda name: len(scores[name]))
    return None


def _differ_in(names, group):
    return any(_spread(_scores(group, name)) > F.EQUAL_REWARDS for name in names)


def _scores(group, name):
    """Those of a reward that apply."""
    scores = (sample.scores[name] for sample in group)
    return [score for score in scores if not isnan(score)]


def _spread(scores):
    return max(scores, default=0.0) - min(scores, default=0.0)


def _nothing(sample):
    return [False] * len(sample.completion_ids)
