"""Properties of where a step along the gradient leads: what a flipped sign breaks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from anypo.composition.algorithm import Algorithm
from anypo.composition.trial import loss_of
from anypo.hooks.batch import Batch
from anypo.testing.cases import Case, prepared
from anypo.testing.outcome import Difference, backward
from anypo.testing.report import NotApplicable, Violation
from anypo.testing.subject import Subject
from anypo.testing.worlds import as_good_or_bad

APART = 0.3  # nats by which a reference is put above or below the policy
STEPS = (0.3, 0.9)  # nats by which a ratio has moved
NOISE = 1e-6  # of all that is compared


def better_ones(subject: Subject) -> None:
    """A step makes completions more likely where they are rewarded, or chosen, than where not."""
    _refuse_uncomposed(subject)
    if subject.claims("own_direction"):
        raise NotApplicable("the plugin claims 'own_direction'")
    algorithm = subject.algorithm
    found = as_good_or_bad(algorithm)
    if found is None:
        raise NotApplicable("nothing says which completions are the better ones")
    said, pairs = found
    gain = sum(good.logprob - other.logprob for good, other in pairs)
    if gain >= -NOISE * sum(abs(good.logprob) + abs(other.logprob) for good, other in pairs):
        return
    merit = sum(good.advantage - other.advantage for good, other in pairs)
    good, other = min(pairs, key=lambda pair: pair[0].logprob - pair[1].logprob)
    raise Violation(
        f"{algorithm.blame('advantage' if merit < 0 else 'clip')}: a completion becomes less "
        f"likely where it is the better one: its log-prob moves by {good.logprob:.4g} where it is "
        f"{said[0]}, by {other.logprob:.4g} where it is {said[1]}\nusual cause: a flipped sign: an "
        "advantage is what is better than expected, and `clip` returns a gain, to be maximised, "
        "and no loss"
    )


def towards_reference(subject: Subject) -> None:
    """Penalties and advantages pull towards a reference or teacher, and never away from it."""
    _refuse_uncomposed(subject)
    others = {"reference": "ref_logprobs", "teacher": "teacher_logprobs"}
    compared = [name for name in others if name in subject.algorithm.requires]
    if not compared:
        raise NotApplicable("there is no reference and no teacher")
    case = subject.case(18, prompts=2).agreeing()
    side = torch.where(torch.arange(len(case)) % 2 == 0, 1.0, -1.0).unsqueeze(-1)
    pulls = (("regularizer", _pull_of_penalties), ("advantage", _advantages))
    for other, (stage, pull) in product(compared, pulls):
        above, below = (
            pull(
                subject,
                case.with_batch(**{others[other]: case.inputs["logprobs"] + apart * side}),
            )
            for apart in (APART, -APART)
        )
        gained = float((side * (above - below)).sum())
        if gained < -NOISE * float((above.abs() + below.abs()).sum()):
            raise Violation(
                f"{subject.algorithm.blame(stage)}: tokens that the {other} finds likelier become "
                f"less likely, by {-gained:.4g} in all\nusual cause: a divergence from the {other} "
                "is rewarded: as a penalty it has a plus, in a gain or an advantage a minus; or "
                "the two log-probs have changed places"
            )


def way_back(subject: Subject) -> None:
    """A token that moved against its advantage is learnt, if one that moved along with it is."""
    _refuse_uncomposed(subject)
    if "old_logprobs" not in subject.algorithm.loss_requires:
        raise NotApplicable("its loss is not relative to the policy that sampled")
    algorithm = subject.without_penalties

    def fails(case: Case) -> Difference | None:
        return next((lost for step in STEPS for lost in _lost(algorithm, case, step)), None)

    subject.refute(
        subject.case(19, prompts=2).agreeing(),
        fails,
        "where the ratio has moved",
        "a bound on the wrong side, such as `torch.maximum` for `torch.minimum`: it stops tokens "
        "that went the wrong way, and lets the others run",
    )


def _refuse_uncomposed(subject: Subject) -> None:
    if subject.refusal:
        raise NotApplicable("it cannot be composed, see above")


def _pull_of_penalties(subject: Subject, case: Case) -> Tensor:
    """Where a step along the gradient of the penalties leads, [N, T]."""
    with_them, without = (
        _step(algorithm, case, prepared(algorithm, case))
        for algorithm in (subject.algorithm, subject.without_penalties)
    )
    return with_them - without


def _advantages(subject: Subject, case: Case) -> Tensor:
    ready = prepared(subject.algorithm, case)
    return torch.where(ready.mask, ready.advantages, 0)


def _lost(algorithm: Algorithm, case: Case, step: float) -> Iterator[Difference]:
    """Tokens whose ratio has moved by a step against their advantage, and that stay there."""
    ready, logprobs = prepared(algorithm, case), case.inputs["logprobs"]
    side = torch.where(ready.mask, ready.advantages, 0).sign()
    change = algorithm.log_ratio(logprobs + 1e-3, ready) - algorithm.log_ratio(logprobs, ready)
    nats = torch.where(change > 0, step * 1e-3 / change, 0)  # a sum over tokens moves faster

    def learnt(way: int) -> Tensor:
        moved = {**case.inputs, "logprobs": logprobs + way * side * nats}
        return side * _step(algorithm, replace(case, inputs=moved), ready)

    along, against = learnt(1), learnt(-1)
    floor = NOISE * max(float(along.abs().max()), float(against.abs().max()))
    for row, token in ((against <= floor) & (along > floor)).nonzero().tolist():
        advantage = float(ready.advantages[row, token])
        yield Difference(
            "clip",
            f"row {row}, token {token} has the advantage {advantage:.4g} and is learnt where its "
            f"log-ratio has moved by {step} along with it, and not where it moved against it",
        )


def _step(algorithm: Algorithm, case: Case, ready: Batch) -> Tensor:
    """Where a step along the gradient leads, [N, T]."""
    leaves = {name: x.clone().requires_grad_() for name, x in case.inputs.items()}
    backward(algorithm, loss_of(algorithm, ready, leaves).total)
    gradient = leaves["logprobs"].grad
    return torch.zeros_like(leaves["logprobs"]) if gradient is None else -gradient
