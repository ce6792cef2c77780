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
    reason: str = ""  # why they are not equal, where they are not


@dataclass(frozen=True)
class Trace:
    """What one library made of a case."""

    losses: list[float]  # of each optimizer step
    gradients: list[Named]  # that each was made with
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
    counts = len(ours.losses), len(theirs.losses), len(ours.gradients), len(theirs.gradients)
    if len(set(counts)) != 1 or not counts[0]:
        raise ValueError(f"losses and gradients of {counts} steps")
    if ours.after.keys() != theirs.after.keys():
        raise ValueError(f"not both trained {sorted(ours.after.keys() ^ theirs.after.keys())}")
    steps = zip(ours.losses, theirs.losses, ours.gradients, theirs.gradients, strict=True)
    moved = {name: theirs.after[name] - theirs.before[name] for name in theirs.after}
    mine = {name: ours.after[name] - ours.before[name] for name in ours.after}
    pairs = [(abs(a - b) / max(abs(a), abs(b), 1.0), _apart(g, h)) for a, b, g, h in steps]
    return Differences(
        max(loss for loss, _ in pairs), max(gradient for _, gradient in pairs), _apart(mine, moved)
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
