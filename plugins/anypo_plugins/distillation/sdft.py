"""Self-distillation fine-tuning.

Source: Shenfeld et al. 2026, arXiv:2601.19897: the policy that has been shown more, such as a
demonstration, teaches the policy that has not, on what the latter writes.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.distillation.gkd import GKD


class SDFT(Plugin):
    """GKD by the moving average of itself, after the column `privileged_context` of each row."""

    extends: ClassVar = (GKD,)
    options: ClassVar = {"teacher": "average"}

    beta: float = 1.0
    group_size: int = Field(2, ge=1, description="Completions sampled per prompt (G).")

    @hookimpl
    def rollout(self, prompts, sampler):
        """G completions y of every x; the teacher reads x and its `privileged_context` before y."""
        context = [prompt.columns["privileged_context"] for prompt in prompts]
        samples = sampler.sample(prompts, self.group_size)
        asked = [(s, s.asked_in(prompts[s.group]), context[s.group]) for s in samples]
        return [replace(s, teacher_prompt_ids=sampler.followed_by(x, c).ids) for s, x, c in asked]
