"""Triple Preference Optimization: TPO, and TPO-L with `logps` = mean and a margin.

Source: Saeidi et al. 2024, arXiv:2405.16681. The golden completion is the column `completion`,
which TRL calls `reference`.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.cpo import CPO
from anypo_plugins.preference.pairwise import comparison


class TPO(Plugin):
    """Compares a pair without a reference, and imitates a third completion, the golden one."""

    extends: ClassVar = (CPO,)

    beta: float = 0.01
    tpo_gamma: float = Field(0.0, ge=0, description="The lead that the chosen is to have.")

    @hookimpl
    def rollout(self, prompts):
        """The `chosen`, the `rejected` and the golden `completion` of every row, as a group."""
        return [
            prompt.sample(column, group, preference=preference)
            for group, prompt in enumerate(prompts)
            for column, preference in (("chosen", 1.0), ("rejected", -1.0), ("completion", 0.0))
        ]

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta h - tpo_gamma), h = log_ratio(chosen) - log_ratio(rejected); [N, 1]."""
        h = F.margin(log_ratio, advantages, batch.group)
        return logsigmoid(self.beta * h - self.tpo_gamma)

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|) of pairs; `sft`: every token of golden completions the same; [N, T]."""
        golden = batch.mask & (batch["preference"] == 0).unsqueeze(-1)
        pairs = F.group_completion_mean(batch.mask & ~golden, batch.group)
        return {"policy": pairs, "sft": F.token_mean(golden)}

    @hookimpl
    def metrics(self, log_ratio, batch):
        """DPO's, of the rows of pairs alone."""
        golden = (batch["preference"] == 0).unsqueeze(-1)
        compared = comparison(self.beta * log_ratio, batch)
        return {name: torch.where(golden, torch.nan, x) for name, x in compared.items()}
