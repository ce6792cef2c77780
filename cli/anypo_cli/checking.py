"""`anypo check`: whether a plugin keeps the rules that every algorithm is held to."""

from __future__ import annotations

from collections.abc import Sequence

from anypo.hooks import registry
from anypo_cli.settings import pairs, value_of


def show_report(names: Sequence[str], settings: Sequence[str]) -> bool:
    """Print what the conformance kit finds, and say whether nothing failed."""
    for name in "+".join(names).split("+"):
        registry.find(name)  # a misspelt name is no finding, and need not wait for torch
    from anypo.testing import check_plugin

    knobs = {name: value_of(text) for name, text in pairs("--set", settings).items()}
    report = check_plugin(*names, knobs=knobs)
    print(report)
    return report.ok
