"""`anypo explain` of what is no algorithm: what a plugin says of itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anypo.errors import PluginError, nearest
from anypo.hooks import registry


def other_than_algorithm(names: Sequence[str], kind: str | None) -> registry.Entry | None:
    """The sampler, reward, task or command that is named; None if it is an algorithm, or nothing.

    Args:
        names: What is to be explained.
        kind: What it is, if that is said.

    Raises:
        PluginError: There is none, or there are several of different kinds.
    """
    if kind is not None and kind not in registry.KINDS:
        raise PluginError(f"there is no kind '{kind}' of plugin{nearest(kind, registry.KINDS)}")
    if kind == registry.ALGORITHM or len(names) > 1:
        return None
    (name,) = names
    kinds = [kind] if kind else [k for k in registry.KINDS if registry.knows(name, k)]
    if not kinds or kinds[0] == registry.ALGORITHM:
        return None
    if len(kinds) > 1:
        raise PluginError(f"'{name}' is a {' and a '.join(kinds)}; choose with --kind")
    return registry.find(name, kinds[0])


def show_description(entry: registry.Entry, *, as_json: bool) -> None:
    """Print whose a plugin is, what it is, its options, and the values that it declares."""
    described = _described(entry)
    if as_json:
        print(json.dumps(described, indent=2, default=str))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(entry.name)}[/]: a {entry.kind} of {described['package']}\n")
    console.print(escape(described["documentation"]) + "\n")
    rows = [(o["name"], _shown(o["default"]), o["description"]) for o in described["options"]]
    rows += [(name, value, "") for name, value in described["declares"].items()]
    table = Table("option", "value", "what it is", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    if rows:
        console.print(table, "")
    console.print(f"[bold]defined in[/] {entry.entry_point.value}")


def _shown(default: Any) -> str:
    return "" if default is None else str(default)


def _described(entry: registry.Entry) -> dict[str, Any]:
    """What is known of a plugin; the keys stay what they are."""
    plugin = entry.load()
    before = entry.option_prefix
    fields = getattr(plugin, "model_fields", {})
    own = vars(plugin) if isinstance(plugin, type) and not fields else {}
    return {
        "name": entry.name,
        "kind": entry.kind,
        "package": f"{entry.distribution} {entry.version}",
        "class": entry.entry_point.value,
        "documentation": inspect.getdoc(plugin) or "",
        "options": [
            {
                "name": before + name,
                "default": field.get_default(call_default_factory=True),
                "description": field.description or "",
            }
            for name, field in fields.items()
        ],
        "declares": {
            name: value
            for name, value in own.items()
            if not name.startswith(("_", "model_"))
            and isinstance(value, str | int | float | list | dict)
        },
    }
