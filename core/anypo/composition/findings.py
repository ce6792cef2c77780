"""What only a trial can tell of an algorithm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
    unread: Mapping[str, frozenset[str]] = field(default_factory=dict)  # what plugins change in
    # vain, by plugin
    silent: frozenset[str] = frozenset()  # plugins without a penalty of their own in the end
    overridden: Mapping[str, frozenset[str]] = field(default_factory=dict)  # those of them whose
    # penalties others replace, with the names of these
    only_advantages_count: bool = False  # rows without one add nothing to loss and gradient

    @property
    def requires(self) -> frozenset[str]:
        """All that the core must provide; see `REQUIREMENTS`."""
        return self.prepare_requires | self.loss_requires


def together(found: Sequence[Findings]) -> Findings:
    """What holds of an algorithm with several values of its knobs, one of which is first."""
    first = found[0]
    return replace(
        first,
        inputs=Inputs(
            sampler=any(one.inputs.sampler for one in found),
            scorer=any(one.inputs.scorer for one in found),
            completions=frozenset().union(*(one.inputs.completions for one in found)),
            columns=frozenset().union(*(one.inputs.columns for one in found)),
            fixed=all(one.inputs.fixed for one in found),
            otherwise=any(one.inputs.otherwise for one in found),
        ),
        statistics=frozenset().union(*(one.statistics for one in found)),
        prepare_requires=frozenset().union(*(one.prepare_requires for one in found)),
        loss_requires=frozenset().union(*(one.loss_requires for one in found)),
        old_statistics=any(one.old_statistics for one in found),
        active_knobs=frozenset().union(*(one.active_knobs for one in found)),
        unread={k: v for k, v in first.unread.items() if all(k in one.unread for one in found)},
        silent=frozenset.intersection(*(one.silent for one in found)),
        overridden=first.overridden if all(one == first for one in found) else {},
        only_advantages_count=all(one.only_advantages_count for one in found),
    )
