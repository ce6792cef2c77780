"""What is read of the curves of a run: one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

Curve = Sequence[tuple[float, float]]
Curves = Mapping[str, Curve]


@dataclass(frozen=True)
class Measure:
    """A number that is read of one curve.

    Attributes:
        name: What it is, in words.
        curve: The name of the curve.
        read: What makes a number of it.
    """

    name: str
    curve: str
    read: Callable[[Curve], float]

    def __call__(self, curves: Curves) -> float:
        """The number."""
        if not curves.get(self.curve):
            raise KeyError(f"the run has no curve '{self.curve}', only {', '.join(curves)}")
        return self.read(curves[self.curve])


def at_the_end(curve: str, name: str) -> Measure:
    """The last point of a curve."""
    return Measure(name, curve, lambda points: points[-1][1])


def lately(curve: str, name: str) -> Measure:
    """The mean over the last third of a curve."""
    return Measure(name, curve, _late)


def fallen(curve: str, name: str) -> Measure:
    """By how much the last point of a curve lies below its highest one."""
    return Measure(name, curve, lambda points: max(y for _, y in points) - points[-1][1])


def _late(points: Curve) -> float:
    end = points[-1][0]
    return fmean(value for x, value in points if 3 * x >= 2 * end)
