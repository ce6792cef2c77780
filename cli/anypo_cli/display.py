"""Show how a run goes: a live bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from anypo.runs.before_after import held_out_of
from anypo.runs.observer import Observer
from anypo.training.trainer import Report
from anypo_cli.epilogue import changes, next_steps
from anypo_cli.printing import plain
from anypo_cli.processes import is_first

SHOWN = {  # metric: its short name and format
    "reward/mean": ("reward", ".3f"),
    "loss": ("loss", ".3f"),
    "rewards/accuracies": ("accuracy", ".3f"),
    "eval/score": ("eval", ".3f"),
    "eval/rewards/accuracies": ("eval accuracy", ".3f"),
    "kl/ref": ("kl", ".4f"),
    "clip/fraction": ("clip", ".3f"),
    "entropy": ("entropy", ".3f"),
    "length/mean": ("length", ".1f"),
    "tokens_per_second": ("tokens/s", ".0f"),
}


class PlainDisplay(Observer):
    """One line per step."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.latest: dict[str, float] = {}
        self.first: dict[str, float] = {}  # the evaluation before training
        self.steps = 0
        self.before = -1  # steps that were done already; -1: not known yet
        self.start = time.monotonic()

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        return None

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._print(f"note: {text}")

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`."""
        if done == 1:
            self.note("making the model of the task, once; it is kept in the cache")

    def started(self, steps: int) -> None:
        """See `Observer`."""
        self.steps, self.start = steps, time.monotonic()

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        step, metrics = report.step, report.metrics
        self.remember(metrics)
        left = ""
        if self.before < 0:
            self.before = max(0, step - 1)
        if step:
            pace = (time.monotonic() - self.start) / (step - self.before)
            seconds = pace * (self.steps - step)
            left = f"  {timedelta(seconds=round(seconds))} left"
        self._print(f"step {step}/{self.steps}  {_described(metrics)}{left}")

    def finished(self, folder: Path) -> None:
        """Say what came out of it."""
        held_out = held_out_of(folder)
        for line in changes(held_out):
            self._print(line)
        for name in _headlines(self.first):
            error = held_out.errors().get(_set_of(name))
            off = "" if error is None else f" ± {error:.3f}"
            change = f"{self.first[name]:.3f} -> {self.latest[name]:.3f}{off}"
            self._print(f"{name.replace('/', ' ')} {change}")
        self._print(f"run directory: {folder}")
        for line in next_steps(folder):
            self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(plain(line), soft_wrap=True)

    def remember(self, metrics: dict[str, float]) -> None:
        """Keep the latest value of every metric."""
        self.latest |= metrics
        self.first = self.first or {k: v for k, v in metrics.items() if k.startswith("eval/")}


class LiveDisplay(PlainDisplay):
    """A progress bar with the latest figures below it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed}/{task.total}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.figures = Text()
        self.live = Live(Group(self.bar, self.figures), console=console)
        self.task: TaskID | None = None

    def __enter__(self) -> LiveDisplay:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.live.stop()

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`."""
        if done == 1:
            self._begin("making the model of the task, once", total)
        self._advance(done)

    def started(self, steps: int) -> None:
        """See `Observer`."""
        self._begin("training", steps)

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        self.remember(report.metrics)
        self.figures.plain = _described(self.latest)
        self._advance(report.step)

    def _begin(self, what: str, total: int) -> None:
        self.task = self.bar.add_task(what, total=total)

    def _advance(self, done: int) -> None:
        if self.task is not None:
            self.bar.update(self.task, completed=done)


def _headlines(metrics: dict[str, float]) -> list[str]:
    """The evaluations that say most: scores, else how often pairs are ranked right, else a loss."""
    scores = [name for name in metrics if name.startswith("eval/score")]
    others = [name for name in metrics if name in ("eval/rewards/accuracies", "eval/loss")]
    return scores or sorted(others, reverse=True)[:1]


def _set_of(metric: str) -> str:
    """The held-out set whose score a metric is; of its parts, none."""
    first, *name, last = metric.split("/")
    return "/".join(name) or first if last == "score" else ""


def make_display() -> PlainDisplay:
    """The display that suits the standard output."""
    console = Console(quiet=not is_first())
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def _described(metrics: dict[str, float]) -> str:
    return "  ".join(
        f"{name} {metrics[key]:{form}}" for key, (name, form) in SHOWN.items() if key in metrics
    )
