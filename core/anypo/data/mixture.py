"""Several data sets as one: which they are, and how much is drawn from each."""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from anypo.data.stream import PromptStream
from anypo.errors import ConfigError
from anypo.hooks.batch import Prompt
from anypo.support.lazy import Joined

APART = 15_485_863  # seeds of the streams of a mixture: torch reads the lowest 32 bits alone


class Part(NamedTuple):
    """A data set, and how much of all is drawn from it if that is said."""

    name: str
    weight: float | None = None


def parts_of(specs: Sequence[str]) -> list[Part]:
    """The data sets that specifications name: `NAME`, or all `NAME=SHARE`.

    What exists under the whole of a specification is meant by it, whatever it ends with.

    Raises:
        ConfigError: Only some have a share, one is no share, or two are of the same data set.
    """
    parts = [_part(spec) for spec in specs]
    names = [part.name for part in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"data set '{twice}' is named twice")
    bare = [part.name for part in parts if part.weight is None]
    if bare and len(bare) < len(parts):
        raise ConfigError(
            f"data set '{bare[0]}' has no share, but others have: write {bare[0]}=SHARE, or leave "
            "out all shares to draw every prompt equally often"
        )
    return parts


def shares_of(parts: Sequence[Part]) -> list[float] | None:
    """The shares, which add up to 1; None if there are none."""
    weights = [part.weight for part in parts if part.weight is not None]
    return [weight / sum(weights) for weight in weights] or None


def _part(spec: str) -> Part:
    name, separator, text = spec.rpartition("=")
    if separator and name and not Path(spec).exists():
        with suppress(ValueError):  # the `=` belongs to the name
            weight = float(text)
            if not (math.isfinite(weight) and weight > 0):
                raise ConfigError(f"'{spec}': a share is a number above 0; leave out what has none")
            return Part(name, weight)
    return Part(spec)


class Mixture:
    """Prompts without end of several data sets, each of which has its share of any number drawn.

    The next prompt is of the data set that lacks most of its share. So that is a function of how
    many were drawn of each, and each is never further than one prompt per other from its share.
    """

    def __init__(
        self, sets: Sequence[Sequence[Prompt]], shares: Sequence[float], seed: int
    ) -> None:
        self.prompts, self.shares = Joined(sets), shares
        self.streams = [PromptStream(x, seed + i * APART) for i, x in enumerate(sets)]

    @property
    def drawn(self) -> list[int]:
        """How many of each."""
        return [stream.drawn for stream in self.streams]

    @drawn.setter
    def drawn(self, numbers: Sequence[int]) -> None:
        for stream, number in zip(self.streams, numbers, strict=True):
            stream.drawn = number

    def draw(self, n: int) -> list[Prompt]:
        """The next `n` prompts."""
        return [self._next() for _ in range(n)]

    def _next(self) -> Prompt:
        total = sum(self.drawn) + 1
        lacking = [total * share - n for share, n in zip(self.shares, self.drawn, strict=True)]
        (prompt,) = self.streams[lacking.index(max(lacking))].draw(1)
        return prompt


Stream = PromptStream | Mixture
