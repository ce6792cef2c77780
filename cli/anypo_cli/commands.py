"""Commands that plugins bring along."""

from __future__ import annotations

from inspect import isfunction
from typing import Any

import typer
from typer.core import TyperCommand

from anypo.errors import PluginError
from anypo.hooks import registry
from anypo_cli.interrupts import Interrupts
from anypo_cli.printing import escaped, say
from anypo_cli.processes import is_first
from anypo_cli.summary import summary
from anypo_cli.texts import TextGroup


class Commands(TextGroup):
    """The commands of anypo, and those of installed plugins; the latter never hide the former."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        own = super().list_commands(ctx)
        brought = [e.shortest_name for e in registry.entries("command") if not e.disabled_by]
        return [*own, *(name for name in brought if name not in own)]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of a name; of a plugin's, what the list of all commands says of it."""
        own = super().get_command(ctx, name)
        if own is not None or not registry.knows(name, "command"):
            return own
        return TyperCommand(name, help=_help(registry.find(name, "command")))

    def invoke(self, ctx: Any) -> Any:
        """What the command gives; one that is interrupted says so."""
        try:
            with Interrupts():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            if is_first():
                say(str(error) or "interrupted")
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that is called: now a plugin's is imported."""
        name, command, rest = super().resolve_command(ctx, args)
        if super().get_command(ctx, args[0]) is None:
            command = command_of(args[0])
        return name, command, rest


def command_of(name: str) -> Any:
    """The command that a plugin brings along.

    Raises:
        PluginError: It does not load, or several distributions offer it.
    """
    single = typer.Typer(add_completion=False)
    entry = registry.find(name, "command")
    function = entry.load()
    if not isfunction(function):
        raise PluginError(f"{entry} is no function, but {function!r:.60}")
    single.command(name)(function)
    return typer.main.get_command(single)


def _help(entry: registry.Entry) -> str:
    try:
        return escaped(summary(entry))
    except PluginError as error:
        return escaped(f"broken: {error}")
