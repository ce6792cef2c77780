"""Whoever watches a run."""

from anypo.training.trainer import Report


class Observer:
    """Is told how a run goes. Does nothing: override what is of interest."""

    def note(self, text: str) -> None:
        """Something worth saying once."""

    def warming_up(self, done: int, total: int) -> None:
        """The model of the task is being made: steps done, and steps in all."""

    def started(self, steps: int) -> None:
        """Training begins."""

    def completed(self, done: int, total: int) -> None:
        """So many prompts are completed and scored, of all; nothing is trained."""

    def reported(self, report: Report) -> None:
        """A step is done; step 0 is the evaluation before the first."""
