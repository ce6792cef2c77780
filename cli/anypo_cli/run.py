"""`anypo run`: the options of an algorithm are generated from its knobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from anypo.errors import ConfigError, PluginError
from anypo.hooks import registry
from anypo_cli.settings import look_up, pairs, refuse_to_run, value_of, values_of

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

    def list_commands(self, ctx: Any) -> list[str]:
        """The algorithms, for a shell to complete their names; `anypo list` says more of them."""
        return [e.shortest_name for e in registry.entries()] if ctx.resilient_parsing else []

    def get_command(self, ctx: Any, name: str) -> Any:
        """A command to complete the name of."""
        return TyperCommand(name) if ctx.resilient_parsing else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str, Any, list[str]]:
        """The command of the stack that the leading arguments name, made for this call."""
        names = _leading_names(args)
        rest = args[len(names) :]
        if values_of("--resume", rest):
            return "--resume", self.going_on(names, rest), rest
        file, written = _file(rest)
        recipe = _told_before_options(names, rest, written)
        if "--trust-config" not in rest:
            refuse_to_run(file, _unasked_code(written, recipe, names))
        try:
            return recipe.algorithm, self.for_stack(recipe, written, args), rest
        except PluginError as error:
            raise PluginError(f"{error}{_uninstalled(file)}") from error

    def for_stack(self, recipe: Recipe, written: Recipe, args: Sequence[str]) -> Any:
        """The command of a stack."""
        from anypo_cli.options import build_command  # imports torch, which takes a second

        return build_command(recipe, written, args)

    def going_on(self, names: Sequence[str], args: Sequence[str]) -> Any:
        """The command that goes on with a run."""
        from anypo_cli.resuming import resume_command

        return resume_command(names, args)


def _leading_names(args: Sequence[str]) -> list[str]:
    names: list[str] = []
    for argument in args:
        if argument.startswith("-"):
            break
        names.append(argument)
    return names


def _uninstalled(file: str) -> str:
    from anypo.runs.changes import uninstalled

    return uninstalled(file) if file else ""


def _unasked_code(written: Recipe, recipe: Recipe, names: Sequence[str]) -> list[str]:
    """The plugins that a file names by where they are defined, and the command line does not."""
    asked = {*"+".join(names).split("+")}
    asked |= {name for stage, name in recipe.hooks.items() if written.hooks.get(stage) != name}
    named = [("algorithm", name) for name in written.algorithm.split("+")]
    named += [(f"hooks.{stage}", name) for stage, name in written.hooks.items()]
    code = [(what, name) for what, name in named if registry.names_code(name)]
    return [f"{what} = {name!r}" for what, name in code if name not in asked]


def _file(args: Sequence[str]) -> tuple[str, Recipe]:
    """The file given with --config, and what it says; an empty recipe if there is none."""
    from anypo.runs.recipe import Recipe, read_recipe

    files = values_of("--config", args)
    return (files[-1], read_recipe(files[-1])) if files else ("", Recipe())


def _told_before_options(names: Sequence[str], args: Sequence[str], written: Recipe) -> Recipe:
    """What must be known to build the options: the stack, swapped stages, sampler and task."""
    look_up(names)
    algorithm = "+".join(names) or written.algorithm
    if not algorithm:
        raise ConfigError("name an algorithm first: anypo run NAME [OPTIONS]; see anypo list")
    hooks = pairs("--hook", values_of("--hook", args))
    look_up(hooks.values())
    given = pairs("--set", values_of("--set", args))
    options = dict(written.options)
    for option in ("sampler", "task"):  # which bring options and defaults of their own
        if values := values_of(f"--{option}", args):
            options[option] = values[-1]
        elif option in given:
            options[option] = value_of(given[option])
        if option in options.keys() - written.options.keys():
            registry.find(options[option], option)
    hooks = {**written.hooks, **hooks}
    return replace(written, algorithm=algorithm, hooks=hooks, options=options)
