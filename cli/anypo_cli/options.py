"""Make the command of one algorithm: its options are pydantic fields, whoever wrote them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import assemble
from anypo.composition.explain import first_line
from anypo.composition.knobs import Knob, resolve_knobs
from anypo.composition.stack import Stack, lay
from anypo.errors import AnypoError, ConfigError, PluginError
from anypo.hooks import registry
from anypo.hooks.task import load_task
from anypo.models.options import CriticOptions
from anypo.runs.options import RunConfig, RunOptions, config_class, make_config, panels
from anypo.runs.recipe import Recipe
from anypo.support.options import Options
from anypo.training.options import ReferenceOptions, TeacherOptions
from anypo_cli.launching import launch
from anypo_cli.printing import escaped
from anypo_cli.processes import is_launched
from anypo_cli.repeating import chosen, fitting, refuse_code
from anypo_cli.settings import pairs, value_of

Parameter = inspect.Parameter
Act = Callable[..., None]  # with an algorithm, its options and notes, and the act's own options
SAMPLER, TASK = (RunConfig.model_fields[name].default for name in ("sampler", "task"))
LOG_EVERY = "Steps between lines; else a live screen."
OF_MODELS: dict[str, type[Options]] = {
    "reference": ReferenceOptions,
    "teacher": TeacherOptions,
    "critic": CriticOptions,
}
COMMAND_OPTIONS = {  # the type of each, what it is by default, and what it is for
    "config": (str, "", "TOML file with options, [knobs], [hooks]."),
    "trust_config": (bool, "False", "Run the code that the file names."),
    "set": (list[str], "", "KEY=VALUE: set any option or knob."),
    "hook": (list[str], "", "STAGE=NAME: take one stage from a plugin."),
    "log_every": (int, "", LOG_EVERY),
    "plan": (bool, "False", "Print what would happen, load no weights, and end."),
}


def build_command(
    recipe: Recipe,
    written: Recipe | None = None,
    arguments: Sequence[str] = (),
    act: Act | None = None,
    extra: Sequence[Parameter] = (),
) -> Any:
    """The command that runs the recipe's algorithm, with an option for every knob.

    Args:
        recipe: What is known before the options are read.
        written: What the file says with which it began, if there is one.
        arguments: All of the command line, for further processes that run it too.
        act: Does something else than run it.
        extra: Options of that.

    Raises:
        PluginError: A name is unknown or a plugin does not load.
        ConfigError: A knob is called like a run option.
    """
    stack = lay([recipe.algorithm], recipe.hooks)
    knobs, same = resolve_knobs(stack, {}), True
    if written is not None and written.algorithm:
        same = (written.algorithm, written.hooks) == (recipe.algorithm, recipe.hooks)
        own = stack if same else lay([written.algorithm], written.hooks)
        recipe = replace(recipe, knobs=chosen(written.knobs, own, _preferred_by_task(written)))
    config = config_class(recipe.options.get("sampler", SAMPLER))
    taken = knobs.keys() & {*config.model_fields, *COMMAND_OPTIONS, *(p.name for p in extra)}
    if taken:
        name = min(taken)
        raise ConfigError(
            f"'{knobs[name].declared_by}' has a knob '{name}', which is a run option: rename it"
        )

    def command(**given: Any) -> None:
        of_act = {option.name: given.pop(option.name) for option in extra}
        of_run = {name: given.pop(name) for name in ("log_every", "plan")}
        if act and of_run["plan"]:
            raise ConfigError("--plan is of anypo run, which this is not: leave it out")
        told = _told(recipe, stack, given, varies=not same)
        (act or partial(_run, arguments, **of_run))(*told, **of_act)

    parameters = [*extra, *(_knob_option(knob, stack.layers) for knob in knobs.values())]
    lacking = _lacking(stack, recipe) if "--help" in arguments else frozenset()
    parameters += _run_options(config, recipe, stack, lacking)
    sign(command, parameters)
    app = typer.Typer(add_completion=False)
    app.command(recipe.algorithm, help="\n\n".join(map(_about, stack.layers)))(command)
    return typer.main.get_command(app)


def _told(
    recipe: Recipe, stack: Stack, given: dict[str, Any], *, varies: bool
) -> tuple[Algorithm, RunConfig, list[str]]:
    """The algorithm and its options, and what is worth saying of them.

    What is given on the command line overrides what the file says. It varies the run of the file if
    the file is of another algorithm.
    """
    file, is_trusted = given.pop("config"), given.pop("trust_config")
    given.pop("hook")  # read before the options were built, as the file was
    options, knobs = _told_apart(given, stack)
    if not is_trusted:
        refuse_code(file, {k: v for k, v in recipe.options.items() if k not in options})
    config = make_config({**recipe.options, **options})
    algorithm = assemble(stack, {**recipe.knobs, **knobs})
    notes: list[str] = []
    if varies:
        config, notes = fitting(file, recipe.options, options, algorithm)
    from anypo.runs.changes import changes

    return algorithm, config, [*notes, *(changes(file, algorithm, config) if file else [])]


def _run(
    arguments: Sequence[str],
    algorithm: Algorithm,
    config: RunConfig,
    notes: list[str],
    *,
    log_every: int | None,
    plan: bool,
) -> None:
    if config.processes and config.processes > 1 and not (plan or is_launched()):
        raise typer.Exit(launch(config.processes, ["run", *arguments]))
    from anypo.runs.run import train
    from anypo_cli.running import show_run

    if plan:
        from anypo_cli.planning import show_plan

        show_plan(algorithm, config, notes)
        return
    show_run(partial(train, algorithm, config), notes, log_every)


def _told_apart(given: dict[str, Any], stack: Stack) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of what is given, the options of a run, and the knobs of the stack."""
    settings = {k: value_of(v) for k, v in pairs("--set", given.pop("set") or []).items()}
    given = {name: value for name, value in given.items() if value not in (None, [])}
    if twice := settings.keys() & given.keys():
        raise ConfigError(f"'{min(twice)}' is given both by its option and by --set")
    of_samplers = tuple(entry.option_prefix for entry in registry.entries("sampler"))
    own = {name for layer in stack.layers for name in layer.fields}
    options, knobs = dict[str, Any](), dict[str, Any]()
    for name, value in (given | settings).items():
        is_sampler_option = name.startswith(of_samplers) and name not in own
        is_option = name in RunConfig.model_fields or is_sampler_option
        (options if is_option else knobs)[name] = value
    return options, knobs


