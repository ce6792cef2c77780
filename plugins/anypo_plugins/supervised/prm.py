"""A process reward model.

Source: Uesato et al. 2022, arXiv:2211.14275; Lightman et al. 2023, arXiv:2305.20050. Every step is
judged from what stands up to its end, so a step is a row: one score per row is the logit of right,
where TRL's PRM has two classes at the token that ends a step.
"""

from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl


class PRM(Plugin):
    """Scores beginnings of solutions by whether their last step is right."""

    options: ClassVar = {"learning_rate": 1e-5}

    @hookimpl
    def rollout(self, prompts):
        """The `completion` of every row, which ends with a step, and the `label` of that step."""
        return [
            prompt.sample("completion", group, label=1.0 if prompt.columns["label"] else -1.0)
            for group, prompt in enumerate(prompts)
        ]

    @hookimpl
    def advantage(self, batch):
        """A = 1 for right, -1 for wrong steps; [N]."""
        return batch["label"]

    @hookimpl
    def ratio(self, logprobs):
        """s(x, y), the model's score, which stands at the last token; [N, 1]."""
        return logprobs.sum(-1, keepdim=True)

    @hookimpl
    def clip(self, log_ratio, advantages):
        """log sigmoid(A s); [N, 1]."""
        return logsigmoid(advantages * log_ratio)

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): every step counts the same; [N, T]."""
        return F.per_completion_mean(batch.mask)

    @hookimpl
    def metrics(self, log_ratio, batch):
        """The scores of right and wrong steps, and how many are judged rightly."""
        label = batch["label"].unsqueeze(-1)
        return {
            "rewards/chosen": torch.where(label > 0, log_ratio, torch.nan),
            "rewards/rejected": torch.where(label < 0, log_ratio, torch.nan),
            "rewards/accuracies": (1 + (label * log_ratio).sign()) / 2,
        }

    @hookimpl
    def requires(self):
        """A model that gives one score per completion."""
        return {"scalar_head"}
