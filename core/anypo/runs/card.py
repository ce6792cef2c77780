"""The model card of a run: what it was trained from, on what, how, and what came of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from huggingface_hub import ModelCardData

from anypo.models.load import has_scalar_head, load_config
from anypo.runs.reading import Metrics, RunRecord, read_run

POINTS = 12  # of the curve
HEADLINES = ("score", "loss", "accuracies")  # how held-out metrics end that are worth a column
PATHS = (  # options that may name files of this machine
    *("model", "reference", "teacher", "critic_model"),
    *("data", "eval_data", "reward", "environment"),
)
HERE = ("output", "device", "processes", "task")  # those that say nothing of the model


def model_card(run: Path, model: Path) -> str:
    """The README.md of a model that a run trained. Of local paths it tells the last part alone.

    Raises:
        ConfigError, DataError: The directory holds no run, or a file of it is damaged.
    """
    found = read_run(run)
    parts = [_about(found), _curve(found), _repeated(found), _versions(found)]
    scores = has_scalar_head(load_config(str(model)))
    return "\n\n".join([_header(found, scores), *filter(None, parts)]) + "\n"


def _header(run: RunRecord, scores: bool) -> str:
    base = run.config.get("model")
    data = ModelCardData(
        base_model=base if base and not Path(base).exists() else None,
        library_name="transformers",
        pipeline_tag="text-classification" if scores else "text-generation",
        tags=["anypo", *run.config["algorithm"].split("+")],
    )
    return f"---\n{data.to_yaml()}\n---"


def _about(run: RunRecord) -> str:
    options = _without_paths(run.config)
    base, data, name = options.get("model"), options.get("data"), options["algorithm"]
    start = f"`{base}`" if base else f"the model of the task `{options.get('task')}`"
    on = f"`{data}`" if data else f"the task `{options.get('task')}`"
    rewards = ", ".join(f"`{name}`" for name in options.get("reward", []))
    rewarded = f", rewarded by {rewards}" if rewards else ""
    steps = f"{options.get('steps')} steps of {options.get('prompts_per_step')} prompts"
    return f"# {name}\n\nTrained with anypo by `{name}` from {start}, on {on}{rewarded}: {steps}."


def _curve(run: RunRecord) -> str:
    """What was measured on held-out rows, thinned out evenly."""
    rows = [row for row in _worth_a_column(run.metrics) if len(row) > 1]
    if not rows:
        return ""
    kept = sorted({round(i * (len(rows) - 1) / max(1, POINTS - 1)) for i in range(POINTS)})
    names = sorted({name for row in rows for name in row} - {"step"})
    lines = [["step", *names], ["---"] * (len(names) + 1)]
    for row in (rows[i] for i in kept if i < len(rows)):
        cells = (f"{row[name]:.4g}" if name in row else "" for name in names)
        lines.append([str(row["step"]), *cells])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"## Held out\n\n{table}"


def _worth_a_column(metrics: Metrics) -> Iterator[dict[str, Any]]:
    """The steps with what of them is worth a column."""
    for row in metrics:
        yield {
            name: value
            for name, value in row.items()
            if name == "step" or (name.startswith("eval/") and name.endswith(HEADLINES))
        }


def _repeated(run: RunRecord) -> str:
    config = _without_paths(run.config).items()
    told = {name: value for name, value in config if name not in HERE and value != {}}
    return (
        "## Repeat it\n\nWith this as `config.toml`, and files of these names: "
        f"`anypo run --config config.toml`\n\n```toml\n{tomli_w.dumps(told).strip()}\n```"
    )


def _versions(run: RunRecord) -> str:
    if not run.lock:
        return ""
    told = ", ".join(f"{name} {version}" for name, version in run.lock["versions"].items())
    return f"## Versions\n\n{told}"


def _without_paths(options: dict[str, Any]) -> dict[str, Any]:
    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        path = Path(str(value).partition(":")[0].partition("=")[0])
        return str(value).replace(str(path), path.name, 1) if path.exists() else value

    return {name: named(value) if name in PATHS else value for name, value in options.items()}
