"""`anypo explain` of what is no algorithm: what a plugin says of itself."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anypo.errors import ConfigError, PluginError
from anypo.hooks import registry
from anypo_cli.printing import plain


def other_than_algorithm(
    names: Sequence[str], kind: str | None, *, is_changed: bool
) -> registry.Entry | None:
    """The plugin that is named if it is no algorithm; None if it is one, or nothing.

    Args:
        names: What is to be explained.
        kind: What it is, if that is said.
        is_changed: Whether stages or knobs of it are to be changed, as only an algorithm's can be.

    Raises:
        PluginError: There is none, or there are several of different kinds.
        ConfigError: It would be composed with others, or changed.
    """
    (name, *others) = names
    known = [] if others else [k for k in registry.KINDS if registry.knows(name, k)]
    kinds = [kind] if kind else known
    if not kinds or kinds[0] == registry.ALGORITHM:
        return None
    if len(kinds) > 1:
        raise PluginError(f"'{name}' is a {' and a '.join(kinds)}; choose with --kind")
    entry = registry.find(name, kinds[0])
    if others or is_changed:
        raise ConfigError(
            f"only algorithms are composed, and {entry} is none: leave out "
            f"{'--hook and --set' if is_changed else ' and '.join(others)}"
        )
    return entry


def show_description(entry: registry.Entry, *, as_json: bool) -> None:
    """Print whose a plugin is, what it is, its options, and the values that it declares."""
    described = _described(entry)
    if as_json:
        print(json.dumps(described, indent=2, default=str))
        return
    console = Console(highlight=False)
    article = "an" if entry.kind[0] in "aeiou" else "a"
    of = plain(f": {article} {entry.kind} of {described['package']}\n")
    console.print(plain(entry.name, "bold") + of)
    console.print(plain(described["documentation"]), "")
    rows = [(o["name"], _shown(o["default"]), o["description"]) for o in described["options"]]
    rows += [(name, value, "") for name, value in described["declares"].items()]
    table = Table("option", "value", "what it is", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(plain, row))
    if rows:
        console.print(table, "")
    console.print(Text("defined in ", "bold") + plain(entry.entry_point.value))


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
