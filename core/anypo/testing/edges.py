"""Batches at the edge: nothing in them may make a loss or a gradient infinite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import Sample
from anypo.hooks.requirements import LOGPROBS
from anypo.testing.cases import Case, SeededSampler, SeededScorer, make_case, prepared, roll_out
from anypo.testing.outcome import Difference, Outcome, evaluate
from anypo.testing.report import NotApplicable
from anypo.testing.subject import Subject

FAR = {  # log-probs as trained models give them: all but certain, all but impossible
    "logprobs": (-1e-3, 0.0, -60.0, -1e-8, -3.0, -1e-4),
    "old_logprobs": (-50.0, -1e-3, -1e-4, -2.0, -40.0),
    "ref_logprobs": (-1e-3, -45.0, -2.0, 0.0),
    "sampler_logprobs": (-30.0, -1.0, -1e-3),
}
EQUAL = 0.7  # has no exact float32, so that means of it are off by a rounding error
ROUNDING = 1e-3  # by which an advantage may be off in float32


def finite_float32(subject: Subject) -> None:
    """In float32 the gradient is finite, however far the log-probs are apart."""
    _finite_at_extremes(subject, torch.float32)


def finite_bfloat16(subject: Subject) -> None:
    """In bfloat16, where exp(-0.001) is 1, the gradient is finite too."""
    _finite_at_extremes(subject, torch.bfloat16)


def group_of_one(subject: Subject) -> None:
    """A group with a single row, as when others were dropped, gives finite numbers."""
    if subject.algorithm.couples_groups:
        raise NotApplicable("the rows of a group belong together")
    case = subject.case(6)
    firsts = case.rows([rows[0] for rows in rows_by_group(case.batch.group)])
    cause = (
        "the standard deviation of one number is NaN, or n - 1 divides; anypo.functional."
        "group_standardize gives such a group 0"
    )
    _stay_finite(subject, [firsts, firsts.rows([0])], "where every group has one row", cause)


def equal_rewards(subject: Subject) -> None:
    """Groups whose rewards are all equal give finite numbers, and no advantage out of rounding."""
    if not subject.algorithm.inputs.scorer:
        raise NotApplicable("no completion is rewarded")
    samples = roll_out(subject.algorithm, 11, scorer=SeededScorer(11, lambda _: EQUAL))
    if not samples:
        raise NotApplicable("its rollout drops groups of equal rewards")
    what, cause = (
        f"where every reward is {EQUAL}",
        "a standard deviation of nothing but rounding errors divides; anypo.functional."
        "group_standardize takes such a group for 0",
    )
    case = make_case(subject.algorithm, samples, 11)
    _stay_finite(subject, [case], what, cause)

    def fails(case: Case) -> Difference | None:
        exact, rounded = (
            prepared(subject.algorithm, case.to(dtype)).advantages
            for dtype in (torch.float64, torch.float32)
        )
        apart = (rounded - exact).abs() > ROUNDING * exact.abs().max().clamp(min=1)
        if not bool(apart.any()):
            return None
        row, token = apart.nonzero()[0].tolist()
        text = f"{float(rounded[row, token]):.4g} in float32, {float(exact[row, token]):.4g} in "
        return Difference("advantage", f"advantages are {text}float64 at row {row}, token {token}")

    subject.refute(case, fails, what, cause)


def empty_rows(subject: Subject) -> None:
    """Rows without a token to learn from, even nothing but such rows, give finite numbers."""
    case = subject.case(7)
    mask = case.batch.mask.clone()
    mask[: len(mask) // 2 : 2] = False
    nothing = case.with_batch(mask=torch.zeros_like(mask))
    cause = "a number of tokens or rows that can be 0 divides; put .clamp(min=1) behind it"
    cases = [case.with_batch(mask=mask), nothing]
    _stay_finite(subject, cases, "with rows that have no token", cause)


def truncated_rows(subject: Subject) -> None:
    """Rows that were cut at the length limit, even nothing but such rows, give finite numbers."""
    longest = SeededSampler(8, fixed_length=SeededSampler.max_completion_length)
    samples = roll_out(subject.algorithm, 8, sampler=longest)
    if not samples:
        raise NotApplicable("its rollout drops them")
    case = make_case(subject.algorithm, samples, 8)
    cut = case.with_batch(truncated=torch.ones_like(case.batch.truncated))
    cause = "`batch.truncated` leaves no row, and their number divides; put .clamp(min=1) behind it"
    _stay_finite(subject, [cut], "where every row is truncated", cause)


def one_token_rows(subject: Subject) -> None:
    """Rows of a single token give finite numbers of the right shape."""
    case = subject.case(9).each_per_token(lambda x: x[:, :1])
    _stay_finite(subject, [case], "where every row has one token", "n - 1 divides, n being tokens")


def missing_scores(subject: Subject) -> None:
    """A reward that does not apply to some rows, NaN in `batch.scores`, spoils no gradient."""
    if not subject.algorithm.inputs.scorer:
        raise NotApplicable("no completion is rewarded")
    samples = roll_out(subject.algorithm, 10, scorer=_PatchyScorer(10))
    cause = "`batch.scores` is NaN where a reward does not apply: leave such rows out of statistics"
    what = "where one of two rewards does not apply to some rows"
    _stay_finite(subject, [make_case(subject.algorithm, samples, 10)], what, cause)


class _PatchyScorer(SeededScorer):
    """Leaves out the second reward now and then."""

    def scored(self, sample: Sample, i: int) -> Sample:
        sample = super().scored(sample, i)
        if i % 3:
            return sample
        one = sample.scores["one"]
        return replace(sample, reward=one, scores={"one": one, "two": torch.nan})


def _finite_at_extremes(subject: Subject, dtype: torch.dtype) -> None:
    case = subject.case(12)
    shape = case.batch.mask.shape
    far = {name: _cycled(FAR.get(name, FAR["ref_logprobs"]), shape) for name in LOGPROBS}
    logprobs = _cycled(FAR["logprobs"], shape)
    case = replace(case, inputs={**case.inputs, "logprobs": logprobs}).with_batch(**far)
    case = case.to(torch.float32).with_batch(**{name: x.to(dtype) for name, x in far.items()})
    case = replace(case, inputs={name: x.to(dtype) for name, x in case.inputs.items()})
    _stay_finite(
        subject,
        [case],
        f"with log-probs in {str(dtype).partition('.')[2]} between -60 and 0",
        "exp of a number above 88, or log of 0 as in log(1 - exp(logprobs)); "
        "anypo.functional.exp_ratio clamps, and log_odds shows how to stay finite",
        dtype=None,
    )


def _cycled(values: Sequence[float], shape: torch.Size) -> Tensor:
    places = torch.arange(shape.numel()).reshape(shape)
    return torch.tensor(values, dtype=torch.float64)[places % len(values)]


def _stay_finite(
    subject: Subject,
    cases: Sequence[Case],
    what: str,
    cause: str,
    dtype: torch.dtype | None = torch.float32,
) -> None:
    def fails(case: Case) -> Difference | None:
        return _not_finite(evaluate(subject.algorithm, case))

    for case in cases:
        subject.refute(case if dtype is None else case.to(dtype), fails, what, cause)


def _not_finite(outcome: Outcome) -> Difference | None:
    """The first stage whose answer is not finite at an unmasked token, if the outcome is not."""
    if outcome.is_finite:
        return None
    for (stage, name), x in outcome.answers.items():
        seen = torch.where(outcome.mask, x, 0) if x.shape == outcome.mask.shape else x
        if not bool(seen.isfinite().all()):
            return Difference(stage, f"{name} is {_first_odd(seen)}")
    for name, term in outcome.terms.items():
        if term - term != 0:
            stage = "clip" if name == "policy" else "regularizer"
            return Difference(stage, f"the loss term '{name}' is {term}")
    for name, x in outcome.gradients.items():
        if not bool(x.isfinite().all()):
            return Difference("clip", f"the loss is finite, its gradient in {name} {_first_odd(x)}")
    return Difference("", f"the loss is {outcome.total}")


def _first_odd(x: Tensor) -> str:
    place = tuple((~x.isfinite()).nonzero()[0].tolist())
    named = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "token"), place, strict=False))
    return f"{float(x[place])} at {named}"
