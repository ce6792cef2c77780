"""Self-distillation policy optimization.

Source: Hübotter et al. 2026, arXiv:2601.20802: the policy that has read how its attempt fared, and
a better one of its own, teaches the policy that has not. Over the whole vocabulary, not its top.
"""

from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.distillation.gkd import GKD

SOLUTION = "A correct solution:\n{}"
AGAIN = "\n\nAn attempt:\n{}\n\n{}\n\nNow solve it.\n"  # of a prompt that is a text


class SDPO(Plugin):
    """GKD by the policy itself after feedback in words, and after a solution of the same group."""

    extends: ClassVar = (GKD,)
    options: ClassVar = {"teacher": "policy"}

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
        said = [sample.feedback] if sample.feedback else []
        if self.shows:
            others = (s for s in samples if s.group == sample.group and s is not sample)
            right = [sampler.text(s) for s in others if s.reward >= self.success]
            said += map(SOLUTION.format, right[:1])
        columns, words = sample.columns | {"told": float(bool(said))}, "\n\n".join(said)
        if not said:
            return replace(sample, columns=columns)
        attempt, asked = sampler.text(sample), sample.asked_in(prompt)
        written = sample.messages or [{"role": "assistant", "content": attempt}]
        messages = [*written, {"role": "user", "content": words}]
        as_text = isinstance(asked.content, str)
        told = sampler.followed_by(asked, AGAIN.format(attempt, words) if as_text else messages)
        return replace(sample, columns=columns, teacher_prompt_ids=told.ids)

    @hookimpl
    def advantage(self, batch):
        """A = 1 where the teacher was told something, else 0; [N]."""
        return batch.told.to(torch.float32)
