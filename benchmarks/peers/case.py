"""What is compared: a case says what both are given, a trace what came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Named = dict[str, Tensor]  # by the name of the parameter

LENGTH = 8  # tokens of the longest completion that is replayed
LEARNING_RATE = 1e-3
STEPS = 3


@dataclass(frozen=True)
class Case:
    """One comparison; `ours` are options and knobs of anypo, `theirs` fields of TRL's configuration."""

    name: str
    family: str  # one of `theirs.FAMILIES`: which of TRL's trainers
    algorithm: str  # as `anypo run` takes it
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    rows: str = "texts"  # one of `rows.ROWS`
    model: str = "llama"  # one of `models.MODELS`
    rewards: tuple[str, ...] = ("score",)  # functions of `rewards`
    hooks: Mapping[str, str] = field(default_factory=dict)  # stages of anypo's from other plugins
    reason: str = ""  # why they are not equal, where they are not


@dataclass(frozen=True)
class Trace:
    """What one library made of a case."""

    losses: list[float]  # of each step
    gradients: list[Named]  # of each step of the optimizer, of which a step may have several
    before: Named  # the weights
    after: Named


@dataclass(frozen=True)
class Differences:
    """How far two traces are apart, each relative to the larger of the two."""

    loss: float
    gradient: float
    weights: float  # relative to how far they moved


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
    """The norm of the difference, relative to the larger norm."""
    names = sorted(a.keys() | b.keys())
    zero = {name: (a.get(name, b.get(name))) * 0 for name in names}  # type: ignore[operator]
    norms = [
        sum(float(values(name).double().square().sum()) for name in names) ** 0.5
        for values in (
            lambda name: a.get(name, zero[name]) - b.get(name, zero[name]),
            lambda name: a.get(name, zero[name]),
            lambda name: b.get(name, zero[name]),
        )
    ]
    return norms[0] / max(norms[1], norms[2], 1e-12)
