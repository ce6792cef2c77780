"""The page of a report: what is read from the runs, put into the template."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import vl_convert
from markupsafe import Markup

from anypo import RunRecord
from anypo_report.completions import some_completions
from anypo_report.curves import curves, seconds_by_phase
from anypo_report.runs import Spent, spent
from anypo_report.scores import best, headline, scores_of
from anypo_report.settings import settings, versions

TEMPLATE = files("anypo_report") / "template"
SCRIPTS = ("page.js", "charts.js", "completions.js")
NAMED = 3  # runs in the title at most
COMPLETIONS = 1_000_000  # bytes of all runs
FILES = (
    "config.toml",
    "metrics.jsonl",
    "samples.jsonl",
    "plugins.lock.json",
    "model",
    "checkpoints",
)


def page(runs: Mapping[str, RunRecord], folder: Path) -> str:
    """The HTML of a report.

    Args:
        runs: By name.
        folder: That the page will be in, from which its links lead.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    records, data = list(runs.values()), _data(runs)
    scripts = [_library(), "\n".join(map(_read, SCRIPTS))]
    metric = headline(records)
    return environment.from_string(_read("report.html")).render(
        title=", ".join(runs) if len(runs) <= NAMED else f"{len(runs)} runs",
        style=Markup(_read("report.css")),
        scripts=list(map(Markup, scripts)),
        script_hashes=Markup(" ".join(map(_hash, scripts))),
        data=_embedded(data),
        each=max(run["each"] for run in data),
        metric=metric,
        runs=[_shown(name, run, metric, folder) for name, run in runs.items()],
        algorithms=_algorithms(runs),
        settings=settings(records),
        versions=versions(records),
    )


@cache
def _library() -> str:
    """Vega-Lite, with all that it needs."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _read(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


def _embedded(data: Any) -> Markup:
    """JSON that nothing in it can end, or begin, an element of the page."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _data(runs: Mapping[str, RunRecord]) -> list[dict[str, Any]]:
    """What the scripts of the page read of each run."""
    return [
        {
            "name": name,
            **drawn,
            "phases": seconds_by_phase(run),
            "sets": some_completions(run, COMPLETIONS // len(runs)),
        }
        for (name, run), drawn in zip(runs.items(), curves(list(runs.values())), strict=True)
    ]


def _shown(name: str, run: RunRecord, metric: str | None, folder: Path) -> dict[str, Any]:
    """What the template reads of a run."""
    scores = scores_of(run, metric) if metric else []
    there = [file for file in FILES if (run.path / file).exists()]
    return {
        "name": name,
        "algorithm": run.config["algorithm"],
        "steps": run.config.get("steps"),
        "spent": spent(run)[-1] if run.metrics else Spent(0, 0, 0),
        "scores": scores,
        "best": best(metric, scores) if metric else None,
        "files": [(file, quote(os.path.relpath(run.path / file, folder))) for file in there],
    }


def _algorithms(runs: Mapping[str, RunRecord]) -> list[tuple[list[str], dict[str, Any]]]:
    """What the algorithms do, and which runs are by which."""
    found: list[tuple[list[str], dict[str, Any]]] = []
    for name, run in runs.items():
        if explained := run.lock.get("explained"):
            same = next((names for names, other in found if other == explained), None)
            if same is None:
                found.append(([name], explained))
            else:
                same.append(name)
    return found


def _hash(script: str) -> str:
    """What allows the script to run, and no other."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
