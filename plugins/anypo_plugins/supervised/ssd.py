"""Simple self-distillation.

Source: Zhang et al. 2026, arXiv:2604.01193: all completions of the model before training are
learnt, none is judged. Which temperature and truncation suit it depends on the model.
"""

from typing import ClassVar

from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.supervised.sft import SFT


class SSD(Plugin):
    """SFT on what the model before training writes when it is sampled in another way."""

    extends: ClassVar = (SFT,)

    group_size: int = Field(1, ge=1, description="Completions sampled per prompt (G).")
    frozen: bool = Field(
        True, description="Draw from the model before training, or, as adapters need, from itself."
    )
    draw_temperature: float = Field(0.7, gt=0, description="At which they are drawn.")
    draw_top_k: int = Field(20, ge=1, description="They are drawn from the likeliest k tokens.")

    @hookimpl
    def rollout(self, prompts, sampler):
        """G completions of every prompt, unfiltered."""
        return sampler.sample(
            prompts,
            self.group_size,
            temperature=self.draw_temperature,
            top_k=self.draw_top_k,
            model="reference" if self.frozen else "policy",
        )
