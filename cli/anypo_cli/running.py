"""Show a run, whether it begins or goes on."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from anypo.errors import ConfigError, TrainingError
from anypo.runs.observer import Observer
from anypo_cli.display import Display
from anypo_cli.live_screen import LiveScreen
from anypo_cli.plain_lines import PlainLines
from anypo_cli.processes import is_first
from anypo_cli.reporting import report


def show_run(
    train: Callable[[Observer], Path], notes: Sequence[str] = (), log_every: int | None = None
) -> None:
    """Show how a run goes, and what came out of it, and write a report of it.

    Args:
        train: Runs, is watched, and gives the run directory.
        notes: What is to be said first.
        log_every: Steps between lines; None if nobody asked for lines.

    Raises:
        ConfigError: That is no number of steps.
        TrainingError: Something ended the process, as if all had been well.
    """
    disable_progress_bar()  # of transformers: a run shows one bar, its own
    with make_display(log_every) as display:
        for note in notes:
            display.note(note)
        try:
            folder = train(display)
        except SystemExit as stop:
            if stop.code:
                raise
            raise TrainingError("something that the run called ended the process") from stop
    if is_first():
        report(folder, display)
    display.finished(folder)


def make_display(log_every: int | None = None) -> Display:
    """The display that is asked for, or suits the standard output.

    Raises:
        ConfigError: It cannot be.
    """
    if log_every is not None and log_every < 1:
        raise ConfigError(f"log_every is {log_every}: it is a number of steps, from 1 on")
    if isinstance(sys.stdout, io.TextIOWrapper):  # of what models write, not all may be printable
        sys.stdout.reconfigure(errors="backslashreplace")
    console = Console(quiet=not is_first())
    if console.is_terminal and not console.options.ascii_only and log_every is None:
        return LiveScreen(console)
    return PlainLines(console, log_every or 1)
