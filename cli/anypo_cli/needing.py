"""`anypo list --needs`: what algorithms must be given, as their trial on a made-up batch shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.hooks import registry
from anypo.testing.subject import Subject
from anypo_cli.printing import say

NEEDED: Mapping[str, Callable[[Algorithm], bool]] = {
    "reference": lambda algorithm: "reference" in algorithm.requires,
    "critic": lambda algorithm: "critic" in algorithm.requires,
    "teacher": lambda algorithm: "teacher" in algorithm.requires,
    "pairs": lambda algorithm: {"chosen", "rejected"} <= algorithm.inputs.wanted,
    "labels": lambda algorithm: "label" in algorithm.inputs.wanted,
    "rewards": lambda algorithm: algorithm.inputs.scorer,
}


def needing(entries: Sequence[registry.Entry], needs: Sequence[str]) -> list[registry.Entry]:
    """The algorithms that need all of that, with the defaults of their knobs."""
    able = (entry for entry in entries if entry.kind == registry.ALGORITHM)
    return [entry for entry in able if not entry.disabled_by and _needs(entry) >= set(needs)]


@cache
def _needs(entry: registry.Entry) -> set[str]:
    """Of a modifier, what it needs beside what a neutral algorithm below it does."""
    subject = Subject((entry.full_name,), {}, None)
    if subject.misfit:
        say(f"note: what '{entry.name}' needs is not known: {subject.misfit}")
        return set()
    own = _of(subject.algorithm)
    return own - _of_base(subject.base) if subject.has_base else own


@cache
def _of_base(base: Any) -> set[str]:
    return _of(Subject((base,), {}, None).algorithm)


def _of(algorithm: Algorithm) -> set[str]:
    return {name for name, is_needed in NEEDED.items() if is_needed(algorithm)}
