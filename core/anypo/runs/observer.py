"""Whoever watches a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anypo.training.trainer import Report


class Observer:
    """Is told how a run goes. Does nothing: override what is of interest."""

    def note(self, text: str) -> None:
        """Something worth saying once."""

    def warming_up(self, done: int, total: int) -> None:
        """The model of the task is being made: steps done, and steps in all."""

    def preparing(self, what: str, done: int, total: int) -> None:
        """Something takes long before training, such as `tokenising train.jsonl`."""

    def began(self, directory: Path, config: Mapping[str, Any], done: int) -> None:
        """All is loaded, and the run has its directory.

        Args:
            directory: Where everything is that the run leaves.
            config: The algorithm, all options, knobs (`knobs/NAME`) and swapped stages
                (`hooks/STAGE`), as config.toml has them.
            done: Steps after which it goes on; 0 for a new run.
        """

    def started(self, steps: int) -> None:
        """Training begins."""

    def completed(self, done: int, total: int) -> None:
        """So many prompts are completed and scored, of all; nothing is trained."""

    def reported(self, report: Report) -> None:
        """A step is done; step 0 is the evaluation before the first.

        What it adds to metrics.jsonl and samples.jsonl stands there by now.
        """

    def ended(self, error: BaseException | None) -> None:
        """Nothing follows, be it for an error."""


@contextmanager
def ending(observer: Observer) -> Iterator[None]:
    """Tell the observer how the block ends."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        observer.ended(error)
