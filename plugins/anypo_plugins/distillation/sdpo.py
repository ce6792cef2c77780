"""Self-distillation policy optimization.

Source: Hübotter et al. 2026, arXiv:2601.20802, section 2: the policy that has read how its attempt
fared, and a better one of its own, teaches the policy that has not. It does not read the attempt
(table 6), and is a moving average (table 4). Over the whole vocabulary, not its top.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.distillation.gkd import GKD

SOLUTION = "\n\nA correct solution:\n{}"
FEEDBACK = "\n\nFeedback on an earlier attempt:\n{}"
AGAIN = "\n\nNow solve it.\n"


class SDPO(Plugin):
    """GKD by the policy itself after feedback in words, and after a solution of the same group."""

    extends: ClassVar = (GKD,)
    options: ClassVar = {"teacher": "average"}

    beta: float = 1.0
    group_size: int = Field(8, ge=2, description="Completions sampled per prompt (G).")
    success: float = Field(1.0, description="The reward of a completion that shows others how.")
    shows: bool = Field(True, description="Whether such a one of the same group is shown.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """G rewarded completions of every prompt, each with what the teacher reads before it."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        return [self._told(prompts[s.group], s, samples, sampler) for s in samples]

    def _told(self, prompt, sample, samples, sampler):
        """A sample of which there is nothing to tell teaches nothing."""
        said: list[str] = []
        if self.shows:
            others = (s for s in samples if s.group == sample.group and s is not sample)
            right = [sampler.text(s) for s in others if s.reward >= self.success]
            said += map(SOLUTION.format, right[:1])
        if sample.feedback:
            said.append(FEEDBACK.format(sample.feedback))
        sample = replace(sample, columns=sample.columns | {"told": float(bool(said))})
        if not said:
            return sample
        asked = sampler.followed_by(sample.asked_in(prompt), "".join([*said, AGAIN]))
        return replace(sample, teacher_prompt_ids=asked.ids)

    @hookimpl
    def advantage(self, batch):
        """A = 1 where the teacher was told something, else 0; [N]."""
        return batch.told.to(torch.float32)
