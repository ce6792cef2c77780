"""A report of a run that is done, by whoever makes reports."""

from __future__ import annotations

from pathlib import Path

from anypo.errors import AnypoError, told
from anypo.hooks import registry
from anypo.runs.observer import Observer
from anypo_cli.commands import command_of

REPORTER = "show"  # the command of a plugin that is given the run directory


def report(folder: Path, observer: Observer) -> None:
    """Have the installed command of that name show a run; what goes wrong is no more than a note.

    Args:
        folder: The run directory.
        observer: Is told why there is no report.
    """
    commands = [entry for entry in registry.entries("command") if not entry.disabled_by]
    if not any(entry.name == REPORTER for entry in commands):
        return
    try:
        command_of(REPORTER).main([str(folder)], prog_name="anypo", standalone_mode=False)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the run is done and saved: nothing may make it a failure
        why = error if isinstance(error, AnypoError) else told(error)
        observer.note(f"there is no report of the run: {why}")
