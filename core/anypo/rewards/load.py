"""Find reward functions by what the user calls them."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypo.errors import ConfigError, PluginError, RewardError, nearest
from anypo.hooks import registry
from anypo.hooks.runtime import Runtime
from anypo.rewards.model import ScoreOfModel
from anypo.support.functions import load_function


@dataclass(frozen=True)
class Reward:
    """A reward function, what it is called, and its weight in the sum."""

    name: str
    function: Callable[..., Any]
    weight: float = 1.0
    source: str = ""  # as the user wrote it: its name where two functions have the same


def load_reward(spec: str, runtime: Runtime | None = None) -> Reward:
    """The reward that a specification names.

    That is `NAME` or `NAME:ARGUMENT` of one that is installed, `file.py:function`,
    `package.module:function`, or a model directory or hub name; `=WEIGHT` may follow.

    Raises:
        RewardError: It cannot be imported or is not callable, or the model scores no texts.
        PluginError: It is disabled or broken, or several distributions offer it.
    """
    source, weight = _split_weight(spec)
    if found := installed_reward(spec):
        entry, argument = found
        function = entry.make(argument)
        if not callable(function):
            raise PluginError(f"{entry} makes {function!r:.60}, which is no function")
        return Reward(entry.name, function, weight, source)
    if source and (Path(source).is_dir() or ("/" in source and ":" not in source)):
        if not Path(source).exists() and Path(source).parent.is_dir():
            raise RewardError(f"there is no model directory '{source}' to score with")
        return Reward(Path(source).name, ScoreOfModel(source, runtime or Runtime()), weight, source)
    if ":" not in source:
        near = nearest(source, [entry.name for entry in registry.entries("reward")])
        raise RewardError(
            f"there is no reward '{source}'{near}; name your own as file.py:function or "
            "package.module:function, or a model directory"
        )
    try:
        function = load_function(source)
    except ConfigError as error:
        raise RewardError(f"reward {error}") from error
    return Reward(source.rpartition(":")[2], function, weight, source)


def installed_reward(spec: str) -> tuple[registry.Entry, str] | None:
    """The installed reward that is named, by `NAME` or `DISTRIBUTION:NAME`, and its argument."""
    first, _, rest = _split_weight(spec)[0].partition(":")
    second, _, argument = rest.partition(":")
    if "." in first:  # the user's own file.py or package.module
        return None
    for name, following in ((first, rest), (f"{first}:{second}", argument)):
        if registry.knows(name, "reward"):
            return registry.find(name, "reward"), following
    return None


def _split_weight(spec: str) -> tuple[str, float]:
    source, separator, weight = spec.rpartition("=")
    with suppress(ValueError):  # the `=` belongs to the name or argument
        if separator and math.isfinite(float(weight)):
            return source, float(weight)
    return spec, 1.0
