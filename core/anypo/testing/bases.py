"""A modifier goes on top of any algorithm, so it is tried on several."""

from __future__ import annotations

from anypo.errors import AnypoError
from anypo.hooks.batch import MissingTensorError
from anypo.hooks.plugin import hook_options
from anypo.hooks.specs import STAGES
from anypo.testing.neutral import OTHER_BASES, NeutralBase
from anypo.testing.outcome import evaluate
from anypo.testing.report import NotApplicable, Violation
from anypo.testing.subject import Subject


def other_bases(subject: Subject) -> None:
    """It works on a ratio per sequence, advantages per token or in a dict, and on pairs, too."""
    if not subject.has_base:
        raise NotApplicable("it is a whole algorithm, or you said what is below it")
    for base in OTHER_BASES:
        if not subject.replaced & _own_stages(base):  # else there is nothing of the base to get
            _try_on(subject.on(base))


def _try_on(subject: Subject) -> None:
    try:
        for case in subject.typical:
            if not evaluate(subject.algorithm, case).is_finite:
                raise Violation(f"{_place(subject)}: the loss or its gradient is not finite")
    except AnypoError as error:
        if _lacks_something(error) and f"'{subject.stack.layers[0].name}'" not in str(error):
            return
        raise Violation(
            f"{_place(subject)}: {error}\nusual cause: a shape is taken for granted; ratio and "
            "gain are [N, T] or [N, 1], and a wrapper of `advantage` gets [N], [N, T] or a dict, "
            "which anypo.functional.split_advantages tells apart"
        ) from error


def _lacks_something(error: AnypoError) -> bool:
    """Whether a hook asked for what there is not on this base, or refuses it in its own words."""
    return type(error) is AnypoError or isinstance(error.__cause__, MissingTensorError)


def _place(subject: Subject) -> str:
    about, _, _ = (subject.base.__doc__ or "").partition("\n")
    return f"on {about[0].lower()}{about[1:].removesuffix('.')}"


def _own_stages(base: type[NeutralBase]) -> set[str]:
    """The stages that a base answers otherwise than the neutral one."""
    hooks = {stage: getattr(base, stage, None) for stage in STAGES}
    neutral = {stage: getattr(NeutralBase, stage, None) for stage in STAGES}
    return {s for s, hook in hooks.items() if hook_options(hook) and hook is not neutral[s]}
