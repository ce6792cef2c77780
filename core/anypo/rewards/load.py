"""Find reward functions by what the user calls them."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from anypo.data.found import accept
from anypo.errors import ConfigError, PluginError, RewardError, nearest
from anypo.hooks import registry
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.rewards.timing import in_time
from anypo.support.functions import load_function


@dataclass(frozen=True)
class Reward:
    """A reward function, what it is called, and its weight in the sum."""

    name: str
    function: Callable[..., Any]
    weight: float = 1.0
    source: str = ""  # as the user wrote it: its name where two functions have the same
    check: Callable[[Prompt], None] = accept  # refuses rows that it cannot score
    prepare: Callable[[], None] = lambda: None  # before the first call

    @property
    def finds(self) -> Callable[[Any], bool] | None:
        """Says whether a completion holds what the function looks for, if it looks for anything."""
        return getattr(self.function, "finds", None)


def load_reward(spec: str, runtime: Runtime | None = None, timeout: float = 0) -> Reward:
    """The reward that a specification names.

    That is `NAME` or `NAME:ARGUMENT` of one that is installed, `file.py:function`,
    `package.module:function`, or a model directory or hub name. `=WEIGHT` may follow all of them
    but an argument, which may end so itself: there it follows the name, as in
    `regex=0.5:PATTERN`.

    Args:
        spec: The specification.
        runtime: Where a model runs.
        timeout: Seconds that importing it may take; 0 for no limit.

    Raises:
        RewardError: It cannot be imported in time or is not callable, or the model scores no texts.
        PluginError: It is disabled or broken, or several distributions offer it.
    """
    limit = in_time(f"importing reward '{spec}'", timeout)
    if found := installed_reward(spec):
        with limit:
            return _made(found)
    source, weight = _split_weight(spec)
    if source.endswith(".py"):
        raise RewardError(f"reward '{source}' names no function: write '{source}:FUNCTION'")
    if source and (Path(source).is_dir() or ("/" in source and ":" not in source)):
        if not Path(source).exists() and Path(source).parent.is_dir():
            raise RewardError(f"there is no model directory '{source}' to score with")
        from anypo.rewards.model import ScoreOfModel  # imports transformers, which takes seconds

        score = ScoreOfModel(source, runtime or Runtime())
        return Reward(Path(source).name, score, weight, source, score.check, score.prepare)
    if ":" not in source:
        near = nearest(source, [entry.name for entry in registry.entries("reward")])
        raise RewardError(
            f"there is no reward '{source}'{near}; name your own as file.py:function or "
            "package.module:function, or a model directory"
        )
    with limit:
        try:
            function = load_function(source)
        except ConfigError as error:
            raise RewardError(f"reward {error}") from error
    return Reward(source.rpartition(":")[2], function, weight, source)


class Named(NamedTuple):
    """An installed reward as a specification names it."""

    name: str  # `NAME` or `DISTRIBUTION:NAME`
    entry: registry.Entry
    weight: float
    argument: str


def installed_reward(spec: str) -> Named | None:
    """The installed reward that a specification names, if it names one."""
    parts = spec.split(":")
    for size in (1, 2):
        name, weight = _split_weight(":".join(parts[:size]))
        if "." in name:  # the user's own file.py or package.module
            return None
        if registry.knows(name, "reward"):
            entry = registry.find(name, "reward")
            return Named(name, entry, weight, ":".join(parts[size:]))
    return None


def names_code(spec: str) -> bool:
    """Whether a specification names a function of a file or module, which is run to find it."""
    return ":" in _split_weight(spec)[0] and installed_reward(spec) is None


def _made(reward: Named) -> Reward:
    function = reward.entry.make(reward.argument)
    if not callable(function):
        raise PluginError(f"{reward.entry} makes {function!r:.60}, which is no function")
    source = f"{reward.name}:{reward.argument}" if reward.argument else reward.name
    return Reward(reward.entry.name, function, reward.weight, source)


def _split_weight(spec: str) -> tuple[str, float]:
    source, separator, weight = spec.rpartition("=")
    with suppress(ValueError):  # the `=` belongs to the name
        if separator and math.isfinite(float(weight)):
            return source, float(weight)
    return spec, 1.0
