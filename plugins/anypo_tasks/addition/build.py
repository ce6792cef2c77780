"""Make the built-in model and data once, and find them again."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anypo.models.load import load_config, sensible_threads
from anypo.support.cache import cache_directory
from anypo_tasks.addition import model, task

SEED = 0  # of the problems held out, the demonstrations, the weights and their training


@dataclass(frozen=True)
class Embedded:
    """Paths of the built-in model directory and of its data; the rows hold `task.problems`."""

    folder: Path

    @property
    def model(self) -> str:
        """A model directory."""
        return str(self.folder / "model")

    @property
    def train(self) -> str:
        """Prompts to train on."""
        return str(self.folder / "train.jsonl")

    @property
    def held_out(self) -> str:
        """Prompts to evaluate on."""
        return str(self.folder / "held_out.jsonl")


def ensure_embedded(progress: Callable[[int, int], None]) -> Embedded:
    """The built-in model and data, made now unless the cache holds them.

    They are the same in every run, whatever its seed, so that runs can be compared.

    Args:
        progress: Told steps done and steps in all while the model is warmed up.

    Raises:
        ConfigError: The cache cannot be written.
    """
    cache = cache_directory()
    folder = cache / f"embedded-{_fingerprint()}"
    if not folder.exists():
        unfinished = Path(tempfile.mkdtemp(dir=cache, prefix=".unfinished-"))
        try:
            _build(unfinished, progress)
            _move(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Embedded(folder)


def is_built_in(model: str | None) -> bool:
    """Whether a run without this model would use it, or what it was trained from."""
    if model is None:
        return True
    return Path(model).is_dir() and getattr(load_config(model), "anypo_built_in", False)


def _fingerprint() -> str:
    """Changes whenever the code that makes the model does, so the cache is never stale."""
    code = b"".join(Path(str(module.__file__)).read_bytes() for module in (model, task))
    return hashlib.sha256(code).hexdigest()[:8]


def _build(folder: Path, progress: Callable[[int, int], None]) -> None:
    train, held_out = task.problems(SEED)
    tokenizer = model.build_tokenizer()
    policy = model.build_model(tokenizer, SEED)
    with sensible_threads(policy):
        model.warm_start(policy, tokenizer, task.demonstrations(train, SEED), SEED, progress)
    policy.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    for name, rows in {"train": train, "held_out": held_out}.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:
        if not target.exists():  # otherwise another run made the same meanwhile
            raise
