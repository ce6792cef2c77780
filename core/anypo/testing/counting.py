"""Properties of how much a batch counts."""

from __future__ import annotations

import torch

from anypo.testing.cases import Case, prepared
from anypo.testing.outcome import evaluate
from anypo.testing.report import NotApplicable, Violation
from anypo.testing.subject import Subject

GROWTH = 1.25  # by which statistics of twice the rows, such as over n - 1, may change a gradient
EXACT = 1e-9


def denominators(subject: Subject) -> None:
    """A batch of twice the groups counts no more in all, nor a pair once for each of its rows."""
    if subject.refusal:
        raise NotApplicable("it cannot be composed, see above")
    if subject.claims("random_choice"):
        raise NotApplicable("the plugin claims 'random_choice': of twice the rows others are drawn")
    algorithm, case = subject.algorithm, subject.case(20, prompts=4)
    once, both = (
        float(evaluate(algorithm, some).gradients["logprobs"].abs().sum())
        for some in (case, _twice(case))
    )
    who = algorithm.blame("weight")
    if both > GROWTH * once:
        raise Violation(
            f"{who}: with all groups there twice, the gradient is {both / max(once, EXACT):.3g} "
            "times as large\nusual cause: a sum instead of a mean; the weights of all tokens have "
            "a denominator, as anypo.functional.token_mean and per_completion_mean have it"
        )
    total = float(prepared(algorithm, case).weights["policy"].sum())
    sizes = {len(unit) for unit in algorithm.units(case.batch)}
    if sizes - {1} and any(abs(total - size) < EXACT * size for size in sizes):
        raise Violation(
            f"{who}: the weights add up to {total:.4g}, the number of rows that belong together, "
            "so every pair counts once for each of its rows\nusual cause: the gain of a pair "
            "stands in all of its rows, and the weights have the number of pairs for a "
            "denominator; anypo.functional.group_completion_mean has that of rows, too"
        )


def _twice(case: Case) -> Case:
    """The case with a copy of every group."""
    rows = [*range(len(case))]
    group = case.batch.group
    copies = torch.cat([group, group + 1 + group.max() - group.min()])
    return case.rows(rows + rows).with_batch(group=copies)
