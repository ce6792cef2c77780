"""What may change about a batch without changing the loss or the gradient."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from anypo.errors import AnypoError
from anypo.hooks.batch import Sample
from anypo.testing.cases import Case, SeededScorer, joined, make_case, roll_out
from anypo.testing.outcome import TOLERANCE, Difference, Parts, difference, evaluate
from anypo.testing.report import NotApplicable, Violation
from anypo.testing.subject import Subject

MORE = 3  # columns of padding
SHIFT, SCALE = 10.0, 3.0
LOOSE = 1e-4  # small constants beside standard deviations break exact invariance


@dataclass(frozen=True)
class Change:
    """A case that should come to the same as another, and how to compare them."""

    case: Case
    parts: Parts | None = None
    restore: Callable[[Tensor], Tensor] = lambda x: x


def padding_content(subject: Subject) -> None:
    """What stands in the padding changes nothing."""

    def change(case: Case) -> Change:
        mask, ids = case.batch.mask, case.batch.input_ids
        padded = case.each_per_token(lambda x: torch.where(mask, x, _garbage(x)))
        beyond = torch.arange(ids.shape[1]) >= case.batch.sequence_lengths.unsqueeze(-1)
        padded = padded.with_batch(mask=mask, input_ids=torch.where(beyond, 7, ids))
        return Change(padded)

    _hold(
        subject,
        change,
        "with NaN, or other numbers, in the padding",
        "a hook reads tokens beyond a row's own, such as `batch.input_ids` past "
        "`batch.sequence_lengths`; multiply by `batch.mask`, or use anypo.functional.masked",
    )


def padding_width(subject: Subject) -> None:
    """How wide a batch is padded changes nothing: the longest row of others does not count."""
    _refuse_random_choice(subject)
    _hold(
        subject,
        lambda case: Change(_widened(case), restore=_cropped(case)),
        f"with {MORE} more columns of padding",
        "a mean over the padded width; divide by `batch.lengths` or `batch.mask.sum()`, as "
        "anypo.functional.masked_mean, token_mean and per_completion_mean do",
    )


def row_order(subject: Subject) -> None:
    """The order of rows changes nothing: samples come back in any order."""

    def change(case: Case) -> Change:
        order = _shuffled(len(case))
        return Change(case.rows(order), restore=lambda x: x[_inverse(order)])

    _refuse_random_choice(subject)
    _hold(
        subject,
        change,
        "with the rows in another order",
        "the rows of a group are taken to be adjacent, as in `rewards.view(-1, group_size)`; "
        "compare `batch.group`, as anypo.functional.group_mean does; or among equals the first is "
        "taken, as by topk, sort or argmax: anypo.functional.group_top_k takes all or none",
    )


def group_numbering(subject: Subject) -> None:
    """Group numbers are names: which ones they are changes nothing."""
    _hold(
        subject,
        lambda case: Change(case.with_batch(group=1000 - 7 * case.batch.group)),
        "with the groups renumbered, g becoming 1000 - 7 g",
        "a group number is used as a value or an index; anypo.functional.group_index makes "
        "0, 1, 2, … of them",
    )


def micro_batch_split(subject: Subject) -> None:
    """Losses of micro-batches add up to that of the whole batch, and so do gradients."""
    cause = (
        "a mean, sum or count over the rows of the micro-batch in `ratio`, `clip` or `regularizer`;"
        " statistics belong into `advantage`, which sees the whole batch, denominators into "
        "`weight`; rows that must stay together make a group: couples = 'group'"
    )
    for what, parts in (("one by one", _singly), ("in two halves", _halves)):

        def change(case: Case, parts: Callable[..., Parts] = parts) -> Change:
            return Change(case, parts(subject.units(case)))

        _hold(subject, change, f"with the loss taken {what}", cause)


def rank_split(subject: Subject) -> None:
    """Shared out unevenly among ranks, gathered and padded anew, a batch comes to the same."""
    _refuse_random_choice(subject)

    def change(case: Case) -> Change:
        order = joined(_shares(subject.algorithm.units(case.batch)))
        crop = _cropped(case)
        gathered = _widened(case.rows(order))
        parts = [part for part in _shares(subject.units(gathered)) if part]
        return Change(gathered, parts, lambda x: crop(x)[_inverse(order)])

    _hold(
        subject,
        change,
        "with the rows shared out among three ranks",
        "see row_order, padding_width and micro_batch_split; plugins never ask for the rank",
    )


def reward_shift(subject: Subject) -> None:
    """All rewards raised by the same number teach the same, as the plugin claims."""
    _hold_for_rewards(subject, "reward_shift", lambda r: r + SHIFT, f"{SHIFT:g} higher")


def reward_scale(subject: Subject) -> None:
    """All rewards times a positive number teach the same, as the plugin claims."""
    _hold_for_rewards(subject, "reward_scale", lambda r: r * SCALE, f"times {SCALE:g}")


def _refuse_random_choice(subject: Subject) -> None:
    if subject.claims("random_choice"):
        raise NotApplicable("the plugin claims 'random_choice': what is drawn hangs on the place")


def _hold(
    subject: Subject,
    change: Callable[[Case], Change],
    what: str,
    cause: str,
    cases: Sequence[Case] | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Raise a Violation if a case and what the change makes of it differ in loss or gradient."""
    algorithm = subject.algorithm

    def fails(case: Case) -> Difference | None:
        expected, changed = subject.outcome(case), change(case)
        try:
            came = evaluate(algorithm, changed.case, changed.parts)
        except AnypoError as error:
            return Difference("", str(error))
        return difference(expected, came.restored(changed.restore), tolerance)

    for case in subject.cases if cases is None else cases:
        subject.refute(case, fails, what, cause)


