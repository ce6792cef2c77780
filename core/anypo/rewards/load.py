"""Find reward functions by what the user calls them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypo.errors import ConfigError, RewardError, nearest
from anypo.rewards.model import Inference, ScoreOfModel
from anypo.support.functions import load_function
from anypo_tasks.rewards import BUILT_IN


@dataclass(frozen=True)
class Reward:
    """A reward function, what it is called, and its weight in the sum."""

    name: str
    function: Callable[..., Any]
    weight: float = 1.0
    source: str = ""  # as the user wrote it: its name where two functions have the same


def load_reward(spec: str, inference: Inference | None = None) -> Reward:
    """The reward that a specification names.

    Args:
        spec: `NAME` or `NAME:ARGUMENT` of a built-in, `file.py:function`,
            `package.module:function`, or a model directory or hub name; `=WEIGHT` may follow.
        inference: How a model is run.

    Raises:
        RewardError: It cannot be imported or is not callable, or the model scores no texts.
    """
    source, weight = _split_weight(spec)
    name, _, argument = source.partition(":")
    if name in BUILT_IN:
        return Reward(name, BUILT_IN[name](argument), weight, source)
    if source and (Path(source).is_dir() or ("/" in source and ":" not in source)):
        if not Path(source).exists() and Path(source).parent.is_dir():
            raise RewardError(f"there is no model directory '{source}' to score with")
        return Reward(
            Path(source).name, ScoreOfModel(source, inference or Inference()), weight, source
        )
    if ":" not in source:
        raise RewardError(
            f"there is no built-in reward '{name}'{nearest(name, BUILT_IN)}; "
            "name your own as file.py:function or package.module:function, or a model directory"
        )
    try:
        function = load_function(source)
    except ConfigError as error:
        raise RewardError(f"reward {error}") from error
    return Reward(source.rpartition(":")[2], function, weight, source)


def _split_weight(spec: str) -> tuple[str, float]:
    source, separator, weight = spec.rpartition("=")
    try:
        number = float(weight) if separator else math.nan
    except ValueError:  # the `=` belongs to the name or argument
        number = math.nan
    return (source, number) if math.isfinite(number) else (spec, 1.0)
