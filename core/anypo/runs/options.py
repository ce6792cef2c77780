"""The options of a run: blocks that stand beside their readers, put together."""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, create_model

from anypo.composition.algorithm import Algorithm
from anypo.errors import ConfigError, PluginError, nearest
from anypo.hooks import registry
from anypo.hooks.sampler import SamplerPlugin, load_sampler
from anypo.hooks.task import ChosenTask
from anypo.models.options import AdapterOptions, MemoryOptions, RuntimeOptions
from anypo.rewards.options import RewardOptions
from anypo.sampling.options import SamplingOptions
from anypo.support.options import Options
from anypo.support.validation import refusal
from anypo.training.options import TrainerOptions

IN_A_FILE = " (in a file, the knobs of the algorithm go under [knobs])"


class RunOptions(Options, panel="Run"):
    """What a run starts from, and what it leaves."""

    task: str = Field("addition", description="What to train on without data.")
    model: str | None = Field(None, description="Directory or hub name. Without it, the task's.")
    output: str | None = Field(None, description="Run directory. Without it, one under runs/.")
    track: list[str] = Field([], description="Trackers, as NAME or NAME:PROJECT.")


class CheckpointOptions(Options, panel="Run"):
    """What a run keeps, to go on from."""

    save_every: int | None = Field(
        None, ge=1, description="Steps between checkpoints; else 10 minutes."
    )
    keep_checkpoints: int = Field(2, ge=0, description="How many stay, the newest; 0: all.")
    keep_best: str | None = Field(
        None,
        pattern="^eval/",
        description="Keep the best too, by a metric such as eval/score.",
    )


class RunConfig(
    RunOptions,
    CheckpointOptions,
    RewardOptions,
    TrainerOptions,
    AdapterOptions,
    MemoryOptions,
    RuntimeOptions,
):
    """What to train on what, and how; the knobs of the algorithm are not here but on its plugins.

    Options of a sampler are those of its plugin, with its name before them: see `config_class`.
    """


def config_class(sampler: str, base: type[Options] = RunConfig) -> type[Any]:
    """A class of options, such as those of a run, with those that a sampler brings along.

    Raises:
        PluginError: There is no such sampler, or it does not load.
    """
    entry, plugin = load_sampler(sampler)
    fields: dict[str, Any] = {
        entry.option_prefix + name: (field.annotation, field)
        for name, field in plugin.model_fields.items()
    }
    panel = {"panel": f"Sampler {sampler}"}
    if taken := fields.keys() & {**RunConfig.model_fields, **base.model_fields}.keys():
        raise PluginError(f"{entry} has an option '{min(taken)}', which is one of every run")
    block = create_model("SamplerOptions", __base__=Options, __cls_kwargs__=panel, **fields)
    bases: Any = (base, block)
    config: type[Any] = create_model(base.__name__, __base__=bases)
    return config


def panels(config: type[Options]) -> dict[str, list[str]]:
    """The names of all options, by the block that they stand in."""
    found: dict[str, list[str]] = {}
    for block in config.__mro__:
        names = [name for name in inspect.get_annotations(block) if name in config.model_fields]
        if names and issubclass(block, Options):
            found.setdefault(block.panel, []).extend(names)
    return found


def sampler_of(config: SamplingOptions) -> tuple[registry.Entry, SamplerPlugin]:
    """The sampler that the options ask for, with its own options."""
    entry, plugin = load_sampler(config.sampler)
    own = {name: getattr(config, entry.option_prefix + name) for name in plugin.model_fields}
    try:
        return entry, plugin(**own)
    except ValidationError as error:
        raise ConfigError(f"{entry}: {refusal(error)}") from error


def make_config(options: Mapping[str, Any]) -> RunConfig:
    """The run configuration of some options. Raises like `checked`."""
    config: RunConfig = checked(options, RunConfig, "run option", IN_A_FILE)
    return config


def checked(
    options: Mapping[str, Any], base: type[Options], what: str = "option", advice: str = ""
) -> Any:
    """Some options of a class, among them those of the sampler that they name.

    Args:
        options: By name.
        base: That has a field `sampler`.
        what: They are called.
        advice: On one that is unknown.

    Raises:
        ConfigError: An option is unknown or out of range.
        PluginError: There is no such sampler.
    """
    sampler = options.get("sampler", base.model_fields["sampler"].default)
    known, own = config_class(sampler, base), registry.find(sampler, "sampler").option_prefix
    others = {entry.option_prefix for entry in registry.entries("sampler")} - {own}
    for name in sorted(options.keys() - known.model_fields.keys()):
        if name.startswith(tuple(others)):
            raise ConfigError(f"{name} is set, but the sampler is {sampler}: nothing would read it")
        near = nearest(name, known.model_fields)
        raise ConfigError(f"there is no {what} '{name}'{near}{advice}")
    try:
        return known(**options)
    except ValidationError as error:
        raise ConfigError(refusal(error)) from error


def resolve(config: RunConfig, algorithm: Algorithm, task: ChosenTask | None) -> RunConfig:
    """The configuration with the defaults that suit its model and data.

    The plugins of the algorithm may prefer other ones, and so may the task for its own model.
    """
    defaults, on_task = algorithm.options, {}
    if task is not None:
        on_task = algorithm.task_options(task.name)
        defaults |= {**task.plugin.options, **on_task} if task.owns_model else {}
        defaults["task"] = task.name
    if "data_epochs" in config.model_fields_set:
        defaults.pop("steps", None)
    update = {k: v for k, v in defaults.items() if k not in config.model_fields_set}
    update.pop("reward", None)  # of the task, not of its model
    if task is not None and config.data is None and algorithm.generates:
        update["reward"] = config.reward or on_task.get("reward", task.plugin.reward)
    given = {name: getattr(config, name) for name in config.model_fields_set}
    try:
        return type(config)(**{**given, **update})
    except ValidationError as error:
        option = "".join(map(str, error.errors()[0]["loc"][:1]))
        whose = _preferring(option, algorithm, task)
        raise PluginError(f"of what {whose} would set, {refusal(error)}") from error


def _preferring(option: str, algorithm: Algorithm, task: ChosenTask | None) -> str:
    """Who would set an option that the user does not."""
    for layer in reversed(algorithm.layers):
        wishes = dict(getattr(layer.source, "options", {}))
        wishes |= getattr(layer.source, "task_options", {}).get(task.name, {}) if task else {}
        if option in wishes:
            return f"plugin '{layer.name}'"
    return f"task '{task.name}'" if task else algorithm.name
