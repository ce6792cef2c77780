"""Go on with a run that has been ended, by whatever it was."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import compose
from anypo.errors import ConfigError, PluginError
from anypo.runs.changes import changes
from anypo.runs.layout import CONFIG, MODEL
from anypo.runs.observer import Observer
from anypo.runs.options import CheckpointOptions, make_config
from anypo.runs.recipe import Recipe, read_recipe
from anypo.runs.run import train
from anypo.support.saving import MANIFEST

MAY_CHANGE = ("steps", "processes", "sharding", *CheckpointOptions.model_fields)


def resume(
    directory: str | Path,
    *,
    algorithm: Algorithm | None = None,
    observer: Observer | None = None,
    **options: Any,
) -> Path:
    """Go on with a run from its newest checkpoint, as if nothing had happened; the run directory.

        resume("runs/grpo-20260102-030405")
        resume("runs/grpo-20260102-030405", steps=400)

    Args:
        directory: Of the run.
        algorithm: Needed only where the run was given plugins that have no name.
        observer: Told how the run goes.
        options: More `steps` than the run was begun with, or other `CheckpointOptions`.

    Raises:
        AnypoError: With one sentence on what is wrong.
    """
    observer = observer or Observer()
    folder = Path(directory)
    recipe = _recipe_of(folder)
    given = _checked(options, recipe, folder)
    steps = given["steps"]
    if steps_finished(folder) >= steps:
        observer.note(f"'{folder}' is finished: all {steps} steps are done (--steps makes more)")
        return folder
    if algorithm is None:
        algorithm = _composed(recipe)
    elif algorithm.named != recipe.algorithm:
        raise ConfigError(f"'{folder}' trains by {recipe.algorithm}, not by {algorithm.named}")
    config = make_config({**recipe.options, **given, "output": str(folder)})
    for change in changes(str(folder / CONFIG), algorithm, config):
        observer.note(change)
    if steps > recipe.options["steps"] and config.schedule != "constant":
        observer.note(f"the learning rate goes on as that of a run of {steps} steps")
    if steps > recipe.options["steps"] and algorithm.scheduled:
        named = ", ".join(sorted(algorithm.scheduled))
        observer.note(f"{named}: the schedule goes on as that of a run of {steps} steps")
    return train(algorithm, config, observer, goes_on=True)


def steps_finished(folder: Path) -> int:
    """How many steps made the model that a run directory holds; 0 if there is none."""
    try:
        manifest = json.loads((folder / MODEL / MANIFEST).read_text(encoding="utf-8"))
        return int(manifest["step"])
    except (OSError, ValueError, KeyError):
        return 0


def processes_of(folder: Path) -> int:
    """In how many processes a run began on its machine."""
    return int(_recipe_of(folder).options.get("processes") or 1)


def _recipe_of(folder: Path) -> Recipe:
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"'{folder}' holds no run to go on with: it has no {CONFIG}")
    recipe = read_recipe(str(folder / CONFIG))
    if not recipe.algorithm or "steps" not in recipe.options:
        raise ConfigError(f"'{folder}' holds no run to go on with: it ended before it had begun")
    return recipe


def _composed(recipe: Recipe) -> Algorithm:
    try:
        return compose(recipe.algorithm, knobs=recipe.knobs, hooks=recipe.hooks)
    except PluginError as error:
        how = "if the run was given it from Python, so must anypo.resume be (algorithm=…)"
        raise PluginError(f"{error}; {how}") from error


def _checked(options: Mapping[str, Any], recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What is to be other than when the run began, and how many steps it has."""
    for name in sorted(options.keys() - set(MAY_CHANGE)):
        raise ConfigError(
            f"{name} is set, but '{folder}' goes on as it began: only {', '.join(MAY_CHANGE)} may "
            "change"
        )
    before = recipe.options["steps"]
    steps = options.get("steps", before)
    if not isinstance(steps, int) or steps < before:
        raise ConfigError(f"steps is {steps}, but '{folder}' has {before}: they can only grow")
    return {**options, "steps": steps}
