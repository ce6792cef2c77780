"""What learning from pairs has in common: rows that hold a chosen and a rejected completion.

Source: Christiano et al. 2017, arXiv:1706.03741, section 2.2.
"""

from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl


class Pairwise(Plugin):
    """Pairs of a data set, every pair counting the same. How they are compared is left open."""

    couples: ClassVar = "group"

    @hookimpl
    def rollout(self, prompts):
        """The `chosen` and the `rejected` completion of every row of the data set, as a group."""
        return [
            prompt.sample(column, group, preference=preference)
            for group, prompt in enumerate(prompts)
            for column, preference in (("chosen", 1.0), ("rejected", -1.0))
        ]

    @hookimpl
    def advantage(self, batch):
        """A = 1 for chosen, -1 for rejected completions; [N]."""
        return batch["preference"]

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|): every pair counts the same; [N, T]."""
        return F.group_completion_mean(batch.mask, batch.group)


def comparison(rewards, batch):
    """Metrics of the rewards [N, 1] of pairs, such as how often the chosen one has the higher.

    A tie is half right, as it is in the area under a ROC curve: who cannot tell is right by chance.
    """
    preference = batch["preference"].unsqueeze(-1)
    margins = F.margin(rewards, preference, batch.group)
    return {
        "rewards/chosen": torch.where(preference > 0, rewards, torch.nan),
        "rewards/rejected": torch.where(preference < 0, rewards, torch.nan),
        "rewards/margins": margins,
        "rewards/accuracies": (1 + margins.sign()) / 2,
    }
