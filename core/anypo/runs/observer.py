"""Whoever watches a run."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Whoever wants to watch a run."""

    def note(self, text: str) -> None:
        """Something worth saying once."""
        ...

    def warming_up(self, done: int, total: int) -> None:
        """The built-in model is being made."""
        ...

    def started(self, steps: int) -> None:
        """Training begins."""
        ...

    def reported(self, step: int, metrics: dict[str, float]) -> None:
        """A step is done; step 0 is the evaluation before the first."""
        ...


class Silent:
    """An observer that says nothing."""

    def note(self, text: str) -> None:
        """See `Observer`."""

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`."""

    def started(self, steps: int) -> None:
        """See `Observer`."""

    def reported(self, step: int, metrics: dict[str, float]) -> None:
        """See `Observer`."""
