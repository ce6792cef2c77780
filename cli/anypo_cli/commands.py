"""Commands that plugins bring along."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from anypo.errors import PluginError
from anypo.hooks import registry


class Commands(TyperGroup):
    """The commands of anypo, and those of installed plugins; the latter never hide the former."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        own = super().list_commands(ctx)
        brought = [e.shortest_name for e in registry.entries("command") if not e.disabled_by]
        return [*own, *(name for name in brought if name not in own)]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of a name; for the list of all, one that only says what it is about."""
        own = super().get_command(ctx, name)
        if own is not None or not registry.knows(name, "command"):
            return own
        entry = registry.find(name, "command")
        if ctx.args or ctx._protected_args:  # it is called
            return _command(name, entry.load())
        return TyperCommand(name, help=_summary(entry))


def _command(name: str, function: Any) -> Any:
    single = typer.Typer(add_completion=False)
    single.command(name)(function)
    return typer.main.get_command(single)


def _summary(entry: registry.Entry) -> str:
    try:
        return entry.summary()
    except PluginError as error:
        return f"broken: {error}"
