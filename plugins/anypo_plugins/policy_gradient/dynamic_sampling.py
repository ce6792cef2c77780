"""Which groups of completions teach anything: those that are not all right or all wrong.

Source: DAPO, Yu et al. 2025, arXiv:2503.14476, section 3.2.
"""

from collections import defaultdict
from math import isnan

import anypo.functional as F
from anypo import AnypoError


def unequal_groups(samples, filter_by, notes):
    """The samples of the groups whose scores differ.

    Args:
        samples: With the raw scores of their rewards.
        filter_by: The reward whose scores are meant; None: their weighted sum.
        notes: Gets a sentence if most groups that agree in one reward are kept for another.
    """
    groups = defaultdict(list)
    for sample in samples:
        groups[sample.group].append(sample)
    kept = {name for name, group in groups.items() if _differ(group, filter_by)}
    if filter_by is None and (hidden := _hidden(groups, kept)):
        notes.append(
            f"filter_groups keeps most groups whose '{hidden}' scores are all equal, because "
            f"another reward tells them apart: if '{hidden}' is what counts, --filter-by {hidden} "
            "drops them"
        )
    return [sample for sample in samples if sample.group in kept]


def _differ(group, filter_by):
    if filter_by is None:
        return _spread([_sum(sample) for sample in group]) > F.EQUAL_REWARDS
    if filter_by not in group[0].scores:
        raise AnypoError(
            f"filter_by names '{filter_by}', but the rewards of the run are "
            f"{', '.join(group[0].scores)}"
        )
    return _differ_in([filter_by], group)


def _hidden(groups, kept):
    """A reward of right and wrong: most groups that agree in all such are kept for another one."""
    samples = [sample for group in groups.values() for sample in group]
    scores = {name: set(_scores(samples, name)) for name in samples[0].scores} if samples else {}
    binary = [name for name, seen in scores.items() if len(seen) <= 2 and min(seen, default=1) <= 0]
    agree = {name for name, group in groups.items() if not _differ_in(binary, group)}
    if 2 * len(agree & kept) > len(agree) and 0 < len(binary) < len(scores):
        return max(binary, key=lambda name: len(scores[name]))
    return None


def _differ_in(names, group):
    return any(_spread(_scores(group, name)) > F.EQUAL_REWARDS for name in names)


def _sum(sample):
    applying = [(name, score) for name, score in sample.scores.items() if not isnan(score)]
    return sum(sample.score_weights.get(name, 1.0) * score for name, score in applying)


def _scores(group, name):
    """Those of a reward that apply."""
    scores = (sample.scores[name] for sample in group)
    return [score for score in scores if not isnan(score)]


def _spread(scores):
    return max(scores, default=0.0) - min(scores, default=0.0)
