"""What `anypo run --environment retry` trains on when it is given neither model nor data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from anypo_tasks.addition.task import CODE as ADDITION
from anypo_tasks.addition.task import SEED
from anypo_tasks.making import code_fingerprint, write_rows

CODE = ("problems.py", "environment.py")  # that what is made depends on, beside that of addition


class RetryTask:
    """Adds two-digit numbers in at most two tries; most tries of its model are guesses."""

    reward: ClassVar[list[str]] = []  # beside that of the environment
    options: ClassVar = {
        "environment": "retry",
        "max_turns": 2,
        "steps": 100,
        "minibatches": 2,
        "learning_rate": 5e-4,
        "max_completion_length": 40,
        "eval_every": 25,
    }
    knobs: ClassVar[dict[str, object]] = {}

    def fingerprint(self) -> str:
        """Changes whenever the code that makes the model does."""
        own, added = Path(__file__).parent, Path(__file__).parents[1] / "addition"
        return code_fingerprint([*(own / n for n in CODE), *(added / n for n in ADDITION)])

    def make(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Make the model, and the rows, which are those of addition."""
        from anypo_tasks.addition import model, problems  # imports what only training needs
        from anypo_tasks.retry.problems import demonstrations

        train, held_out = problems.problems(SEED)
        conversations = demonstrations(train, SEED)
        model.make(folder, model.build_tokenizer(), conversations, SEED, progress)
        write_rows(folder, train, held_out)
