"""How far a command is that trains nothing."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from anypo.runs.observer import Observer
from anypo_cli.printing import plain
from anypo_cli.processes import is_first


class JudgingDisplay(Observer):
    """Notes, and a bar on a terminal; on standard error, so that the results can be piped."""

    def __init__(self) -> None:
        console = Console(stderr=True, quiet=not is_first())
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("prompts", total=None)

    def __enter__(self) -> JudgingDisplay:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """See `Observer`."""
        self.bar.console.print(plain(f"note: {text}"), soft_wrap=True)

    def completed(self, done: int, total: int) -> None:
        """See `Observer`."""
        self.bar.update(self.task, completed=done, total=total)
