"""Fine-tuning on completions of one's own that were rewarded: rejection sampling.

Source: RFT, Yuan et al. 2023, arXiv:2308.01825, section 3.3, which learns every right one once.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.supervised.sft import SFT


class RFT(Plugin):
    """SFT on those of its own completions that are right."""

    extends: ClassVar = (SFT,)

    group_size: int = Field(4, ge=1, description="Completions sampled per prompt (G).")
    threshold: float = Field(1.0, description="The reward from which a completion is learnt.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """G completions of every prompt; those of r_i >= threshold are learnt, equals once."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        learnt = {_said(s): s for s in reversed(samples) if _reward(s) >= self.threshold}
        return [s if learnt.get(_said(s)) is s else _silent(s) for s in samples]


def _reward(sample):
    return sample.reward


def _said(sample):
    return sample.group, *sample.completion_ids


def _silent(sample):
    return replace(sample, mask=[False] * len(sample.completion_ids))
