"""Observers that are plugins, of which one that fails ends no run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anypo.errors import AnypoError, ConfigError, PluginError
from anypo.hooks import registry
from anypo.runs.observer import Observer
from anypo.training.trainer import Report

Trackers = dict[registry.Entry, Observer]


def load_trackers(specs: Sequence[str]) -> Trackers:
    """The observers that `NAME` or `NAME:ARGUMENT` name.

    Raises:
        PluginError: One does not exist, does not load, or is no observer.
        AnypoError: One cannot watch a run, as it says itself.
    """
    trackers: Trackers = {}
    for spec in specs:
        entry, argument = _named(spec)
        if entry in trackers:
            raise ConfigError(f"track names '{entry.name}' twice")
        trackers[entry] = entry.make(argument)
        if not isinstance(trackers[entry], Observer):
            raise PluginError(f"{entry} makes {trackers[entry]!r:.60}, which is no anypo.Observer")
    return trackers


def _named(spec: str) -> tuple[registry.Entry, str]:
    """What `NAME:ARGUMENT` or `DISTRIBUTION:NAME:ARGUMENT` names, and the argument, or nothing."""
    parts = spec.split(":")
    size = next((n for n in (1, 2) if registry.knows(":".join(parts[:n]), "observer")), 1)
    return registry.find(":".join(parts[:size]), "observer"), ":".join(parts[size:])


class Tracked(Observer):
    """Tells an observer and trackers the same; a tracker that fails is left out from then on.

    Args:
        observer: Also hears of trackers that fail.
        trackers: By their entries.
    """

    def __init__(self, observer: Observer, trackers: Trackers) -> None:
        self.observer, self.waiting = observer, trackers
        self.trackers: Trackers = {}  # those that have begun

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._tell(lambda observer: observer.note(text))

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`; no tracker has begun yet."""
        self.observer.warming_up(done, total)

    def preparing(self, what: str, done: int, total: int) -> None:
        """See `Observer`; no tracker has begun yet."""
        self.observer.preparing(what, done, total)

    def began(self, directory: Path, config: Mapping[str, Any], done: int) -> None:
        """See `Observer`.

        Raises:
            AnypoError: A tracker cannot begin: there is nothing to be lost yet.
        """
        self.observer.began(directory, config, done)
        for entry, tracker in self.waiting.items():
            with entry.answerable():
                tracker.began(directory, config, done)
            self.trackers[entry] = tracker

    def started(self, steps: int) -> None:
        """See `Observer`."""
        self._tell(lambda observer: observer.started(steps))

    def reported(self, report: Report) -> None:
        """See `Observer`."""
        self._tell(lambda observer: observer.reported(report))

    def ended(self, error: BaseException | None) -> None:
        """See `Observer`."""
        self._tell(lambda observer: observer.ended(error))

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        tell(self.observer)
        for entry, tracker in list(self.trackers.items()):
            try:
                with entry.answerable():
                    tell(tracker)
            except AnypoError as error:
                del self.trackers[entry]
                self.observer.note(f"{error}; the run goes on without it")
