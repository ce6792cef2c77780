"""Properties of hooks and of what they return."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from anypo.composition.stack import Layer
from anypo.hooks.batch import Sample
from anypo.hooks.plugin import hook_options
from anypo.hooks.specs import HOOKS, Hooks
from anypo.testing.cases import roll_out
from anypo.testing.outcome import evaluate
from anypo.testing.reading import names_in
from anypo.testing.report import Violation
from anypo.testing.subject import Subject
from anypo.testing.touch import Touch, touched

SIMILAR = 0.8  # of 1: how near to a stage's name is a misspelling


def hooks_and_signatures(subject: Subject) -> None:
    """Every hook is named like a stage, marked, and asks for arguments that the stage has."""
    if subject.misfit:
        raise Violation(subject.misfit)
    for layer in subject.stack.layers:
        _find_misspelt(layer)


def composition(subject: Subject) -> None:
    """compose accepts it: the stages answer a made-up batch, gradient reaches the log-probs."""
    if subject.refusal:
        raise Violation(subject.refusal)


def rollout(subject: Subject) -> None:
    """Samples are well formed: each belongs to a prompt, and has the columns of the others."""
    for seed, prompts in ((0, 2), (1, 4)):
        samples = roll_out(subject.algorithm, seed, prompts=prompts)
        for i, sample in enumerate(samples):
            wrong = _malformed(sample, samples[0], prompts)
            if wrong:
                blamed = subject.algorithm.blame("rollout")
                raise Violation(f"{blamed}: sample {i} of {prompts} prompts {wrong}")


def shapes_and_dtypes(subject: Subject) -> None:
    """Answers have the shapes of their stages, are floating-point and as precise as the input."""
    if subject.trouble:
        raise Violation(subject.trouble)
    for case in subject.typical:
        outcome = evaluate(subject.algorithm, case.to(torch.float32))
        for (stage, name), x in outcome.answers.items():
            checked = stage != "advantage" or name == "advantages"
            if checked and not x.is_floating_point():
                raise Violation(
                    f"{subject.algorithm.blame(stage)}: {name} has dtype {x.dtype}\n"
                    "usual cause: integers or booleans that were never turned into .float()"
                )
        if outcome.dtype.itemsize < torch.float32.itemsize:
            raise Violation(
                f"the loss of float32 log-probs has dtype {outcome.dtype}\n"
                "usual cause: .half() or .bfloat16(); keep the dtype of the log-probs"
            )


def batch_untouched(subject: Subject) -> None:
    """No hook edits the batch or an argument in place: other stages read them too."""
    for touch in _touches(subject):
        if not touch.carries_gradient:
            raise Violation(
                f"{touch.blamed} {touch.text}\n"
                "usual cause: an operation in place, such as `x -= y`, `x[i] = y` or `x.sub_(y)`; "
                "write `x = x - y`, and return what later stages shall read from `advantage`"
            )


def no_leak(subject: Subject) -> None:
    """No gradient gets into the batch: it holds facts, and a kept graph fills the memory."""
    for touch in _touches(subject):
        if touch.carries_gradient:
            raise Violation(
                f"{touch.blamed} {touch.text}, and what is there now carries gradient\n"
                "usual cause: a tensor made of the log-probs is kept in the batch; a stage that "
                "needs it computes it again"
            )


def knobs(subject: Subject) -> None:
    """Every knob that is declared is read by some code of the plugins."""
    read = subject.algorithm.active_knobs | names_in(layer.source for layer in subject.stack.layers)
    for layer in subject.stack.layers:
        for name in layer.fields.keys() - read:
            raise Violation(
                f"nothing reads the knob '{name}' of '{layer.name}'\nusual cause: a constant "
                f"stands where self.{name} was meant, or a knob below is called otherwise"
            )


def _touches(subject: Subject) -> list[Touch]:
    return [touch for case in subject.cases for touch in touched(subject.algorithm, case)]


def _find_misspelt(layer: Layer) -> None:
    """A helper with a stage's arguments and nearly its name was meant to be a hook."""
    owner = layer.source if isinstance(layer.source, type) else type(layer.source)
    for name, function in vars(owner).items():
        is_helper = name.startswith("_") or not inspect.isfunction(function)
        if is_helper or name in HOOKS or hook_options(function):
            continue
        for stage in get_close_matches(name, HOOKS, n=1, cutoff=SIMILAR):
            known = set(inspect.signature(getattr(Hooks, stage)).parameters)
            if set(inspect.signature(function).parameters) <= known:
                raise Violation(
                    f"{owner.__name__}.{name} is never called: it answers no stage; did you mean "
                    f"'{stage}', marked @hookimpl? Let a helper's name begin with _"
                )


def _malformed(sample: Sample, first: Sample, prompts: int) -> str:
    length = len(sample.completion_ids)
    per_token: dict[str, Any] = {"mask": sample.mask, "logprobs": sample.logprobs}
    per_token |= {k: x for k, x in sample.columns.items() if isinstance(x, list | Tensor)}
    if not 0 <= sample.group < prompts:
        return f"has group {sample.group}: `group` is the position of its prompt"
    if sample.columns.keys() != first.columns.keys():
        return f"has columns {sorted(sample.columns)}, but sample 0 {sorted(first.columns)}"
    if (sample.reward is None) != (first.reward is None):
        return "and sample 0 are not both rewarded"
    for name, values in per_token.items():
        if values is not None and len(values) != length:
            return f"has {len(values)} numbers in {name} for {length} tokens"
    return ""
