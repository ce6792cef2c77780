"""Direct Preference Optimization.

Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7; the SFT term: Pang et al. 2024,
arXiv:2404.19733.
"""

from typing import ClassVar, Literal

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.pairwise import Pairwise, comparison


class DPO(Plugin):
    """The policy is its own reward model: it learns to rank pairs by its ratio to a reference."""

    extends: ClassVar = (Pairwise,)
    task_options: ClassVar = {"addition": {"learning_rate": 3e-5}}
    task_knobs: ClassVar = {"addition": {"beta": 1.0}}

    beta: float = Field(0.1, gt=0, description="How strongly the reference holds the policy back.")
    logps: Literal["sum", "mean"] = Field(
        "sum", description="How a completion's log-ratio is made of those of its tokens."
    )
    sft_coef: float = Field(
        0.0, ge=0, description="Weight of the negative log-likelihood of the chosen completions."
    )

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y) / pi_ref(y), the sum or mean over the tokens; [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask, reduce=self.logps)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta h), h = log_ratio(chosen) - log_ratio(rejected); [N, 1]."""
        return logsigmoid(self.beta * F.margin(log_ratio, advantages, batch.group))

    @hookimpl
    def regularizer(self, logprobs):
        """-sft_coef log pi(y_t), of chosen completions only; [N, T]."""
        return {"sft": -self.sft_coef * logprobs} if self.sft_coef else None

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): every pair counts the same; `sft`: every chosen token does; [N, T]."""
        weights = {"policy": F.group_completion_mean(batch.mask, batch.group)}
        if self.sft_coef:
            chosen = batch["preference"].unsqueeze(-1) > 0
            weights["sft"] = F.token_mean(batch.mask & chosen)
        return weights

    @hookimpl
    def metrics(self, log_ratio, batch):
        """The implicit rewards beta log_ratio, compared."""
        return comparison(self.beta * log_ratio, batch)
