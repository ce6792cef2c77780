"""`anypo run`: the options of an algorithm are generated from its knobs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from anypo.errors import ConfigError, PluginError
from anypo.hooks import registry

if TYPE_CHECKING:
    from anypo.runs.recipe import Recipe


class RunGroup(TyperGroup):
    """A group whose commands are all stacks of plugins: `NAME`, `NAME+NAME` or `NAME NAME`.

    The names come first; without any, the file given with --config tells them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave everything but a lone --help to the algorithm's own command."""
        if args and args != ["--help"]:
            ctx._protected_args, ctx.args = args[:1], args[1:]
            return list(ctx.args)
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str, Any, list[str]]:
        """The command of the stack that the leading arguments name, made for this call."""
        names = _leading_names(args)
        recipe = _told_before_options(names, args[len(names) :])
        from anypo_cli.options import build_command  # imports torch, which takes a second

        return recipe.algorithm, build_command(recipe), args[len(names) :]


def _leading_names(args: Sequence[str]) -> list[str]:
    names: list[str] = []
    for argument in args:
        if argument.startswith("-"):
            break
        names.append(argument)
    return names


def _told_before_options(names: Sequence[str], args: Sequence[str]) -> Recipe:
    """What must be known to build the options: the file, the stack and the swapped stages."""
    for name in "+".join(names).split("+") if names else ():
        registry.find(name)  # a misspelt name need not wait for torch
    from anypo.runs.recipe import Recipe
    from anypo_cli.settings import pairs

    files = _values_of("--config", args)
    recipe = _recipe_of(files[-1]) if files else Recipe()
    recipe.algorithm = "+".join(names) or recipe.algorithm
    if not recipe.algorithm:
        raise ConfigError("name an algorithm first: anypo run NAME [OPTIONS]; see anypo list")
    recipe.hooks = {**recipe.hooks, **pairs("--hook", _values_of("--hook", args))}
    given = pairs("--set", _values_of("--set", args))
    for option in ("sampler", "task"):  # which bring options and defaults of their own
        if values := _values_of(f"--{option}", args) or list(filter(None, [given.get(option)])):
            recipe.options[option] = values[-1]
    return recipe


def _recipe_of(file: str) -> Recipe:
    from anypo.runs.provenance import uninstalled
    from anypo.runs.recipe import read_recipe

    recipe = read_recipe(file)
    try:
        return _without_defaults(recipe)
    except PluginError as error:
        raise PluginError(f"{error}{uninstalled(file)}") from error


def _without_defaults(recipe: Recipe) -> Recipe:
    """The recipe with only those knobs that differ from what its stack has by itself.

    A run writes down all its knobs. Those that nobody chose must not count as set: another option
    may make one of them irrelevant, or another algorithm have its own default.
    """
    from anypo.composition.knobs import resolve_knobs
    from anypo.composition.stack import lay, tops_of

    if recipe.algorithm:
        layers = lay(tops_of([recipe.algorithm]), recipe.hooks)
        defaults = resolve_knobs(layers, {})
        for layer in layers:
            for suited in getattr(layer.source, "task_knobs", {}).values():
                for name in suited:  # a task would have it in place of the default
                    defaults.pop(name, None)
        recipe.knobs = {
            name: value
            for name, value in recipe.knobs.items()
            if name not in defaults or defaults[name].value != value
        }
    return recipe


def _values_of(option: str, args: Sequence[str]) -> list[str]:
    following = [after for at, after in pairwise(args) if at == option]
    joined = [a.partition("=")[2] for a in args if a.startswith(f"{option}=")]
    return following + joined
