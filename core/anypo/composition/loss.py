"""What to minimise, and what it is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from anypo import functional as F
from anypo.errors import PluginError
from anypo.hooks.batch import Batch

Metrics = dict[str, tuple[Float[Tensor, ""], Float[Tensor, ""]]]  # (sum, count) pairs


@dataclass(frozen=True)
class Loss:
    """What to minimise, and what it is made of; all of it adds up over micro-batches."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]  # by name, detached; `policy` is the negated gain
    metrics: Metrics

    def plus(self, name: str, term: Float[Tensor, ""]) -> "Loss":
        """The loss with one more term."""
        terms = {**self.terms, name: self.terms.get(name, 0) + term.detach()}
        return Loss(self.total + term, terms, self.metrics)


def weighted(x: Tensor, name: str, batch: Batch) -> Float[Tensor, ""]:
    """The sum of a term, [N, T] or [N, 1], over all unmasked tokens, by the weights of its name."""
    weights = batch.weights.get(name, batch.weights["policy"])
    return F.masked(weights.to(x.dtype) * x, batch.mask).sum()


def guarded(entropy: Tensor, blame: Callable[[], str]) -> Tensor:
    """A constant from which nothing may learn: a backward pass through it raises PluginError."""

    def refuse(_: Tensor) -> None:
        raise PluginError(
            f"{blame()} pays for the entropy in some batches only, where it is a constant: name "
            "'entropy' in its `requires` hook"
        )

    constant = entropy.detach().requires_grad_()
    constant.register_hook(refuse)
    return constant
