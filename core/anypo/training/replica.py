"""A policy whose weights are sharded, in one piece."""

import copy
from typing import Any

import torch
from transformers import PreTrainedModel


class Replica:
    """A whole copy, for whoever samples from the policy, sends its weights, or saves it.

    Args:
        model: Before its weights are sharded.
        device: Where the copy lives: where completions are drawn from it, else in main memory.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self.model: PreTrainedModel = copy.deepcopy(model)
        self.model.to(device)  # type: ignore[arg-type]

    @torch.no_grad()
    def refresh(self, sharded: Any) -> PreTrainedModel:
        """The copy, with the weights of now; all processes must ask, since each has a part."""
        pairs = zip(self.model.parameters(), sharded.parameters(), strict=True)
        for mine, theirs in pairs:
            if theirs.requires_grad:
                mine.copy_(theirs.full_tensor())
        return self.model
