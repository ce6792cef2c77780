"""`anypo list`: what is installed, told without importing any of it."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anypo import registry
from anypo.errors import PluginError


def show_list(*, check: bool) -> None:
    """Print one line per plugin; a broken one says why.

    Args:
        check: Import each plugin too. Without it, only what its source shows is known.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "package", "version"):
        table.add_column(title, no_wrap=True)
    table.add_column("what it is")
    for entry in registry.entries():
        table.add_row(entry.name, entry.distribution, entry.version, _summary(entry, check))
    Console().print(table)


def _summary(entry: registry.Entry, check: bool) -> str:
    try:
        if check:
            entry.load()
        return escape(entry.summary())
    except PluginError as error:
        return f"[red]broken:[/] {escape(str(error))}"
