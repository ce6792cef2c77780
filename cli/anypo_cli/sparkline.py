"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 40  # characters


def sparkline(values: Sequence[float]) -> str:
    """The course of some values, from their lowest to their highest; of many, means of several."""
    finite = [value for value in values if math.isfinite(value)]
    size = math.ceil(len(finite) / WIDEST) or 1
    points = [fmean(finite[start : start + size]) for start in range(0, len(finite), size)]
    low, high = min(points, default=0.0), max(points, default=0.0)
    steps = [(point - low) / (high - low) if high > low else 0.0 for point in points]
    return "".join(BARS[round(step * (len(BARS) - 1))] for step in steps)
