"""`anypo eval` and `anypo sample`: what a model says to prompts, judged or written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from anypo.errors import ConfigError
from anypo.runs.collect import Collected, Kept, collect
from anypo.runs.estimates import Estimate
from anypo.runs.evaluate import Assessment, evaluate
from anypo.runs.judging_options import JudgingConfig
from anypo.runs.options import config_class, panels
from anypo_cli.options import Parameter, option_of, shown, sign
from anypo_cli.printing import plain
from anypo_cli.processes import is_first
from anypo_cli.progress import JudgingDisplay
from anypo_cli.settings import values_of

MODEL = Parameter(
    "model",
    Parameter.KEYWORD_ONLY,
    annotation=Annotated[
        str, typer.Argument(metavar="MODEL", help="Directory, hub name or run directory.")
    ],
)
OWN: dict[str, dict[str, tuple[Any, str, str]]] = {  # of one command alone: type, default, what for
    "eval": {"json": (bool, "False", "Print JSON, whose keys stay the same.")},
    "sample": {
        "output": (str, "", "File to write, a row of JSON each."),
        "pairs": (bool, "False", "The best and the worst completion of each prompt, as a pair."),
        "best": (bool, "False", "Only the best completion of each prompt."),
        "min_reward": (float, "", "Leave out completions, and pairs of the better one, with less."),
    },
}


def judging_command(name: str, text: str, args: Sequence[str]) -> Any:
    """The command `eval` or `sample`, with the options of the sampler that its arguments name."""
    sampler = values_of("--sampler", args) or [JudgingConfig.model_fields["sampler"].default]
    config = config_class(sampler[-1], JudgingConfig)
    perform: Callable[..., None] = {"eval": _evaluate, "sample": _sample}[name]

    def command(model: str, **given: Any) -> None:
        disable_progress_bar()  # of transformers
        told = {option: value for option, value in given.items() if value not in (None, [])}
        own = {option: told.pop(option, None) for option in OWN[name]}
        with JudgingDisplay() as display:
            perform(model, own, observer=display, **told)

    parameters = [
        option_of(option, kind, about, default, "Result")
        for option, (kind, default, about) in OWN[name].items()
    ]
    for panel, names in panels(config).items():
        parameters += [_option(option, config.model_fields[option], panel) for option in names]
    sign(command, [MODEL, *parameters])
    app = typer.Typer(add_completion=False)
    app.command(name, help=text)(command)
    return typer.main.get_command(app)


def _option(name: str, field: FieldInfo, panel: str) -> Parameter:
    default = shown(field.get_default(call_default_factory=True))
    return option_of(name, field.annotation, field.description or "", default, panel)


def _evaluate(model: str, own: dict[str, Any], **options: Any) -> None:
    found = evaluate(model, **options)
    if not is_first():
        return
    if own["json"]:
        print(json.dumps([assessment.as_dict() for assessment in found], indent=2))
    else:
        for score in dict.fromkeys(one.score for one in found):
            table = _table(score, [one for one in found if one.score == score])
            Console(highlight=False).print(table)


def _table(score: str, found: Sequence[Assessment]) -> Table:
    """By a score: a column for every set."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (score, *(one.set for one in found)):
        table.add_column(plain(title), overflow="fold")
    table.add_row("prompts", *(str(one.prompts) for one in found))
    for name in dict.fromkeys(name for one in found for name in one.estimates):
        table.add_row(name, *(_estimate(one.estimates.get(name)) for one in found))
    table.add_row("truncated", *(f"{one.truncated:.1%}" for one in found))
    return table


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    value, error = estimate
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def _sample(model: str, own: dict[str, Any], **options: Any) -> None:
    output = own["output"]
    if not output:
        raise ConfigError("no file is named to write to: name one (--output)")
    if own["pairs"] and own["best"]:
        raise ConfigError("--pairs and --best are both given: choose one of them")
    keep: Kept = "pairs" if own["pairs"] else "best" if own["best"] else "all"
    found = collect(model, output, keep=keep, min_reward=own["min_reward"], **options)
    for line in _told(found, output) if is_first() else ():
        Console(highlight=False).print(plain(line), soft_wrap=True)


def _told(found: Collected, output: str) -> list[str]:
    counted = [
        (found.alike, "left out {} prompts: no completion is better than another"),
        (found.too_low, "left out {} prompts: no completion has that reward"),
        (found.empty, "left out {} completions: there is nothing in them"),
        (found.truncated, "cut {} at max_completion_length: who imitates them learns to end there"),
    ]
    lines = [text.format(number) for number, text in counted if number]
    return [*lines, f"wrote {found.rows} rows of {found.prompts} prompts to {output}"]
