"""What is shown of every run, however it is shown."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console

from anypo.errors import AnypoError
from anypo.runs.before_after import HeldOut, held_out_of
from anypo.runs.observer import Observer
from anypo.runs.reading import read_run
from anypo.training.trainer import Report
from anypo_cli.epilogue import changes, next_steps
from anypo_cli.figures import headlines, set_of
from anypo_cli.printing import plain


class Display(Observer):
    """Says what is worth saying once, and in the end what came out of it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.latest: dict[str, float] = {}
        self.first: dict[str, float] = {}  # the evaluation before training
        self.steps = 0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        return None

    def note(self, text: str) -> None:
        """See `Observer`."""
        self.console.print(plain(f"note: {text}"), soft_wrap=not self.console.is_terminal)

    def started(self, steps: int) -> None:
        """See `Observer`."""
        self.steps = steps

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        metrics = report.metrics
        self.latest |= metrics
        self.first = self.first or {k: v for k, v in metrics.items() if k.startswith("eval/")}

    def finished(self, folder: Path) -> None:
        """Say what came out of it."""
        held_out = self._held_out(folder)
        for line in changes(held_out):
            self.say(line)
        for name in headlines(self.first):
            error = held_out.errors().get(set_of(name))
            off = "" if error is None else f" ± {error:.3f}"
            change = f"{self.first[name]:.3f} -> {self.latest[name]:.3f}{off}"
            self.say(f"{name.replace('/', ' ')} {change}")
        self.say(f"run directory: {folder}")
        for line in next_steps(folder):
            self.say(line)

    def _held_out(self, folder: Path) -> HeldOut:
        try:
            return held_out_of(read_run(folder).samples)
        except AnypoError as error:  # the run is done all the same
            self.note(str(error))
            return HeldOut([], [])

    def say(self, text: str) -> None:
        """Print it, as it is."""
        self.console.print(plain(text), soft_wrap=True)
