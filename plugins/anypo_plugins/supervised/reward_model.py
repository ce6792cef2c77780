"""A reward model of preferences, by Bradley and Terry.

Source: Ouyang et al. 2022, arXiv:2203.02155, equation 1; the margin: Llama 2, Touvron et al. 2023,
arXiv:2307.09288, equation 2; centring: Eisenstein et al. 2023, arXiv:2312.09244.
"""

from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.pairwise import Pairwise, comparison


class RewardModel(Plugin):
    """Scores the chosen completion of a pair higher; its model is the `--reward` of other runs."""

    extends: ClassVar = (Pairwise,)
    options: ClassVar = {"learning_rate": 1e-4}

    margin: bool = Field(
        False, description="Whether a column `margin` says by how much the scores shall differ."
    )
    center_coef: float = Field(
        0.0, ge=0, description="Weight of the squared sum of a pair's scores; 0.01 is usual."
    )

    @hookimpl(wrapper=True)
    def rollout(self, prompts):
        """The `margin` of every row goes with its pair."""
        samples = yield
        if not self.margin:
            return samples
        return [_with_margin(sample, prompts[sample.group]) for sample in samples]

    @hookimpl
    def ratio(self, logprobs):
        """s(x, y), the model's score, which stands at the last token; [N, 1]."""
        return logprobs.sum(-1, keepdim=True)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(s(chosen) - s(rejected) - margin); [N, 1]."""
        difference = F.margin(log_ratio, advantages, batch.group)
        return logsigmoid(difference - batch["margin"].unsqueeze(-1) if self.margin else difference)

    @hookimpl
    def regularizer(self, logprobs, batch):
        """center_coef (s(chosen) + s(rejected))^2; [N, 1]."""
        if not self.center_coef:
            return None
        total = F.group_sum(logprobs.sum(-1), batch.group).unsqueeze(-1)
        return {"center": self.center_coef * total.square()}

    @hookimpl
    def metrics(self, log_ratio, batch):
        """The scores, compared."""
        return comparison(log_ratio, batch)

    @hookimpl
    def requires(self):
        """A model that gives one score per completion."""
        return {"scalar_head"}


def _with_margin(sample, prompt):
    return replace(sample, columns={**sample.columns, "margin": float(prompt.columns["margin"])})
