"""What is compared: a case says what both are given, a trace what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Named = dict[str, Tensor]  # by the name of the parameter

LENGTH = 8  # tokens of the longest completion that is replayed
LEARNING_RATE = 1e-3
STEPS = 3
LORA = {"lora_rank": 4, "lora_alpha": 8}  # of anypo and of TRL


@dataclass(frozen=True)
class Case:
    """One comparison."""

    name: str
    family: str  # one of `theirs.FAMILIES`: which of TRL's trainers
    algorithm: str  # as `anypo run` takes it
    ours: Mapping[str, Any] = field(default_factory=dict)  # options and knobs
    theirs: Mapping[str, Any] = field(default_factory=dict)  # fields of TRL's configuration
    rows: str = "texts"  # one of `rows.ROWS`
    model: str = "llama"  # one of `models.MODELS`
    rewards: tuple[str, ...] = ("score",)  # functions of `rewards`
    hooks: Mapping[str, str] = field(default_factory=dict)  # stages of anypo's from other plugins
    template: str = "plain"  # one of `models.TEMPLATES`
    reason: str = ""  # why they are not equal, where they are not

    @property
    def id(self) -> str:
        """What no other case is called."""
        return f"{self.family}: {self.name}"


@dataclass(frozen=True)
class Trace:
    """What one library made of a case."""

    losses: list[float]  # of each step
    gradients: list[Named]  # of each step of the optimizer, of which a step may have several
    before: Named  # the weights
    after: Named


@dataclass(frozen=True)
class Differences:
    """How far two traces are apart, relative to the larger of the two."""

    loss: float  # absolute where it is below 1
    gradient: float
    weights: float  # relative to how far they moved

    @property
    def rounding(self) -> bool:
        """Whether it is no more than what the order of sums makes of float32.

        AdamW divides gradients by their size, so it makes more of the small ones.
        """
        return self.loss < 1e-5 and self.gradient < 1e-4 and self.weights < 5e-4


def compare(ours: Trace, theirs: Trace) -> Differences:
    """The largest differences of all steps.

    Raises:
        ValueError: They made different numbers of steps, or trained different weights.
    """
    if ours.after.keys() != theirs.after.keys():
        raise ValueError(f"not both trained {sorted(ours.after.keys() ^ theirs.after.keys())}")
    losses = list(zip(ours.losses, theirs.losses, strict=True))
    gradients = list(zip(ours.gradients, theirs.gradients, strict=True))
    moved = {name: theirs.after[name] - theirs.before[name] for name in theirs.after}
    mine = {name: ours.after[name] - ours.before[name] for name in ours.after}
    return Differences(
        max(abs(a - b) / max(abs(a), abs(b), 1.0) for a, b in losses),
        max(_apart(a, b) for a, b in gradients),
        _apart(mine, moved),
    )


def _apart(a: Named, b: Named) -> float:
    """The norm of the difference, relative to the larger norm; what is not there is 0."""
    zero = {name: torch.zeros_like(x) for name, x in (a | b).items()}
    a, b = zero | a, zero | b
    difference = _norm({name: a[name] - b[name] for name in zero})
    return difference / max(_norm(a), _norm(b), 1e-12)


def _norm(named: Named) -> float:
    return sum(float(x.double().square().sum()) for x in named.values()) ** 0.5
