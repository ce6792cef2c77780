"""Commands whose own options are texts and flags."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class _AsGiven:
    """Stands where typer puts a check that imports pydantic, which takes as long as to list all."""

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


class TextCommand(TyperCommand):
    """Takes texts as they are given."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `TyperCommand`."""
        return _unchecked(super().get_params(ctx))


class TextGroup(TyperGroup):
    """Takes texts as they are given; each of its commands checks its own options."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See `TyperGroup`."""
        return _unchecked(super().get_params(ctx))


def _unchecked(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        parameter._runtime_param = _AsGiven()
    return parameters
