"""Run again what a file says, and vary it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from anypo.composition.knobs import resolve_knobs
from anypo.hooks import registry
from anypo.rewards.load import names_code
from anypo.runs.options import make_config
from anypo.runs.recipe import as_written
from anypo.runs.unread import unread
from anypo_cli.settings import refuse_to_run

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.composition.stack import Stack
    from anypo.runs.options import RunConfig

NOTHING: tuple[Any, ...] = (None, False, [])  # what an option asks for that asks for nothing


def chosen(knobs: Mapping[str, Any], stack: Stack, task: Any) -> dict[str, Any]:
    """Of the knobs that a run wrote down, those that differ from what its stack has by itself.

    A run writes down all its knobs. Those that nobody chose must not count as set: another option
    may make one of them irrelevant, or another algorithm have its own default.
    """
    resolved = {name: knob.value for name, knob in resolve_knobs(stack, {}).items()}
    known = {name for name in knobs if resolved.get(name) is not None}
    defaults = {name: as_written(name, resolved[name]) for name in known}
    by_plugins = [getattr(layer.source, "task_knobs", {}).values() for layer in stack.layers]
    for suited in [task.knobs, *chain.from_iterable(by_plugins)]:
        for name in suited:  # which the task has in place of the default
            defaults.pop(name, None)
    return {k: v for k, v in knobs.items() if k not in defaults or defaults[k] != v}


def refuse_code(file: str, options: Mapping[str, Any]) -> None:
    """Refuse to run code that a file names and the command line does not.

    Args:
        file: Which says so.
        options: What it says and the command line does not override.

    Raises:
        ConfigError: It names a function or a class of a file or a module, or trusts the code of a
            model.
    """
    rewards = options.get("reward") or []
    named = [f"reward = {spec!r}" for spec in rewards if names_code(str(spec))]
    environment = str(options.get("environment") or "")
    if ":" in environment and not registry.knows(environment, "environment"):
        named.append(f"environment = {environment!r}")
    named += ["trust_remote_code"] * bool(options.get("trust_remote_code"))
    refuse_to_run(file, named)


def fitting(
    file: str, written: Mapping[str, Any], given: Mapping[str, Any], algorithm: Algorithm
) -> tuple[RunConfig, list[str]]:
    """The options of a run by another algorithm than the one that a file was written for.

    Returns:
        Without what the file says that means nothing to this algorithm, and a sentence on each.

    Raises:
        ConfigError: An option is unknown or out of range.
    """
    kept, notes = dict(written), []
    while idle := _idle(config := make_config({**kept, **given}), algorithm, kept.keys() - given):
        name, why = idle
        notes.append(f"{name} = {kept.pop(name)!r} of '{file}' is left out: {why}")
    return config, notes


def _idle(config: RunConfig, algorithm: Algorithm, names: set[str]) -> tuple[str, str] | None:
    whys = unread(config, algorithm)
    asking = (n for n in sorted(names & whys.keys()) if getattr(config, n) not in NOTHING)
    return next(((name, whys[name]) for name in asking), None)
