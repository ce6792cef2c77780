"""What `anypo run` trains on when it is given neither model nor data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from anypo_tasks.making import code_fingerprint, write_rows

SEED = 0  # of the problems held out, the demonstrations, the weights and their training
CODE = ("model.py", "problems.py")  # that what is made depends on


class Addition:
    """Adds two-digit numbers: made on the spot, learnt in minutes on two CPU cores."""

    reward: ClassVar = ["exact"]
    options: ClassVar = {
        "steps": 150,
        "minibatches": 2,
        "learning_rate": 5e-4,
        "max_completion_length": 40,
        "eval_every": 25,
    }
    knobs: ClassVar[dict[str, object]] = {}

    def fingerprint(self) -> str:
        """Changes whenever the code that makes the model does."""
        return code_fingerprint(Path(__file__).with_name(name) for name in CODE)

    def make(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Make the model, and the rows; each holds what `problems` says."""
        from anypo_tasks.addition import model, problems  # imports what only training needs

        train, held_out = problems.problems(SEED)
        demonstrations = problems.demonstrations(train, SEED)
        model.make(folder, model.build_tokenizer(), demonstrations, SEED, progress)
        write_rows(folder, train, held_out)
