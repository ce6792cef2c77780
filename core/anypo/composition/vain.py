"""What a plugin changes that nothing reads."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace

import torch

from anypo.composition.algorithm import Algorithm
from anypo.composition.kept import first_kept
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer, synthetic_prompt
from anypo.errors import AnypoError
from anypo.hooks.batch import Batch, Sample
from anypo.hooks.plugin import hook_options, recorded_knobs
from anypo.hooks.specs import HOOKS, beginning


def unread_changes(
    algorithm: Algorithm, batch: Batch, reads: Collection[str]
) -> dict[str, frozenset[str]]:
    """By plugin what it changes of the batch, where it does nothing else and nothing reads that.

    Of a stage only the topmost plugin is looked at: one above it might read what it says.

    Args:
        algorithm: In which the plugins are.
        batch: Samples of made-up prompts, without advantages.
        reads: What any stage reads of a batch, by name.
    """
    looks: dict[str, Callable[[str], frozenset[str]]] = {
        "rollout": lambda label: _changed_rewards(algorithm, label),
        "advantage": lambda label: _changed_columns(algorithm, label, batch),
    }
    found: dict[str, frozenset[str]] = {}
    for stage, look in looks.items():
        top = algorithm.answers(stage)[0]
        answered = [x for x in HOOKS if hook_options(getattr(top.plugin, x, None))]
        if top.wrapper and answered == [stage]:
            with suppress(AnypoError), recorded_knobs():  # what fails without it needs it
                found[top.plugin_name] = look(top.plugin_name)
    return {label: names for label, names in found.items() if names and names.isdisjoint(reads)}


def _changed_rewards(algorithm: Algorithm, label: str) -> frozenset[str]:
    """`rewards`, if a plugin changes these of the samples and nothing else."""
    changed = _samples(algorithm)
    with algorithm.calls.leaving_out("rollout", {label}):
        before = _samples(algorithm)
    others = [[replace(sample, reward=None) for sample in some] for some in (changed, before)]
    return frozenset({"rewards"} if changed != before and others[0] == others[1] else ())


def _samples(algorithm: Algorithm) -> list[Sample]:
    prompts = [synthetic_prompt(row) for row in range(2)]
    return first_kept(algorithm, prompts, SyntheticSampler(), SyntheticScorer(), beginning())


def _changed_columns(algorithm: Algorithm, label: str, batch: Batch) -> frozenset[str]:
    """The tensors that are others, or there, because of a plugin."""
    changed = algorithm.advantage(batch, beginning()).tensors
    with algorithm.calls.leaving_out("advantage", {label}):
        before = algorithm.advantage(batch, beginning()).tensors
    same = {name for name in before if torch.equal(before[name], changed[name])}
    return frozenset(changed.keys() - same)
