"""`anypo show`: what runs did, on one page that needs nothing else."""

from pathlib import Path
from typing import Annotated

import typer

from anypo import ConfigError, check_installed, printable
from anypo_report.runs import read_runs

REPORT = "report.html"


def show(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    output: Annotated[
        Path | None,
        typer.Option(help=f"File to write; by itself {REPORT} in the directory of a single run."),
    ] = None,
) -> None:
    """Write a report of one or several runs: one HTML file, to be opened in a browser."""
    check_installed("vl_convert", "a report", extra="report")
    if output is None:
        if len(runs) > 1:
            raise ConfigError("a report of several runs needs a place: --output FILE.html")
        output = runs[0] / REPORT
    found = read_runs(runs)
    from anypo_report.page import page  # with what a report needs

    text = page(found, output.parent)
    output.parent.mkdir(parents=True, exist_ok=True)
    made = output.with_name(f".{output.name}.tmp")
    made.write_text(text, encoding="utf-8", errors="replace")
    made.replace(output)
    print(f"report: {printable(output)}")
