"""Curves of scores, drawn by Vega-Lite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert

GREY = "#888"  # can be read on white and on black
LOOK = {
    "background": None,
    "axis": {"labelColor": GREY, "titleColor": GREY, "gridColor": GREY, "gridOpacity": 0.25},
    "legend": {"labelColor": GREY, "titleColor": GREY},
    "view": {"stroke": None},
    "range": {"category": ["#5470c6", "#ee8a3c", "#3ba272", "#c0507d"]},
}


def compared(arms: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], what: str) -> str:
    """The curves of two experiments, one for each seed, as SVG."""
    points = [
        {"step": step, what: value, "seed": seed, "run": name}
        for name, curves in arms.items()
        for seed, curve in curves.items()
        for step, value in curve
    ]
    spec: dict[str, Any] = {
        "width": 420,
        "height": 140,
        "data": {"values": points},
        "mark": "line",
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": None},
            "y": {"field": what, "type": "quantitative", "scale": {"zero": False}},
            "color": {"field": "run", "type": "nominal", "sort": list(arms), "title": None},
            "detail": {"field": "seed"},
        },
        "config": LOOK,
    }
    return vl_convert.vegalite_to_svg(spec)


def drawn(curves: Mapping[int, Sequence[tuple[float, float]]]) -> str:
    """The scores of runs by step, a curve for each seed, as SVG."""
    points = [
        {"step": step, "score": score, "seed": seed}
        for seed, curve in curves.items()
        for step, score in curve
    ]
    spec: dict[str, Any] = {
        "width": 520,
        "height": 220,
        "data": {"values": points},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "step", "type": "quantitative"},
            "y": {
                "field": "score",
                "type": "quantitative",
                "title": "held-out score",
                "scale": {"domain": [0, 1]},
            },
            "color": {"field": "seed", "type": "nominal"},
        },
        "config": LOOK,
    }
    return vl_convert.vegalite_to_svg(spec)
