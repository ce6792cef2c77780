"""Properties of the gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anypo.composition.algorithm import Algorithm
from anypo.composition.trial import loss_of
from anypo.testing.cases import Case, prepared
from anypo.testing.outcome import Difference, backward
from anypo.testing.report import NotApplicable
from anypo.testing.slopes import Slope, wrong_slope
from anypo.testing.subject import Subject

CLOSE = 1e-6  # of the largest expected gradient


def finite_differences(subject: Subject) -> None:
    """The gradient is the slope of the loss; what is detached counts as a constant."""
    _hold_slopes(
        subject,
        lambda case: wrong_slope(subject.algorithm, case, hold=True),
        "a number was taken out of the graph, by float(x), x.item(), x.data, torch.tensor(x) "
        "or torch.no_grad(), or an autograd.Function has a wrong backward",
    )


def nothing_detached(subject: Subject) -> None:
    """All that the loss depends on carries gradient, but for stop-gradients that are claimed."""
    if subject.claims("stop_gradient"):
        raise NotApplicable("the plugin claims 'stop_gradient'; finite_differences allows for it")

    def wrong(case: Case) -> Slope | None:
        if wrong_slope(subject.algorithm, case, hold=True):
            return None  # wrong for another reason, which finite_differences reports
        return wrong_slope(subject.algorithm, case, hold=False)

    _hold_slopes(
        subject,
        wrong,
        "a .detach() on the way from the log-probs to the loss; if the stop-gradient is part "
        "of the formula, claim it: claims = ('stop_gradient',)",
    )


def policy_gradient(subject: Subject) -> None:
    """Before any update, all models agreeing and without penalties, it is the policy gradient.

    That is -weight * advantage at every token. Where the ratio is one per sequence, it is
    -(weight of the row) * advantage, at every token or shared out among them.
    """
    if subject.refusal:
        raise NotApplicable("it cannot be composed, see above")
    if "old_logprobs" not in subject.algorithm.loss_requires:
        raise NotApplicable("its loss is not relative to the policy that sampled")
    if subject.claims("own_gradient"):
        raise NotApplicable("the plugin claims 'own_gradient'")
    algorithm = subject.without_penalties
    for case in subject.cases:
        subject.refute(
            case.agreeing(),
            lambda case: _off_policy_gradient(algorithm, case),
            "at ratio 1 and without penalties",
            "the ratio is detached, advantages are changed or lose their sign, or the gain is not "
            "proportional to ratio * advantage near 1; if another gradient is meant, say so: "
            "claims = ('own_gradient',)",
        )


def _hold_slopes(subject: Subject, wrong: Callable[[Case], Slope | None], cause: str) -> None:
    """Raise a Violation if a case has a token whose gradient is not the slope of the loss."""

    def fails(case: Case) -> Difference | None:
        slope = wrong(case)
        if slope is None:
            return None
        text = (
            f"the loss changes by {slope.measured:.4g} per unit of {slope.name} at row {slope.row},"
            f" token {slope.token}, but its gradient there is {slope.gradient:.4g}"
        )
        return Difference(_guilty(subject, case, slope), text)

    for case in subject.cases:
        subject.refute(case, fails, "by finite differences", cause)


def _guilty(subject: Subject, case: Case, slope: Slope) -> str:
    """The stage whose gradient is wrong at a token, as far as can be told."""
    algorithm = subject.without_penalties
    alike = [wrong_slope(algorithm, case, hold=hold) for hold in (True, False)]
    if slope.name != "logprobs" or alike == [None, None]:
        return "regularizer"
    ready = prepared(algorithm, case)
    logprobs = torch.where(ready.mask, case.inputs["logprobs"], 0).requires_grad_()
    log_ratio = algorithm.log_ratio(logprobs, ready)
    if not log_ratio.requires_grad:
        return "ratio"
    with torch.no_grad():
        moved = logprobs.detach().clone()
        moved[slope.row, slope.token] += 1e-3
        change = (algorithm.log_ratio(moved, ready) - log_ratio).sum() / 1e-3
    (gradient,) = torch.autograd.grad(log_ratio.sum(), logprobs)
    off = float(gradient[slope.row, slope.token] - change)
    return "ratio" if abs(off) > CLOSE**0.5 else "clip"


def _off_policy_gradient(algorithm: Algorithm, case: Case) -> Difference | None:
    """Where the gradient is not the policy gradient."""
    ready = prepared(algorithm, case)
    inputs = {**case.inputs, "logprobs": case.inputs["logprobs"].clone().requires_grad_()}
    loss = loss_of(algorithm, ready, inputs)
    backward(algorithm, loss.total)
    gradient = inputs["logprobs"].grad
    came = torch.zeros_like(inputs["logprobs"]) if gradient is None else gradient
    weights = torch.where(ready.mask, ready.weights["policy"], 0).to(came.dtype)
    log_ratio = algorithm.log_ratio(inputs["logprobs"].detach(), ready)
    is_per_row = log_ratio.shape[-1] == 1 < came.shape[-1]
    if not is_per_row:
        return _apart(came, -weights * ready.advantages)
    row = -weights.sum(-1, keepdim=True) * ready.advantages
    whole = torch.where(ready.mask, row, 0)
    shared = whole / ready.lengths.clamp(min=1).unsqueeze(-1)
    return _apart(came, whole) and _apart(came, shared)


def _apart(came: Tensor, expected: Tensor) -> Difference | None:
    off = (came - expected).abs() > CLOSE * expected.abs().max().clamp(min=1e-3)
    if not bool(off.any()):
        return None
    row, token = off.nonzero()[0].tolist()
    return Difference(
        "clip",
        f"the gradient is {float(came[row, token]):.4g} at row {row}, token {token}, where "
        f"-weight * advantage is {float(expected[row, token]):.4g}",
    )
