"""A policy whose weights are sharded, in one piece."""

from typing import Any

import torch
from transformers import PreTrainedModel


class Replica:
    """A whole copy, for whoever samples from the policy, sends its weights, or saves it.

    Args:
        model: The copy: in every process if all sample from it; else in the first one alone, which
            keeps it in main memory, and None in the others.
    """

    def __init__(self, model: PreTrainedModel | None) -> None:
        self.model = model
        self.is_stale = False  # whether the weights have moved on since

    @torch.no_grad()
    def refresh(self, sharded: Any) -> PreTrainedModel:
        """The copy, with the weights of now; all processes must ask, since each has a part.

        Who has none gets the sharded policy.
        """
        if not self.is_stale:
            return self.model or sharded
        copied = dict(self.model.named_parameters()) if self.model else {}
        for name, weight in sharded.named_parameters():
            if weight.requires_grad:
                whole = weight.full_tensor()  # from all to all
                if self.model:
                    copied[name].copy_(whole)
        self.is_stale = False
        return self.model or sharded
