"""Completions that both libraries are given, drawn from nothing but the prompt and the step."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anypo import Sample, SamplerPlugin
from peers.case import LENGTH

LETTERS = range(64, 90)  # tokens of the byte-level tokenizer
LIKELY = -5.6  # the log-prob of one of 270 tokens


@dataclass(frozen=True)
class Drawn:
    """A completion."""

    ids: list[int]
    logprobs: list[float]  # as the sampler reports them
    truncated: bool


def completions(prompts: Sequence[Sequence[int]], call: int, end: int) -> list[Drawn]:
    """A completion of each prompt; a prompt that comes again gets another one."""
    seen: Counter[tuple[int, ...]] = Counter()
    drawn = []
    for prompt in map(tuple, prompts):
        drawn.append(_drawn(random.Random(f"{call} {prompt} {seen[prompt]}"), end))
        seen[prompt] += 1
    return drawn


def _drawn(source: random.Random, end: int) -> Drawn:
    length = source.randint(2, LENGTH + 2)
    ids = [source.choice(LETTERS) for _ in range(min(length, LENGTH))]
    if length < LENGTH:
        ids[-1] = end
    return Drawn(ids, [LIKELY + source.gauss(0, 0.4) for _ in ids], length >= LENGTH)


class Player:
    """An engine that answers with those completions."""

    def __init__(self) -> None:
        self.calls = 0

    def sample(self, request: Any) -> list[Sample]:
        """See `anypo.Engine`."""
        asked = [(i, list(p.ids)) for i, p in enumerate(request.prompts) for _ in range(request.n)]
        drawn = completions([ids for _, ids in asked], self.calls, request.end_tokens[0])
        self.calls += 1
        return [
            Sample(ids, d.ids, i, logprobs=d.logprobs, truncated=d.truncated)
            for (i, ids), d in zip(asked, drawn, strict=True)
        ]

    def sync(self, model: Any) -> None:
        """It has no weights."""

    def close(self) -> None:
        """It holds nothing."""


class Replay(SamplerPlugin):
    """Says the same to whoever asks."""

    def start(self, model: Any, runtime: Any, max_length: int) -> Player:
        """An engine that has not been asked yet."""
        return Player()
