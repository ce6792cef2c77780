"""What all trackers do alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anypo import Observer, Report, check_installed
from anypo_track.files import Completions

Row = dict[str, Any]


class Tracker(Observer):
    """Hands on configuration, metrics and completions; a run that goes on is not tracked twice."""

    _library: ClassVar[str]  # of the tracker, which is also what `--track` calls it

    def __init__(self, project: str) -> None:
        check_installed(self._library, f"--track {self._library}")
        self.project = project or "anypo"

    def began(self, directory: Path, config: Mapping[str, Any], done: int) -> None:
        """See `Observer`."""
        self.completions = Completions(directory)
        self.last = self.open(directory, config, done)

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        rows = self.completions.new()
        if report.step > self.last:
            self.log(report.step, report.metrics)
            if rows:
                self.log_completions(report.step, rows)

    def ended(self, error: BaseException | None) -> None:
        """See `Observer`."""
        self.close(error)

    @abstractmethod
    def open(self, directory: Path, config: Mapping[str, Any], done: int) -> int:
        """Begin, or go on after so many steps; the last step that is tracked already, or -1."""

    @abstractmethod
    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Track the metrics of a step."""

    @abstractmethod
    def log_completions(self, step: int, rows: Sequence[Row]) -> None:
        """Track completions: rows with the same keys, of numbers, texts and None."""

    @abstractmethod
    def close(self, error: BaseException | None) -> None:
        """Have all of it written."""
