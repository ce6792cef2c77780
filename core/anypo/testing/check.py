"""Go through all properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from anypo.testing import bases, counting, direction, edges, gradients, invariances, runs, stages
from anypo.testing.report import NotApplicable, Report, Result, result_of
from anypo.testing.subject import Subject

Check = Callable[[Subject], None]

_CHECKS: tuple[Check, ...] = (
    stages.hooks_and_signatures,
    stages.composition,
    stages.rollout,
    stages.shapes_and_dtypes,
    stages.batch_untouched,
    stages.no_leak,
    stages.knobs,
    bases.other_bases,
    runs.determinism,
    edges.finite_float32,
    edges.finite_bfloat16,
    gradients.finite_differences,
    gradients.nothing_detached,
    gradients.policy_gradient,
    direction.better_ones,
    direction.towards_reference,
    direction.way_back,
    counting.denominators,
    invariances.padding_content,
    invariances.padding_width,
    invariances.row_order,
    invariances.group_numbering,
    invariances.micro_batch_split,
    invariances.rank_split,
    edges.group_of_one,
    edges.equal_rewards,
    edges.empty_rows,
    edges.truncated_rows,
    edges.one_token_rows,
    edges.missing_scores,
    invariances.reward_shift,
    invariances.reward_scale,
    runs.state_survives,
    runs.gpu,
)
_OF_BATCHES = [module.__name__ for module in (gradients, direction, counting, invariances)]
_FIRST = _CHECKS[:4]  # what they find makes nonsense of the others
_COMPARING = {
    *(check for check in _CHECKS if check.__module__ in _OF_BATCHES),
    edges.equal_rewards,
    runs.state_survives,
    runs.gpu,
}
PROPERTIES = {check.__name__: check for check in _CHECKS}


def check_plugin(
    *plugins: Any,
    on: Any = (),
    knobs: Mapping[str, Any] | None = None,
    claims: Sequence[str] | None = None,
) -> Report:
    """Try a plugin on generated batches and say of every property whether it holds.

        check_plugin(MyAlgorithm).raise_if_failed()
        check_plugin("grpo+my_modifier")
        check_plugin(MyModifier, on="grpo", knobs={"group_size": 4})

    Args:
        plugins: Names, classes or instances, bottom first, as for `anypo.compose`.
        on: What is put below them, likewise; several as a list. What is no whole algorithm is
            put on a neutral one.
        knobs: Values by name.
        claims: What is claimed, instead of what the plugins say of themselves.
    """
    return report_on(make_subject(*plugins, on=on, knobs=knobs, claims=claims))


def make_subject(
    *plugins: Any, on: Any, knobs: Mapping[str, Any] | None, claims: Sequence[str] | None
) -> Subject:
    """What `check_plugin` checks."""
    below = on if isinstance(on, list | tuple) else [on]
    return Subject([*below, *plugins], knobs or {}, claims)


def report_on(subject: Subject) -> Report:
    """The results of all properties, in order."""
    results = tuple(examine(name, subject) for name in PROPERTIES)
    return Report(subject.name, results)


def examine(name: str, subject: Subject) -> Result:
    """The result of one property."""
    check = PROPERTIES[name]

    def attempt() -> None:
        _refuse_what_cannot_be_tried(check, subject)
        check(subject)

    return result_of(check, attempt)


def _refuse_what_cannot_be_tried(check: Check, subject: Subject) -> None:
    """A plugin that does not work at all fails once, and not once per property."""
    if check is stages.hooks_and_signatures:
        return
    if subject.misfit:
        raise NotApplicable("it cannot be put together, see hooks_and_signatures")
    if check not in _FIRST and subject.trouble:
        raise NotApplicable("a stage fails, see above")
    if check is stages.shapes_and_dtypes and subject.trouble == subject.refusal != "":
        raise NotApplicable("a stage fails, see composition")
    if check in _COMPARING and subject.unsteadiness:
        raise NotApplicable("no two calls agree, see determinism")
