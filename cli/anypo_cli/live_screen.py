"""Show how a run goes on a terminal: a bar, curves, figures, the best and the worst completion."""

from __future__ import annotations

from collections import defaultdict
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from anypo.training.trainer import Report
from anypo_cli.display import Display
from anypo_cli.figures import described, headlines, label
from anypo_cli.printing import plain
from anypo_cli.sparkline import sparkline

BESIDE = 20  # columns beside the text of a completion
LINES = 2  # of a completion
GAP = " … "


class LiveScreen(Display):
    """The screen of a run; notes stay above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[unit]}{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.live = Live(self.bar, console=console)
        self.task: TaskID | None = None
        self.prepared = set[str]()  # what has a bar
        self.curves = defaultdict[str, list[float]](list)  # by metric
        self.evaluated = 0  # the step of the latest evaluation
        self.shown: RenderableType = ""  # of completions

    def __enter__(self) -> LiveScreen:
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

    def preparing(self, what: str, done: int, total: int) -> None:
        """See `Observer`."""
        if what not in self.prepared:
            self.prepared.add(what)
            self._begin(what, total, unit="")
        self._advance(done)

    def started(self, steps: int) -> None:
        """See `Observer`."""
        super().started(steps)
        self._begin("training", steps)

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        super().reported(report)
        evaluations = [n for n in headlines(report.metrics) if "/score/" not in n]  # of a reward
        self.evaluated = report.step if evaluations else self.evaluated
        leading = [name for name in ("reward/mean", "loss") if name in report.metrics][:1]
        for name in leading + evaluations:
            self.curves[name].append(report.metrics[name])
        self._advance(report.step)
        figures = plain(described(self.latest, leaving_out={*self.curves, "reward/std"}))
        self.shown = self._extremes(report) if report.extremes else self.shown
        self.live.update(Group(self.bar, self._curves(), figures, self.shown))

    def _begin(self, what: str, total: int, unit: str = "step ") -> None:
        self.task = self.bar.add_task(what, total=total, unit=unit)

    def _advance(self, done: int) -> None:
        if self.task is not None:
            self.bar.update(self.task, completed=done)

    def _curves(self) -> RenderableType:
        rows = Table.grid(padding=(0, 2))
        for name, values in self.curves.items():
            rows.add_row(plain(label(name)), Text(sparkline(values)), Text(self._now(name)))
        return rows

    def _now(self, name: str) -> str:
        value = f"{self.latest[name]:.3f}"
        if name.startswith("eval/"):
            return f"{value} @{self.evaluated}"
        return f"{value} ± {self.latest['reward/std']:.3f}" if name == "reward/mean" else value

    def _extremes(self, report: Report) -> RenderableType:
        """The best and the worst completion of a step."""
        rows, room = Table.grid(padding=(0, 2)), LINES * max(1, self.console.width - BESIDE)
        names = ("best", "worst") if len(report.extremes) > 1 else ("all",)
        for name, row in zip(names, report.extremes, strict=False):
            text = " ".join(row["completion"].split())
            rows.add_row(Text(name), Text(f"{row['reward']:.3f}"), plain(shortened(text, room)))
        return rows


def shortened(text: str, length: int) -> str:
    """A text of some characters at most: where it is longer, its beginning and its end."""
    half = (length - len(GAP)) // 2
    return text if len(text) <= length else f"{text[:half]}{GAP}{text[-half:]}"
