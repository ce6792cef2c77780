"""The model card of a run: what it was trained from, on what, how, and what came of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from huggingface_hub import ModelCardData

from anypo.errors import ConfigError
from anypo.models.load import has_scalar_head, load_config
from anypo.runs.layout import CONFIG, LOCK
from anypo.runs.recipe import Recipe, read_recipe

POINTS = 12  # of the curve
HEADLINES = ("score", "loss", "accuracies")  # how held-out metrics end that are worth a column
PATHS = ("model", "data", "eval_data", "reward")  # options that may name files of this machine
HERE = ("output", "device", "processes", "task")  # those that say nothing of the model


def model_card(run: Path, model: Path) -> str:
    """The README.md of a model that a run trained. Of local paths it tells the last part alone.

    Raises:
        ConfigError: The directory holds no run.
    """
    if not (run / CONFIG).is_file():
        raise ConfigError(f"'{run}' holds no run: it has no {CONFIG}")
    recipe = read_recipe(str(run / CONFIG))
    parts = [_about(recipe), _curve(run), _repeated(recipe), _versions(run)]
    scores = has_scalar_head(load_config(str(model)))
    return "\n\n".join([_header(recipe, scores), *filter(None, parts)]) + "\n"


def _header(recipe: Recipe, scores: bool) -> str:
    base = recipe.options.get("model")
    data = ModelCardData(
        base_model=base if base and not Path(base).exists() else None,
        library_name="transformers",
        pipeline_tag="text-classification" if scores else "text-generation",
        tags=["anypo", *recipe.algorithm.split("+")],
    )
    return f"---\n{data.to_yaml()}\n---"


def _about(recipe: Recipe) -> str:
    options = _without_paths(recipe.options)
    base, data = options.get("model"), options.get("data")
    start = f"`{base}`" if base else f"the model of the task `{recipe.options.get('task')}`"
    on = f"`{data}`" if data else f"the task `{recipe.options.get('task')}`"
    rewards = ", ".join(f"`{name}`" for name in options.get("reward", []))
    rewarded = f", rewarded by {rewards}" if rewards else ""
    steps = f"{options.get('steps')} steps of {options.get('prompts_per_step')} prompts"
    return (
        f"# {recipe.algorithm}\n\nTrained with anypo by `{recipe.algorithm}` from {start}, on {on}"
        f"{rewarded}: {steps}."
    )


def _curve(run: Path) -> str:
    """What was measured on held-out rows, thinned out evenly."""
    rows = [row for row in _metrics(run / "metrics.jsonl") if len(row) > 1]
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


def _metrics(file: Path) -> Iterator[dict[str, Any]]:
    """The steps with what of them is worth a column."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        row = json.loads(line)
        yield {
            name: value
            for name, value in row.items()
            if name == "step" or (name.startswith("eval/") and name.endswith(HEADLINES))
        }


def _repeated(recipe: Recipe) -> str:
    options = {k: v for k, v in _without_paths(recipe.options).items() if k not in HERE}
    told = {"algorithm": recipe.algorithm, **options}
    told |= {name: table for name in ("knobs", "hooks") if (table := getattr(recipe, name))}
    return (
        "## Repeat it\n\nWith this as `config.toml`, and files of these names: "
        f"`anypo run --config config.toml`\n\n```toml\n{tomli_w.dumps(told).strip()}\n```"
    )


def _versions(run: Path) -> str:
    if not (run / LOCK).is_file():
        return ""
    lock = json.loads((run / LOCK).read_text(encoding="utf-8"))
    told = ", ".join(f"{name} {version}" for name, version in lock["versions"].items())
    return f"## Versions\n\n{told}"


def _without_paths(options: dict[str, Any]) -> dict[str, Any]:
    def named(value: Any) -> Any:
        if isinstance(value, list):
            return [named(one) for one in value]
        path = Path(str(value).partition(":")[0].partition("=")[0])
        return str(value).replace(str(path), path.name, 1) if path.exists() else value

    return {name: named(value) if name in PATHS else value for name, value in options.items()}
