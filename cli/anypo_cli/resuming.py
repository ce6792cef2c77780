"""`anypo run --resume DIR`: go on with a run, whatever ended it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from anypo.errors import ConfigError
from anypo.runs.options import RunConfig
from anypo.runs.resume import MAY_CHANGE, processes_of
from anypo_cli.launching import launch
from anypo_cli.options import LOG_EVERY, option_of, sign
from anypo_cli.processes import is_launched

RESUME = "--resume"


def resume_command(names: Sequence[str], args: Sequence[str]) -> Any:
    """The command that goes on with a run.

    Raises:
        ConfigError: Something is given that the run itself says.
    """
    _refuse_others(names, args)
    again = ["run", *args]  # which the parser uses up

    def command(resume: str, log_every: int | None, **given: Any) -> None:
        from anypo.runs.resume import resume as go_on
        from anypo_cli.running import show_run

        processes = given["processes"] or processes_of(Path(resume))
        if processes > 1 and not is_launched():
            raise typer.Exit(launch(processes, again))
        options = {name: value for name, value in given.items() if value is not None}
        show_run(lambda display: go_on(resume, observer=display, **options), (), log_every)

    parameters = [
        option_of("resume", str, "Run directory.", "", "Run"),
        option_of("log_every", int, LOG_EVERY, "", "Run"),
    ]
    for name in MAY_CHANGE:
        field = RunConfig.model_fields[name]
        text = field.description or ""
        parameters.append(option_of(name, field.annotation, text, "as before", "May be other"))
    sign(command, parameters)
    app = typer.Typer(add_completion=False)
    app.command(RESUME, help="Go on with a run from its newest checkpoint.")(command)
    return typer.main.get_command(app)


def _refuse_others(names: Sequence[str], args: Sequence[str]) -> None:
    may_change = sorted(f"--{name.replace('_', '-')}" for name in MAY_CHANGE)
    others = [*names, *(arg.partition("=")[0] for arg in args if arg.startswith("--"))]
    for other in others:
        if other not in (RESUME, "--help", "--log-every", *may_change):
            raise ConfigError(
                f"'{other}' is given, but a run that goes on ({RESUME}) does as it began: leave it "
                f"out; only {', '.join(may_change)} may change"
            )
