"""A moving average of the weights that are trained of a policy: smoother than each of them.

Source: Polyak and Juditsky 1992, doi:10.1137/0330046; exponential as in Kingma and Ba 2015,
arXiv:1412.6980, section 7.2.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """It is in float32, or small steps towards the policy would be lost, and shared as the policy.

    Args:
        model: The policy, as it is trained.
        decay: The share of itself that the average keeps in an update.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        named = model.named_parameters()
        self._policy = {name: weight for name, weight in named if weight.requires_grad}
        self.weights = {name: weight.float().clone() for name, weight in self._policy.items()}
        self._put_aside: list[Tensor] = []  # the policy's own weights, while it shows these

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the policy, which has been updated."""
        for name, weight in self._policy.items():
            self.weights[name].lerp_(weight.float(), 1 - self.decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The policy has the averaged weights as long as the block runs."""
        with torch.no_grad():
            self._put_aside = [weight.detach().clone() for weight in self._policy.values()]
            for name, weight in self._policy.items():
                weight.copy_(self.weights[name])
        try:
            yield
        finally:
            self.hide()

    @torch.no_grad()
    def hide(self) -> None:
        """Give the policy its own weights back, if it has not got them."""
        for weight, own in zip(self._policy.values(), self._put_aside, strict=False):
            weight.copy_(own)
        self._put_aside = []
