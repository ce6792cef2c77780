"""What it costs that an algorithm is made of hooks."""

from __future__ import annotations

import timeit
from statistics import median
from typing import Any
from unittest.mock import patch

from anypo import compose, hookimpl
from anypo.composition.calls import Calls
from speed import ours
from speed.laps import together
from speed.shapes import Made, Shape

CALLS = 2000  # that one call's cost is the mean of
TRIES = 15


class Idle:
    """Answers at once."""

    @hookimpl
    def weight(self, batch: Any) -> Any:
        """The batch."""
        return batch


def cost() -> float:
    """Seconds from the call of a stage to the answer of a plugin that does nothing."""
    grpo = compose("grpo")
    calls = Calls(grpo.name, grpo.layers, [Idle()], {})
    given = dict.fromkeys(("batch", "state", "logprobs", "entropy"), 1)
    tries = timeit.repeat(lambda: calls("weight", **given), number=CALLS, repeat=TRIES)
    return median(tries) / CALLS


def share(shape: Shape, made: Made, threads: int) -> dict[str, float]:
    """The cost of a call, how many a step makes, and what part of it they are."""
    asked: list[str] = []
    call = Calls.__call__

    def noted(calls: Calls, stage: str, **arguments: Any) -> Any:
        asked.append(stage)
        return call(calls, stage, **arguments)

    with patch.object(Calls, "__call__", noted):
        laps = ours.train(shape, made, threads, "grpo", {})
    step, each = together([laps])["s/step"], cost()
    rollouts = [index for index, stage in enumerate(asked) if stage == "rollout"]
    number = len(asked[rollouts[-shape.steps] :]) / shape.steps  # before them, the stack was tried
    return {
        "a call, µs": round(each * 1e6, 1),
        "calls of a step": round(number),
        "s/step": step,
        "share, %": round(100 * number * each / step, 4),
    }
