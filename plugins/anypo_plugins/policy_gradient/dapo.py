"""Decoupled Clip and Dynamic Sampling Policy Optimization.

Source: Yu et al. 2025, arXiv:2503.14476, section 3.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.dynamic_sampling import unequal_groups
from anypo_plugins.policy_gradient.grpo import GRPO


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
            samples = unequal_groups(samples, self.filter_by, state.setdefault("notes", []))
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


def _punished(sample, start, cache):
    punishment = min(0.0, max(-1.0, (start - sample.length) / cache))
    return replace(sample, reward=sample.reward + punishment)


def _nothing(sample):
    return [False] * len(sample.completion_ids)
