"""What comes out of the stages for a case, and where two outcomes part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anypo import functional as F
from anypo.composition.algorithm import Algorithm
from anypo.composition.loss import Loss
from anypo.composition.trial import loss_of
from anypo.errors import PluginError
from anypo.hooks.specs import State
from anypo.testing.cases import Case, prepared

TOLERANCE = 1e-6  # of the largest number that is compared

Parts = Sequence[Sequence[int]]  # rows, by part


@dataclass(frozen=True)
class Outcome:
    """A loss, its gradient, and the answers on the way to it."""

    total: float
    terms: dict[str, float]
    gradients: dict[str, Tensor]  # by input, [N, T] each
    answers: dict[tuple[str, str], Tensor]  # by (stage, name), in the order of the stages
    mask: Tensor
    dtype: torch.dtype  # of the least precise loss term

    def restored(self, restore: Callable[[Tensor], Tensor]) -> Outcome:
        """The outcome with its rows and tokens put where another outcome has them."""
        return replace(
            self,
            gradients={name: restore(x) for name, x in self.gradients.items()},
            answers={key: restore(x) for key, x in self.answers.items()},
            mask=restore(self.mask),
        )

    @property
    def is_finite(self) -> bool:
        """Whether the loss and all of its gradient are."""
        return math.isfinite(self.total) and all(
            bool(x.isfinite().all()) for x in self.gradients.values()
        )


def evaluate(
    algorithm: Algorithm, case: Case, parts: Parts | None = None, state: State | None = None
) -> Outcome:
    """Run a case through all stages, the loss in parts of rows if asked for.

    Raises:
        PluginError: A stage fails, or the loss has no gradient that can be computed.
    """
    ready = prepared(algorithm, case.each(torch.clone), state)  # it may be edited in place
    leaves = {name: x.detach().clone().requires_grad_() for name, x in case.inputs.items()}
    parts = [range(len(case))] if parts is None else parts
    losses, log_ratios = [], []
    for part in parts:
        rows = torch.tensor(list(part), dtype=torch.long, device=ready.mask.device)
        inputs, batch = {name: x[rows] for name, x in leaves.items()}, ready.rows(rows)
        with torch.no_grad():
            log_ratios.append(algorithm.log_ratio(F.masked(inputs["logprobs"], batch.mask), batch))
        losses.append(loss_of(algorithm, batch, inputs))
        backward(algorithm, losses[-1].total)
    order = [row for part in parts for row in part]
    zeros = torch.zeros_like(case.inputs["logprobs"])
    return Outcome(
        total=sum(loss.total.item() for loss in losses),
        terms={k: sum(loss.terms[k].item() for loss in losses) for k in losses[0].terms},
        gradients={name: zeros if x.grad is None else x.grad for name, x in leaves.items()},
        answers={
            **{("advantage", name): ready[name] for name in ready if name not in case.batch},
            **{("weight", name): x for name, x in ready.weights.items()},
            ("ratio", "log-ratio"): torch.cat(log_ratios)[_inverse(order)],
        },
        mask=ready.mask,
        dtype=least_precise(losses[0]),
    )


def backward(algorithm: Algorithm, total: Tensor) -> None:
    """Compute the gradient of a loss. Raises PluginError if that fails."""
    try:
        if total.requires_grad:
            total.backward()
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise PluginError(
            f"the gradient of {algorithm.name} cannot be computed: {type(error).__name__}: {reason}"
        ) from error


def least_precise(loss: Loss) -> torch.dtype:
    """The dtype of the term of a loss that has the fewest bytes."""
    return min((term.dtype for term in loss.terms.values()), key=lambda dtype: dtype.itemsize)


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


@dataclass(frozen=True)
class Difference:
    """Where two outcomes that should agree part."""

    stage: str  # the first one that answers differently
    text: str


def difference(expected: Outcome, came: Outcome, tolerance: float = TOLERANCE) -> Difference | None:
    """The first stage, in the order of the stages, that makes two outcomes differ."""
    if came.dtype.itemsize < torch.float64.itemsize:
        tolerance = max(tolerance, 1e-4 if tolerance else 0.0)
    if _near(expected.total, came.total, tolerance, _size(expected)) and not any(
        _apart(x, came.gradients[name], expected.mask, tolerance)
        for name, x in expected.gradients.items()
    ):
        return None
    for (stage, name), x in expected.answers.items():
        other = came.answers.get((stage, name))
        where = None if other is None else _apart(x, other, expected.mask, tolerance)
        if where:
            return Difference(stage, f"{name} {where}")
    return _in_the_loss(expected, came, tolerance)


def _in_the_loss(expected: Outcome, came: Outcome, tolerance: float) -> Difference:
    for name, term in expected.terms.items():
        other = came.terms.get(name, 0.0)
        if not _near(term, other, tolerance, _size(expected)):
            stage = "clip" if name == "policy" else "regularizer"
            return Difference(stage, f"the loss term '{name}' is {other:.6g} instead of {term:.6g}")
    for name, x in expected.gradients.items():
        if where := _apart(x, came.gradients[name], expected.mask, tolerance):
            return Difference("clip", f"the gradient in {name} {where}")
    return Difference("clip", f"the loss is {came.total:.6g} instead of {expected.total:.6g}")


def _size(outcome: Outcome) -> float:
    """How large the numbers are whose sum the loss is."""
    return max([1e-3, *(abs(term) for term in outcome.terms.values() if math.isfinite(term))])


def _near(one: float, other: float, tolerance: float, size: float) -> bool:
    return one == other or (one != one and other != other) or abs(one - other) <= tolerance * size


def _apart(x: Tensor, other: Tensor, mask: Tensor, tolerance: float) -> str:
    """Where two tensors of rows differ at unmasked tokens, in words; empty if nowhere."""
    if x.shape != other.shape:
        return f"has shape {list(other.shape)} instead of {list(x.shape)}"
    seen = mask if x.shape == mask.shape else torch.ones_like(x, dtype=torch.bool)
    one, two = x.double().cpu(), other.double().cpu()
    finite = one[seen.cpu() & one.isfinite()]
    size = max(1e-3, float(finite.abs().max())) if len(finite) else 1e-3
    agree = (one == two) | (one.isnan() & two.isnan()) | ((one - two).abs() <= tolerance * size)
    places = (seen.cpu() & ~agree).nonzero()
    if not len(places):
        return ""
    place = tuple(places[0].tolist())
    named = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "token"), place, strict=False))
    return f"is {float(two[place]):.6g} instead of {float(one[place]):.6g} at {named}"
