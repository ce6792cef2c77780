"""What a claim is: two experiments, what is read of them, and what was said of the difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from claimed.measures import Measure

SEEDS = 3


@dataclass(frozen=True)
class Run:
    """An experiment: a function that is called with a seed, in a process of its own.

    Attributes:
        function: As `module:name`; it returns curves by name.
        arguments: Of the function, in what JSON has.
    """

    function: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """What its figures are kept under, so that another experiment has none yet."""
        return {"function": self.function, **self.arguments}


@dataclass(frozen=True)
class Claim:
    """What a source says, as a comparison.

    Attributes:
        name: Of the claim, on the command line.
        source: Who says so, and where.
        says: What, in a sentence.
        arms: Two runs by name; what is said is said of the first, beside the second.
        measure: What is read of each.
        expects: Whether the first is said to have more or less of it.
        by: How much at least, in that direction. Below zero it is a margin: what is said is then
            that the first is not worse by more than that.
        relative: Whether differences are shares of what the second arm has.
        remark: Why it came out as it did, where that is known.
    """

    name: str
    source: str
    says: str
    arms: Mapping[str, Run]
    measure: Measure
    expects: Literal["more", "less"]
    by: float = 0.0
    relative: bool = False
    remark: str = ""

    @property
    def sign(self) -> int:
        """Of a difference as it is claimed."""
        return 1 if self.expects == "more" else -1