def _hold_for_rewards(
    subject: Subject, claim: str, change: Callable[[float], float], what: str
) -> None:
    """Run the rollout again with other rewards; the rows that it keeps teach the same."""
    if not subject.algorithm.inputs.scorer:
        raise NotApplicable("no completion is rewarded")
    if not subject.claims(claim):
        raise NotApplicable(f"not claimed; a plugin claims it by claims = ('{claim}',)")
    for seed in (4, 5):
        samples = roll_out(subject.algorithm, seed)
        others = roll_out(subject.algorithm, seed, scorer=SeededScorer(seed, change))
        if list(map(_identity, samples)) != list(map(_identity, others)):
            raise Violation(
                f"with all rewards {what}: {subject.algorithm.blame('rollout')} keeps other "
                f"completions\nusual cause: rewards are compared with a constant; without that "
                f"intention, drop the claim '{claim}'"
            )
        case = replace(
            make_case(subject.algorithm, samples, seed),
            twin=make_case(subject.algorithm, others, seed),
        )
        _hold(
            subject,
            lambda case: Change(case.twin or case),
            f"with all rewards {what}",
            f"no baseline is taken off or nothing is divided by the spread; drop the claim "
            f"'{claim}' if that is meant",
            [case],
            LOOSE,
        )


def _identity(sample: Sample) -> tuple[int, list[int], object]:
    return sample.group, sample.completion_ids, sample.columns.get("preference")


def _garbage(x: Tensor) -> Tensor:
    if x.is_floating_point():
        return torch.full_like(x, torch.nan)
    return ~x if x.dtype == torch.bool else torch.full_like(x, 7)


def _widened(case: Case) -> Case:
    """The case with more padding on the right of all that is per token."""

    def wide(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(len(x), MORE)], -1)

    batch, inputs, shape = case.batch, case.inputs, case.batch.mask.shape
    per_token = {n: wide(x) for n, x in batch.tensors.items() if x.shape == shape}
    return Case(
        batch.replace(mask=wide(batch.mask), input_ids=wide(batch.input_ids), **per_token),
        {name: wide(x) for name, x in inputs.items()},
    )


def _cropped(case: Case) -> Callable[[Tensor], Tensor]:
    wide = case.batch.mask.shape[1] + MORE
    return lambda x: x[:, :-MORE] if x.dim() > 1 and x.shape[1] == wide else x


def _shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(count).shuffle(order)
    return order[::-1] if order == sorted(order) else order


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _shares(units: Sequence[list[int]]) -> list[list[int]]:
    """The rows of each of three ranks, the first of which gets half of them."""
    of_rank = [units[::2], units[1::4], units[3::4]]
    return [joined(some) for some in of_rank]


def _singly(units: Sequence[list[int]]) -> Parts:
    return units


def _halves(units: Sequence[list[int]]) -> Parts:
    return [joined(half) for half in (units[::2], units[1::2]) if half]
