"""Supervised fine-tuning.

Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5 (step 1 of InstructGPT).
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class SFT(Plugin):
    """Imitates the completions of a data set; the prompt's tokens are not learnt."""

    options: ClassVar = {"learning_rate": 2e-5, "max_completion_length": 512}

    average: Literal["tokens", "completions"] = Field(
        "tokens", description="What counts the same: every token, or every completion."
    )

    @hookimpl
    def rollout(self, prompts):
        """The `completion` of every row of the data set."""
        return [prompt.sample("completion", group) for group, prompt in enumerate(prompts)]

    @hookimpl
    def advantage(self, batch):
        """A = 1: all that is shown is good; [N]."""
        return torch.ones(len(batch), device=batch.mask.device)

    @hookimpl
    def ratio(self, logprobs):
        """log pi(y_t), compared with nothing; [N, T]."""
        return logprobs

    @hookimpl
    def clip(self, log_ratio, advantages):
        """A log pi(y_t), never clipped; [N, T]."""
        return advantages * log_ratio

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|, or 1 / (N |y_i|); [N, T]."""
        if self.average == "tokens":
            return F.token_mean(batch.mask)
        return F.per_completion_mean(batch.mask)
