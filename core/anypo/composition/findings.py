"""What only a trial can tell of an algorithm."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anypo.hooks.rollout import Inputs


@dataclass(frozen=True)
class Findings:
    """What the stages of an algorithm were seen to read and do."""

    inputs: Inputs = field(default_factory=Inputs)  # what the rollout makes its samples from
    prepare_requires: frozenset[str] = frozenset()  # what `advantage` or `weight` needs
    loss_requires: frozenset[str] = frozenset()  # what `ratio`, `clip` or a penalty needs
    statistics: frozenset[str] = frozenset()  # what `distribution` returns, by name
    old_statistics: bool = False  # whether some are read of the policy before the update
    active_knobs: frozenset[str] = frozenset()  # those that some active stage reads
    silent: frozenset[str] = frozenset()  # plugins without a penalty of their own in the end
    overridden: Mapping[str, frozenset[str]] = field(default_factory=dict)  # those of them whose
    # penalties others replace, with the names of these
    only_advantages_count: bool = False  # rows without one add nothing to loss and gradient

    @property
    def requires(self) -> frozenset[str]:
        """All that the core must provide; see `REQUIREMENTS`."""
        return self.prepare_requires | self.loss_requires

    def __or__(self, other: "Findings") -> "Findings":
        """What holds of an algorithm of which both were found, with other values of its knobs."""
        either = {name: getattr(self, name) | getattr(other, name) for name in vars(self)}
        either |= {
            "silent": self.silent & other.silent,
            "overridden": self.overridden if self.overridden == other.overridden else {},
            "only_advantages_count": self.only_advantages_count and other.only_advantages_count,
        }
        return Findings(**either)
