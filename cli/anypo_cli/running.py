"""Show a run, whether it begins or goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from anypo.errors import TrainingError
from anypo.runs.observer import Observer
from anypo_cli.display import make_display
from anypo_cli.processes import is_first
from anypo_cli.reporting import report


def show_run(train: Callable[[Observer], Path], notes: Sequence[str] = ()) -> None:
    """Show how a run goes, and what came out of it, and write a report of it.

    Args:
        train: Runs, is watched, and gives the run directory.
        notes: What is to be said first.

    Raises:
        TrainingError: Something ended the process, as if all had been well.
    """
    disable_progress_bar()  # of transformers: a run shows one bar, its own
    with make_display() as display:
        for note in notes:
            display.note(note)
        try:
            folder = train(display)
        except SystemExit as stop:
            if stop.code:
                raise
            raise TrainingError("something that the run called ended the process") from stop
    display.finished(folder)
    if is_first():
        report(folder, display)
