"""What `anypo run` trains on when it is given neither model nor data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

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
        code = b"".join(Path(__file__).with_name(name).read_bytes() for name in CODE)
        return hashlib.sha256(code).hexdigest()[:8]

    def make(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Make the model, and the rows; each holds what `problems` says."""
        from anypo import sensible_threads
        from anypo_tasks.addition import model, problems  # imports what only training needs

        train, held_out = problems.problems(SEED)
        tokenizer = model.build_tokenizer()
        policy = model.build_model(tokenizer, SEED)
        with sensible_threads(policy):
            demonstrations = problems.demonstrations(train, SEED)
            model.warm_start(policy, tokenizer, demonstrations, SEED, progress)
        policy.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        for name, rows in {"train": train, "held_out": held_out}.items():
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
