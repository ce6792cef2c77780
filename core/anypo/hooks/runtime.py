"""Where and how models are run."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Runtime:
    """Where and how models are run: policy, reference, reward models and samplers alike."""

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32  # of computation; weights may be more precise
    token_budget: int = 16384  # tokens at a time through a model, padding included
    trust_remote_code: bool = False  # whether to run Python code that comes with a model

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a forward pass has the precision of computation."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)
