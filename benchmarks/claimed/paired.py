"""Differences over paired seeds: their mean, its interval of confidence, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev
from typing import Literal

Verdict = Literal["reproduced", "not seen here", "opposite seen here"]
QUANTILES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # Student's, 97.5 %
NORMAL = 1.96


@dataclass(frozen=True)
class Interval:
    """Where the mean of some differences lies, with a confidence of 95 %."""

    mean: float
    low: float
    high: float

    def turned(self, sign: int) -> Interval:
        """The same, of differences with another sign."""
        ends = sorted((sign * self.low, sign * self.high))
        return Interval(sign * self.mean, *ends)


def differences(first: Sequence[float], second: Sequence[float], *, relative: bool) -> list[float]:
    """Of each pair; relative ones are shares of the second."""
    pairs = zip(first, second, strict=True)
    return [(a - b) / (b if relative else 1.0) for a, b in pairs]


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of at least two values."""
    mean = fmean(values)
    freedom = len(values) - 1
    quantile = QUANTILES[freedom - 1] if freedom <= len(QUANTILES) else _quantile(freedom)
    half = quantile * stdev(values) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def verdict(found: Interval, by: float = 0.0) -> Verdict:
    """Whether a difference, positive where it is as claimed, is so, and of the claimed size.

    All of the interval beyond the claimed size: reproduced. All of it on the other side of zero,
    or of a margin below zero: the opposite. Else the figures tell neither.
    """
    if found.low > by:
        return "reproduced"
    return "opposite seen here" if found.high < min(by, 0.0) else "not seen here"


def _quantile(freedom: int) -> float:
    """By the first terms of its series: right to three digits from ten on."""
    first = (NORMAL**3 + NORMAL) / 4
    second = (5 * NORMAL**5 + 16 * NORMAL**3 + 3 * NORMAL) / 96
    return NORMAL + first / freedom + second / freedom**2
