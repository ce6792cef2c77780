"""Odds Ratio Preference Optimization.

Source: Hong et al. 2024, arXiv:2403.07691, equations 4 to 7.
"""

from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class ORPO(Plugin):
    """SFT on the chosen completions and an odds ratio against the rejected ones; no reference."""

    extends: ClassVar = (DPO,)
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1}}

    beta: float = Field(0.1, gt=0, description="Weight of the odds ratio (lambda).")
    sft_coef: float = Field(1.0, ge=0)

    @hookimpl
    def ratio(self, logprobs, batch):
        """log odds(y) = log(p / (1 - p)), log p = mean over t of log pi(y_t); [N, 1]."""
        return F.log_odds(F.mean_logprob(logprobs, batch.mask))

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """beta log sigmoid(h), h = log odds(chosen) - log odds(rejected); [N, 1]."""
        return self.beta * logsigmoid(F.margin(log_ratio, advantages, batch.group))
