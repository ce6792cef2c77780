"""Slopes of a loss by finite differences, to hold its gradient against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from anypo.composition.algorithm import Algorithm
from anypo.composition.loss import Loss
from anypo.composition.trial import loss_of
from anypo.testing.cases import Case, prepared
from anypo.testing.outcome import backward, least_precise

CLOSE = 1e-4  # of the largest slope

Scored = Callable[[dict[str, Tensor]], Loss]  # the loss of the inputs


@dataclass(frozen=True)
class Slope:
    """How the loss really changes at a token, and what its gradient says."""

    name: str  # of the input
    row: int
    token: int
    measured: float
    gradient: float


def wrong_slope(algorithm: Algorithm, case: Case, *, hold: bool) -> Slope | None:
    """The token where loss and gradient disagree most, if they do.

    A first look moves all tokens at once, in random directions; only if the loss changes by
    something else than the gradient says, each token is looked at.

    Args:
        algorithm: Whose loss.
        case: In float64.
        hold: Whether what the loss detaches stays as it is while its inputs move.
    """
    ready = prepared(algorithm, case)

    def loss(inputs: dict[str, Tensor]) -> Loss:
        return loss_of(algorithm, ready, inputs)

    leaves = {name: x.clone().requires_grad_() for name, x in case.inputs.items()}
    at_case = loss(leaves)
    backward(algorithm, at_case.total)
    gradients = {n: torch.zeros_like(x) if x.grad is None else x.grad for n, x in leaves.items()}
    step = torch.finfo(least_precise(at_case)).eps ** (1 / 3) / 4
    with _held(loss, case) if hold else _untouched(loss) as moved_loss:
        for name, gradient in gradients.items():
            generator = torch.Generator().manual_seed(1)
            random = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            direction = torch.where(case.batch.mask, random, 0)
            size = float((gradient * direction).abs().sum())
            gap = _measure(moved_loss, case, name, direction, step) - (gradient * direction).sum()
            if abs(float(gap)) > _allowed(size, step):
                return _worst(moved_loss, case, name, gradient, step)
    return None


def _measure(loss: Scored, case: Case, name: str, direction: Tensor, step: float) -> float:
    above, below = (
        loss({**case.inputs, name: case.inputs[name] + side * step * direction}).total.double()
        for side in (1, -1)
    )
    return float(above - below) / (2 * step)


def _allowed(size: float, step: float) -> float:
    return max(CLOSE, step) * max(size, 1e-3)


def _worst(loss: Scored, case: Case, name: str, gradient: Tensor, step: float) -> Slope | None:
    slopes = []
    for row, token in case.batch.mask.nonzero().tolist():
        one = torch.zeros_like(gradient)
        one[row, token] = 1
        measured = _measure(loss, case, name, one, step)
        slopes.append(Slope(name, row, token, measured, float(gradient[row, token])))
    worst = max(slopes, key=lambda slope: abs(slope.measured - slope.gradient), default=None)
    size = max((abs(slope.measured) for slope in slopes), default=0.0)
    # Beside a kink, such as a clip's, the random direction may have been wrong where no token is.
    is_wrong = worst and abs(worst.measured - worst.gradient) > _allowed(size, step)
    return worst if is_wrong else None


@contextmanager
def _untouched(loss: Scored) -> Iterator[Scored]:
    yield loss


@contextmanager
def _held(loss: Scored, case: Case) -> Iterator[Scored]:
    """A loss that detaches what it detached at the case's own inputs, in the same order."""
    tape: list[Tensor] = []
    with _Tape(tape, replay=False):
        loss(case.inputs)

    def moved(inputs: dict[str, Tensor]) -> Loss:
        with _Tape(list(tape), replay=True):
            return loss(inputs)

    yield moved


class _Tape(TorchFunctionMode):
    """Records what `detach` returns, or returns what was recorded."""

    def __init__(self, tape: list[Tensor], *, replay: bool) -> None:
        super().__init__()
        self.tape, self.replay = tape, replay

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") != "detach":
            return result
        if self.replay:
            return self.tape.pop(0) if self.tape else result
        self.tape.append(result.clone())
        return result
