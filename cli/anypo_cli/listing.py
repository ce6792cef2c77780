"""`anypo list`: what is installed, told without importing any of it."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from pkgutil import resolve_name
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anypo.errors import PluginError
from anypo.hooks import registry
from anypo_cli.printing import plain
from anypo_cli.summary import summary

LOADERS = {  # that also look whether a plugin is what its kind has to be; imported when asked
    "sampler": "anypo.hooks.sampler:load_sampler",
    "task": "anypo.hooks.task:load_task",
    "environment": "anypo.hooks.environment:load_environment",
    "command": "anypo_cli.commands:command_of",
}


def show_list(kind: str | None, *, check: bool, as_json: bool) -> None:
    """Print one line per plugin; one that cannot be used says why.

    Args:
        kind: Of which there shall be; all of them if None.
        check: Import each plugin too. Without it, only what its source shows is known.
        as_json: Print a list of objects instead.
    """
    kinds = registry.KINDS if kind is None else [kind]
    plugins = [_described(entry, check) for k in kinds for entry in registry.entries(k)]
    if as_json:
        print(json.dumps(plugins, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "package", "version"):
        table.add_column(title, no_wrap=True)
    table.add_column("what it is")
    for heading, some in groupby(plugins, key=itemgetter("kind")):
        table.add_row(f"[bold]{heading}s[/]")
        for plugin in some:
            cells = [plain(plugin[key]) for key in ("name", "distribution", "version")]
            table.add_row(*cells, _line(plugin))
    Console().print(table)


def _line(plugin: dict[str, Any]) -> Text:
    status, line = plugin["status"], plain(plugin["summary"])
    if status == "usable":
        return line
    colour = "yellow" if status in ("disabled", "ambiguous") else "red"
    problem = Text.assemble((f"{status}:", colour), " ", plain(plugin["problem"]))
    return Text("; ").join(filter(None, [problem, line]))


def _described(entry: registry.Entry, check: bool) -> dict[str, Any]:
    """What is known of a plugin; the keys stay what they are."""
    status, problem = _hindrance(entry)
    line = ""
    try:
        line = summary(entry)
        if check and status == "usable":
            _check(entry)
    except (PluginError, KeyboardInterrupt) as error:  # the latter may be raised by a plugin
        if status in ("usable", "ambiguous"):
            status, problem = "broken", str(error) or "it was interrupted when it was imported"
    return {
        "name": entry.name,
        "kind": entry.kind,
        "distribution": entry.distribution,
        "version": entry.version,
        "class": entry.entry_point.value,
        "summary": line,
        "status": status,  # usable, disabled, broken, incompatible or ambiguous
        "problem": problem,
    }


def _hindrance(entry: registry.Entry) -> tuple[str, str]:
    if entry.disabled_by:
        return "disabled", f"by '{entry.disabled_by}' in {registry.DISABLE}"
    if problem := entry.mismatch():
        return "incompatible", problem
    if len(rivals := registry.rivals(entry)) > 1:
        return "ambiguous", registry.rivalry(rivals)
    return "usable", ""


def _check(entry: registry.Entry) -> None:
    """Import a plugin, and look whether it is what its kind has to be."""
    if entry.kind in LOADERS:
        resolve_name(LOADERS[entry.kind])(entry.full_name)
    else:
        entry.load()
