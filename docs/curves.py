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
Curves = Mapping[int, Sequence[tuple[float, float]]]  # by seed, over steps


def compared(arms: Mapping[str, Curves], what: str) -> str:
    """The curves of two experiments, one for each seed, as SVG."""
    points = [{**p, "run": name} for name, curves in arms.items() for p in _points(curves, what)]
    encoding = {
        "x": {"field": "step", "type": "quantitative", "title": None},
        "y": {"field": what, "type": "quantitative", "scale": {"zero": False}},
        "color": {"field": "run", "type": "nominal", "sort": list(arms), "title": None},
        "detail": {"field": "seed"},
    }
    return _svg(points, "line", encoding, width=420, height=140)


def drawn(curves: Curves) -> str:
    """The scores of runs by step, a curve for each seed, as SVG."""
    scores = {"title": "held-out score", "scale": {"domain": [0, 1]}}
    encoding = {
        "x": {"field": "step", "type": "quantitative"},
        "y": {"field": "score", "type": "quantitative", **scores},
        "color": {"field": "seed", "type": "nominal"},
    }
    line = {"type": "line", "point": True}
    return _svg(_points(curves, "score"), line, encoding, width=520, height=220)


def _points(curves: Curves, what: str) -> list[dict[str, Any]]:
    return [
        {"step": step, what: value, "seed": seed}
        for seed, curve in curves.items()
        for step, value in curve
    ]


def _svg(points: Sequence[dict[str, Any]], mark: Any, encoding: Any, **size: int) -> str:
    how = {"mark": mark, "encoding": encoding, "config": LOOK}
    svg: str = vl_convert.vegalite_to_svg({**size, "data": {"values": points}, **how})
    return svg
