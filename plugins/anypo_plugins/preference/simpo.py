"""Simple Preference Optimization.

Source: Meng et al. 2024, arXiv:2405.14734. The paper sets beta and gamma for each model; the
defaults are those for Llama 3 Instruct.
"""

from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class SimPO(Plugin):
    """Compares mean log-probs, by a margin to be kept, and needs no reference."""

    extends: ClassVar = (DPO,)
    task_options: ClassVar = {"addition": {"learning_rate": 1e-5}}
    task_knobs: ClassVar = {"addition": {"beta": 2.5}}

    beta: float = Field(2.5, gt=0, description="What a nat per token is worth.")
    simpo_gamma: float = Field(1.375, ge=0, description="The lead that the chosen is to have.")

    @hookimpl
    def ratio(self, logprobs, batch):
        """mean over t of log pi(y_t); [N, 1]."""
        return F.mean_logprob(logprobs, batch.mask)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta h - simpo_gamma), h the margin of mean log-probs; [N, 1]."""
        h = F.margin(log_ratio, advantages, batch.group)
        return logsigmoid(self.beta * h - self.simpo_gamma)
