"""What a run leaves.

config.toml         repeats the run
plugins.lock.json   what it was made with: plugins, files, versions
metrics.jsonl       one object per step
samples.jsonl       some prompts, all completions of theirs, and scores; all of evaluations
tracked.json        what trackers call the run, where there are some
model/              an ordinary Hugging Face model directory, adapters merged into its weights
model/adapter/      the adapters alone, where there are any
model-ema/          the same with averaged weights, where they are asked for
checkpoints/        the same after some steps, with what it takes to go on from there
.in-use             locked as long as a process runs it
"""

import os
import re
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Self

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.errors import ConfigError, SaveError
from anypo.models.save import save_model
from anypo.runs import samples
from anypo.runs.layout import CHECKPOINTS, CONFIG, HOLD, LOCK, METRICS, MODEL, SAMPLES
from anypo.runs.lines import Lines
from anypo.runs.provenance import Lock, write_lock
from anypo.runs.recipe import Recipe, write_recipe
from anypo.support.hold import Hold
from anypo.support.saving import UNFINISHED, sweep, whole_folder, write_on_first, writing
from anypo.support.world import World
from anypo.training.trainer import Report


class RunDirectory:
    """A directory for one run; if no path is given, a new one under `runs` that has its name.

    It is made when the run begins, so not for a refused run. From then on, or from the start if the
    run goes on, no other process can run it, until the block ends.

    Args:
        path: Of the directory.
        name: Of the algorithm.
        world: The processes, of which the first one writes.
        goes_on: Whether it holds the run already.

    Raises:
        ConfigError: It holds something else, cannot be made, or another process runs it.
    """

    def __init__(
        self, path: str | None, name: str, world: World | None = None, *, goes_on: bool = False
    ) -> None:
        self.world, self.is_named = world or World(), path is not None
        plain = re.sub(r"[:/\\]+", ".", name).lstrip(".")
        new = f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
        self._be(Path(path or Path("runs", new)))
        self._hold = Hold()
        self.world.on_first(self._take_again if goes_on else self._check)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hold.release()

    def begin(self, recipe: Recipe, lock: Lock) -> None:
        """Make the directory and write down how to repeat the run, and what it is made with.

        Raises:
            ConfigError: Another run has taken the directory meanwhile.
            SaveError: It cannot be written.
        """
        self._be(self.world.on_first(self._claim))
        self.describe(recipe, lock)

    def describe(self, recipe: Recipe, lock: Lock) -> None:
        """Write down how to repeat the run, and what it is made with."""
        self._recipe, self._lock = recipe, lock
        write_on_first(self.world, self.path, self._describe)

    def settle(self, checkpoint: Path) -> None:
        """Have the checkpoint know what it is made with, and the lines survive a loss of power."""
        write_lock(checkpoint, self._lock)
        for lines in (self.metrics, self.samples):
            lines.settle()
        if not (self.path / CONFIG).exists():  # somebody deleted the directory
            self._describe()

    def go_back(self, step: int) -> None:
        """Leave out what is of later steps, and what a process left that was killed."""

        def clean() -> None:
            for lines in (self.metrics, self.samples):
                lines.cut(step)
            for folder in (self.path, self.path / CHECKPOINTS):
                sweep(folder)

        self.world.on_first(clean)

    def write(self, report: Report, tokenizer: PreTrainedTokenizerBase) -> None:
        """Append a step to metrics.jsonl and, of some steps and all evaluations, samples.jsonl.

        Raises:
            SaveError: They cannot be written now; they will be with the next step.
        """
        if not self.world.is_first:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in report.metrics.items()}
        self.metrics.add({"step": report.step, **rounded})
        for row in samples.rows(report, tokenizer):
            self.samples.add(row)
        self.flush()

    def flush(self) -> None:
        """Write the lines that could not be written before."""
        self.metrics.flush()
        self.samples.flush()

    def save(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        step: int,
        name: str = MODEL,
    ) -> Path:
        """Save the model after a step, and its tokenizer; the folder that they are in.

        Raises:
            SaveError: They cannot be written there; saying whether they could be elsewhere.
        """
        folder = self.path / name
        try:
            self._save(model, tokenizer, folder, step)
        except SaveError as error:
            try:
                elsewhere = self.world.on_first(_elsewhere)
                self._save(model, tokenizer, elsewhere, step)
            except SaveError as second:
                raise SaveError(f"{error}; nor elsewhere: {second}") from error
            raise SaveError(f"{error}; the model is in {elsewhere} instead") from error
        return folder

    def _save(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, step: int
    ) -> None:
        with whole_folder(folder, self.world, step=step) as made:
            save_model(model, tokenizer, made, self.world)

    def _describe(self) -> None:
        write_lock(self.path, self._lock)
        write_recipe(self.path / CONFIG, self._recipe)

    def _be(self, path: Path) -> None:
        self.path = path
        self.metrics, self.samples = Lines(path / METRICS), Lines(path / SAMPLES)

    def _check(self) -> None:
        if self.is_named and _has_begun(self.path):
            raise ConfigError(
                f"output directory '{self.path}' holds another run; choose a new one, or go on "
                f"with that one (--resume {self.path})"
            )
        if self.is_named and self.path.exists() and not _is_free(self.path):
            raise ConfigError(f"output '{self.path}' exists and is no empty directory")
        parent = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError(f"output '{self.path}' cannot be made: '{parent}' takes no files")

    def _claim(self) -> Path:
        """Take the directory, if it has been named; else one that nobody has taken."""
        for number in count(1):
            path = self.path if number == 1 else self.path.with_name(f"{self.path.name}-{number}")
            if self._take(path) and not _has_begun(path):
                return path
            if self.is_named:
                raise ConfigError(f"output directory '{path}' holds another run")
        raise AssertionError

    def _take(self, path: Path) -> bool:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            return self._hold.take(path / HOLD)

    def _take_again(self) -> None:
        if not self._take(self.path):
            raise ConfigError(
                f"another process runs '{self.path}' now: it can go on when that one has ended"
            )


def _elsewhere() -> Path:
    with writing(Path(tempfile.gettempdir())):
        return Path(tempfile.mkdtemp(prefix="anypo-"), MODEL)


def _has_begun(folder: Path) -> bool:
    config = folder / CONFIG
    return config.exists() and config.stat().st_size > 0


def _is_free(folder: Path) -> bool:
    """Whether a run can begin there: it is empty, or one was killed before it began."""
    if not folder.is_dir():
        return False
    left = {path.name for path in folder.iterdir() if not path.name.startswith(UNFINISHED)}
    return left <= {HOLD, LOCK, CONFIG}
