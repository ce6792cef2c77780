"""`anypo check`: whether a plugin keeps the rules that all of its kind are held to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anypo.errors import PluginError, printable
from anypo.hooks import registry
from anypo_cli.settings import look_up, pairs, value_of

if TYPE_CHECKING:
    from anypo.testing import Report


def show_report(names: Sequence[str], settings: Sequence[str]) -> bool:
    """Print what the conformance kit finds, and say whether nothing failed."""
    given = {name: value_of(text) for name, text in pairs("--set", settings).items()}
    report = _of_sampler(names[0], given) if _is_sampler(names) else _of_stack(names, given)
    print(printable(report))
    return report.ok


def _is_sampler(names: Sequence[str]) -> bool:
    """Whether a sampler is meant; where an algorithm has the name too, it is the algorithm."""
    (name, *others) = names
    return not others and registry.knows(name, "sampler") and not registry.knows(name)


def _of_sampler(name: str, options: dict[str, Any]) -> Report:
    entry = registry.find(name, "sampler")  # it may be disabled, and that need not wait for torch
    from anypo.testing import check_sampler

    with entry.answerable():
        return check_sampler(name, options=options)


def _of_stack(names: Sequence[str], knobs: dict[str, Any]) -> Report:
    look_up(names)  # a misspelt name is no finding, and nor is a wrong knob
    from anypo.composition.compose import compose
    from anypo.composition.stack import layer_of
    from anypo.testing import check_plugin

    for name in filter(registry.names_code, "+".join(names).split("+")):
        layer_of(name)
    with suppress(PluginError):
        compose(*names, knobs=knobs)
    return check_plugin(*names, knobs=knobs)
