"""A moving average of the weights that are trained of a policy: smoother than each of them.

Source: Polyak and Juditsky 1992, doi:10.1137/0330046; exponential as in Kingma and Ba 2015,
arXiv:1412.6980, section 7.2. BEMA: Block and Zhang 2025, arXiv:2508.00180, algorithm 1, with the
powers and the lag of TRL's `BEMACallback`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

LAG = 10  # rho, of both of BEMA's shares: (LAG + updates) ** power
AVERAGE_POWER = -0.5  # -kappa, of the share of the policy in an update of the average
BIAS_POWER = -0.2  # -eta, of the way from the start to the policy that is added to the average


class Average:
    """It is in float32, or small steps towards the policy would be lost, and shared as the policy.

    Args:
        model: The policy, as it is trained.
        decay: The share of itself that the average keeps in an update.

    Attributes:
        updates: Of the policy so far.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        named = model.named_parameters()
        self._policy = {name: weight for name, weight in named if weight.requires_grad}
        self.weights = {name: weight.float().clone() for name, weight in self._policy.items()}
        self._put_aside: list[Tensor] = []  # the policy's own weights, while it shows these

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the policy, which has been updated."""
        self.updates += 1
        if share := self._share():
            for name, weight in self._policy.items():
                self.weights[name].lerp_(weight.float(), share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The policy has the averaged weights as long as the block runs."""
        with torch.no_grad():
            self._put_aside = [weight.detach().clone() for weight in self._policy.values()]
            for name, weight in self._policy.items():
                weight.copy_(self._shown(name, weight))
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

    def _share(self) -> float:
        """Of the policy, in the average after an update."""
        return 1 - self.decay

    def _shown(self, name: str, own: Tensor) -> Tensor:
        """What the policy shows in the place of a weight of its own."""
        return self.weights[name]


class BiasCorrected(Average):
    """BEMA: an average that does not lag behind, for it goes on from where training began.

    alpha_t (theta_t - theta_0) + EMA_t, EMA_t = (1 - beta_t) EMA_t-1 + beta_t theta_t, with
    alpha_t = (LAG + t) ** BIAS_POWER and beta_t = (LAG + t) ** AVERAGE_POWER after t updates.

    Args:
        model: The policy, as it is before it is trained.
        every: Updates of the policy for one of the average.
    """

    def __init__(self, model: nn.Module, every: int) -> None:
        super().__init__(model, decay=0.0)
        self.every = every
        self._start = {name: weight.clone() for name, weight in self.weights.items()}

    def _share(self) -> float:
        return self._fading(AVERAGE_POWER) if self.updates % self.every == 0 else 0.0

    def _shown(self, name: str, own: Tensor) -> Tensor:
        way = own.float() - self._start[name]
        return self.weights[name] + self._fading(BIAS_POWER) * way

    def _fading(self, power: float) -> float:
        return float((LAG + self.updates) ** power)


def average_of(model: nn.Module, ema: float | None, bema: int | None) -> Average | None:
    """The average that the options ask for."""
    if bema is not None:
        return BiasCorrected(model, bema)
    return None if ema is None else Average(model, ema)
