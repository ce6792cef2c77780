"""`anypo list`: what is installed, told without importing any of it."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pkgutil import resolve_name
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anypo.errors import ConfigError, PluginError, nearest
from anypo.hooks import registry
from anypo_cli.anatomy import anatomies
from anypo_cli.families import Known, family, heading
from anypo_cli.printing import plain
from anypo_cli.searching import found
from anypo_cli.settings import NEEDS
from anypo_cli.summary import summary

LOADERS = {  # that also look whether a plugin is what its kind has to be; imported when asked
    "sampler": "anypo.hooks.sampler:load_sampler",
    "task": "anypo.hooks.task:load_task",
    "environment": "anypo.sampling.load:load_environment",
    "command": "anypo_cli.commands:command_of",
}
BROAD = 1000  # columns


def show_list(
    kind: str | None,
    *,
    words: Sequence[str] = (),
    needs: Sequence[str] = (),
    check: bool = False,
    as_json: bool = False,
) -> None:
    """Print one line per plugin; one that cannot be used says why.

    Args:
        kind: Of which there shall be; all of them if None.
        words: That what a plugin says of itself shall hold, all of them.
        needs: What an algorithm shall need, all of it; this imports and composes every one.
        check: Import each plugin too. Without it, only what its source shows is known.
        as_json: Print a list of objects instead.
    """
    if needs and kind not in (None, registry.ALGORITHM):
        raise ConfigError(f"--needs is of algorithms, and a {kind} is none")
    for need in needs:
        if need not in NEEDS:
            raise ConfigError(f"--needs {need} is nothing that is known{nearest(need, NEEDS)}")
    kinds = registry.KINDS if kind is None else [kind]
    entries = [entry for k in kinds for entry in registry.entries(k)]
    if needs:
        from anypo_cli.needing import needing  # imports torch, which takes a second

        entries = needing(entries, needs)
    if words:
        entries = found(entries, words)
    with _nothing_thrown_away():
        known = anatomies() if any(e.kind == registry.ALGORITHM for e in entries) else {}
        plugins = [_described(entry, check, known) for entry in entries]
    if as_json:
        print(json.dumps(plugins, indent=2))
    else:
        _print([(entry.kind, heading(entry), p) for entry, p in zip(entries, plugins, strict=True)])


@contextmanager
def _nothing_thrown_away() -> Iterator[None]:
    """Syntax trees are kept, and to look for garbage among them takes longer than to make them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _print(plugins: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Print kind by kind, and family by family, plugins with the names of both."""
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe cuts no line short
        console = Console(highlight=False, width=BROAD)
    name = max((len(plugin["name"]) for *_, plugin in plugins), default=0)
    for kind, of_kind in groupby(plugins, key=itemgetter(0)):
        console.print(plain(f"{kind}s", "bold"))
        by_heading = sorted(of_kind, key=lambda told: (not told[2]["family"], told[1]))
        for title, some in groupby(by_heading, key=itemgetter(1)):
            if title:
                console.print(plain(title, "italic"), no_wrap=True, overflow="ellipsis")
            console.print(_table([plugin for *_, plugin in some], name, console.width), "")


def _table(plugins: Sequence[dict[str, Any]], name: int, width: int) -> Table:
    """A line on each, which the end of a terminal cuts short unless something is wrong."""
    own = len({plugin["distribution"] for plugin in plugins}) > 1
    changed = any(plugin["changes"] for plugin in plugins)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(min_width=name, no_wrap=True)
    for shown, style in ((own, ""), (changed, "dim")):
        if shown:
            table.add_column(no_wrap=True, max_width=width // 3, style=style)
    table.add_column()
    for plugin in plugins:
        package = [plain(f"{plugin['distribution']} {plugin['version']}")] * own
        changes = [plain(plugin["changes"])] * changed
        table.add_row(plain(plugin["name"]), *package, *changes, _line(plugin))
    return table


def _line(plugin: dict[str, Any]) -> Text:
    status, line = plugin["status"], plain(plugin["summary"])
    if status == "usable":
        line.no_wrap, line.overflow = True, "ellipsis"
        return line
    colour = "yellow" if status in ("disabled", "ambiguous") else "red"
    problem = Text.assemble((f"{status}:", colour), " ", plain(plugin["problem"]))
    return Text("; ").join(filter(None, [problem, line]))


def _described(entry: registry.Entry, check: bool, known: Known) -> dict[str, Any]:
    """What is known of a plugin; the keys stay what they are."""
    status, problem = _hindrance(entry)
    is_algorithm = entry.kind == registry.ALGORITHM
    anatomy = known.get(entry.shortest_name) if is_algorithm else None
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
        "family": family(entry),
        "extends": list(anatomy.bases) if anatomy else [],
        "changes": str(anatomy or ""),  # of what it extends, in half a line
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
