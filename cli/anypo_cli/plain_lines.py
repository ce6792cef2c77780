"""Show how a run goes in lines, for files and whatever else is no terminal."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.console import Console

from anypo.training.trainer import Report
from anypo_cli.display import Display
from anypo_cli.figures import described


class PlainLines(Display):
    """A line every few steps; the first step, the last, and those with an evaluation have one.

    Args:
        console: Where they go.
        every: Steps between them.
    """

    def __init__(self, console: Console, every: int = 1) -> None:
        super().__init__(console)
        self.every = every
        self.prepared: dict[str, int] = {}  # tenths of what is done before training
        self.before = -1  # steps that were done already; -1: not known yet
        self.start = time.monotonic()

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`."""
        if done == 1:
            self.note("making the model of the task, once; it is kept in the cache")

    def preparing(self, what: str, done: int, total: int) -> None:
        """See `Observer`."""
        tenths = 10 * done // total
        if self.prepared.get(what, 0) < tenths:
            self.prepared[what] = tenths
            self.say(f"{what}: {done} of {total}")

    def started(self, steps: int) -> None:
        """See `Observer`."""
        super().started(steps)
        self.start = time.monotonic()

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        super().reported(report)
        if self.before < 0:
            self.before = max(0, report.step - 1)
        is_edge = report.step <= self.before + 1 or report.step == self.steps
        is_evaluated = any(name.startswith("eval/") for name in report.metrics)
        if is_edge or is_evaluated or report.step % self.every == 0:
            self.say(self._line(report))

    def _line(self, report: Report) -> str:
        left = ""
        if report.step:
            pace = (time.monotonic() - self.start) / (report.step - self.before)
            left = f"  {timedelta(seconds=round(pace * (self.steps - report.step)))} left"
        return f"step {report.step}/{self.steps}  {described(report.metrics)}{left}"