def _lacking(stack: Stack, recipe: Recipe) -> frozenset[str]:
    """The panels of models that the algorithm does without, which its help need not show."""
    try:
        requires = assemble(stack, recipe.knobs).requires
    except AnypoError:  # what is wrong is said when it is to run
        return frozenset()
    return frozenset(block.panel for role, block in OF_MODELS.items() if role not in requires)


def _run_options(
    config: type[RunConfig], recipe: Recipe, stack: Stack, lacking: frozenset[str]
) -> list[Parameter]:
    """The options of a run, block by block; hidden are those of panels that are lacking."""
    suited = stack.preferred("options")
    task = recipe.options.get("task", TASK)
    on_task = _preferred_by_task(recipe).options

    def option(name: str, panel: str) -> Parameter:
        field = config.model_fields[name]
        default = shown(suited.get(name, field.get_default(call_default_factory=True)))
        if name in on_task:
            default = f"{default or 'none'}; {task}: {on_task[name]}"
        told = field.description or "", default, panel
        return option_of(name, field.annotation, *told, hidden=panel in lacking)

    from_file = [
        option_of(name, kind, text, default, RunOptions.panel)
        for name, (kind, default, text) in COMMAND_OPTIONS.items()
    ]
    blocks = panels(config).items()
    return from_file + [option(name, panel) for panel, names in blocks for name in names]


def _preferred_by_task(recipe: Recipe) -> Any:
    """What has the `options` and `knobs` of the task; nothing, if nobody named it and it fails."""
    try:
        return load_task(recipe.options.get("task", TASK))[1]
    except PluginError:
        if "task" in recipe.options:
            raise
        return SimpleNamespace(options={}, knobs={})


def _knob_option(knob: Knob, layers: Any) -> Parameter:
    annotation = next(
        layer.fields[knob.name].annotation for layer in layers if knob.name in layer.fields
    )
    told = knob.description, shown(knob.value), f"Knobs of {knob.declared_by}"
    if annotation not in (int, float):
        return option_of(knob.name, annotation, *told)
    as_text: dict[str, Any] = {
        "parser": value_of,
        "metavar": f"<{annotation.__name__}>",
    }  # it may be a schedule
    return option_of(knob.name, str, *told, **as_text)


def option_of(
    name: str, annotation: Any, text: str, default: str, panel: str, **how: Any
) -> Parameter:
    """An option of the command line.

    Args:
        name: Of the field.
        annotation: Its type.
        text: What it is for.
        default: As help shows it.
        panel: Where help shows it.
        how: What else typer is told.
    """
    annotation = _plain(annotation)
    dashed = name.replace("_", "-")
    may_be_on = annotation is bool and default != "False"
    flag = f"--{dashed}/--no-{dashed}" if may_be_on else f"--{dashed}"
    described = f"{text} [default: {default}]" if default else text
    option = typer.Option(
        flag, help=escaped(described), rich_help_panel=escaped(panel), show_default=False, **how
    )
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation | None, option],
    )


def shown(default: Any) -> str:
    """A default as help shows it."""
    return "" if default in (None, []) else str(default)


def _plain(annotation: Any) -> Any:
    """The type as the command line can read it; what it cannot, pydantic reads from the text."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    without_none = [part for part in get_args(annotation) if part is not type(None)]
    if type(None) in get_args(annotation) and len(without_none) == 1:
        return _plain(without_none[0])
    if get_origin(annotation) in (list, dict):
        return list[str]
    simple = annotation in (bool, int, float, str)
    return annotation if simple or get_origin(annotation) is Literal else str


def sign(function: Callable[..., Any], parameters: list[Parameter]) -> None:
    """Give a function the options of a command."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}


def _about(layer: Any) -> str:
    return escaped(f"{layer.name}: {first_line(layer.source)}")
