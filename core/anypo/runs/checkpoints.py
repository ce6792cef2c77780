"""When a run keeps what it takes to go on, and which of that stays."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from anypo.errors import ConfigError, SaveError, nearest
from anypo.hooks.remembered import packed
from anypo.models.save import save_model
from anypo.runs.directory import RunDirectory
from anypo.runs.layout import AVERAGED, CHECKPOINTS
from anypo.runs.options import CheckpointOptions
from anypo.support.saving import (
    MANIFEST,
    Tell,
    newest_whole,
    remove,
    whole_folder,
    write_on_first,
)
from anypo.training.evaluation import EMA
from anypo.training.state import load_state, save_state
from anypo.training.trainer import Report, Trainer

PERIOD = 600.0  # seconds between checkpoints
SHARE = 0.1  # of the time that writing them may take


@dataclass(frozen=True)
class Best:
    """The best value of a metric so far."""

    metric: str
    step: int
    value: float

    @property
    def goodness(self) -> float:
        """Of losses, the lower ones are the better."""
        return -self.value if "loss" in self.metric.split("/") else self.value


class Checkpoints:
    """The checkpoints of a run.

    Args:
        directory: Of the run.
        options: What the user wants of them.
        tell: Is told what goes wrong.
    """

    def __init__(self, directory: RunDirectory, options: CheckpointOptions, tell: Tell) -> None:
        self.directory, self.options, self.tell = directory, options, tell
        self.world = directory.world
        self.best: Best | None = None
        self.newest_step: int | None = None
        self._improved: Best | None = None
        self._last, self._took = time.monotonic(), 0.0

    @property
    def folder(self) -> Path:
        """That they are in."""
        return self.directory.path / CHECKPOINTS

    def newest(self) -> Path | None:
        """The last one that is whole; None if there is none at all.

        Raises:
            SaveError: All are damaged.
        """
        return self.world.on_first(self._find_newest)

    def load(self, checkpoint: Path | None, trainer: Trainer) -> None:
        """Have a run go on from a checkpoint, or from the beginning."""
        if checkpoint is not None:
            load_state(trainer, checkpoint, self.tell)
            self.newest_step = trainer.done
            self.best = self.world.on_first(lambda: self._best_known_to(checkpoint))
        self.directory.go_back(-1 if checkpoint is None else trainer.done)

    def due(self, report: Report) -> bool:
        """Whether one is to be written after a step: every so often, and where it is the best."""
        self._improved = self._improvement(report)
        if self.options.save_every is not None:
            on_time = report.step % self.options.save_every == 0
        else:
            on_time = time.monotonic() - self._last > max(PERIOD, self._took / SHARE)
        return report.step > 0 and (on_time or self._improved is not None)

    def write(self, trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> None:
        """Write the one of the step that is done, and delete those that are not to stay.

        Raises:
            SaveError: It cannot be written; those before are left alone.
        """
        start = time.monotonic()
        try:
            self._write(trainer, tokenizer)
        finally:  # one that fails is not tried again after every step
            self._last = time.monotonic()
            self._took = self._last - start

    def _write(self, trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> None:
        packed(trainer.state)  # of no use is a checkpoint without it
        best = self._improved or self.best
        facts = {"step": trainer.done, "best": best and asdict(best)}
        whole = trainer.learner.whole()
        with whole_folder(self.folder_of(trainer.done), self.world, **facts) as made:
            write_on_first(self.world, made, lambda: self.directory.settle(made))
            save_model(whole, tokenizer, made, self.world)
            save_state(trainer, made)
            if trainer.learner.average:
                write_on_first(self.world, made, (made / AVERAGED).mkdir)
                with trainer.learner.averaged() as averaged:
                    save_model(averaged, tokenizer, made / AVERAGED, self.world)
        self.best, self.newest_step = best, trainer.done
        write_on_first(self.world, self.folder, self._thin_out)

    def _best_known_to(self, checkpoint: Path) -> Best | None:
        found = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["best"]
        best = Best(**found) if found else None
        is_kept = best and best.metric == self.options.keep_best
        return best if best and is_kept and self.folder_of(best.step).is_dir() else None

    def _find_newest(self) -> Path | None:
        found = newest_whole(self.folder, self.tell)
        if found is None and any(self.folder.glob("step-*")):
            raise SaveError(f"no checkpoint in '{self.folder}' is whole: delete them to begin anew")
        if found is None:
            where = self.directory.path
            self.tell(f"'{where}' has no checkpoint: it starts from the beginning")
        return found

    def _improvement(self, report: Report) -> Best | None:
        metric = self.options.keep_best
        measured = [name for name in report.metrics if name.startswith("eval/")]
        if metric is None or not measured:
            return None
        if metric not in measured:
            raise ConfigError(
                f"keep_best names '{metric}', which is not measured{nearest(metric, measured)}"
            )
        found = Best(metric, report.step, report.metrics[metric])
        is_better = self.best is None or found.goodness > self.best.goodness
        return found if report.step and is_better and math.isfinite(found.value) else None

    def _thin_out(self) -> None:
        last = self.folder_of(self.newest_step or 0)
        every = sorted(folder for folder in self.folder.glob("step-*") if folder <= last)
        best = self.best and self.folder_of(self.best.step)
        for old in every[: -self.options.keep_checkpoints] if self.options.keep_checkpoints else ():
            if old != best:
                remove(old)

    def folder_of_best(self, best: Best) -> Path:
        """The model of which a metric was the best."""
        folder, is_averaged = self.folder_of(best.step), best.metric.startswith(f"eval/{EMA}/")
        return folder / AVERAGED if is_averaged else folder

    def folder_of(self, step: int) -> Path:
        """The one after a step."""
        return self.folder / f"step-{step:06d}"
