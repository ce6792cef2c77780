"""What a run leaves.

config.toml         repeats the run
plugins.lock.json   the code it was made with: plugins, files, versions
metrics.jsonl       one object per step
samples.jsonl       some prompts, completions and scores
model/              an ordinary Hugging Face model directory, adapters merged into its weights
model/adapter/      the adapters alone, where there are any
checkpoints/        the same after some steps, with what else was trained or remembered
"""

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.errors import ConfigError
from anypo.models.adapters import has_lora, save_lora
from anypo.models.weights import whole_weights
from anypo.runs.provenance import LOCK, Lock, write_lock
from anypo.runs.recipe import Recipe, write_recipe
from anypo.training.trainer import Report, Trainer

SAMPLES_EVERY = 10  # steps
SAMPLES_KEPT = 8  # rows each time


class RunDirectory:
    """A directory for one run; if no path is given, a new one under `runs` that has its name.

    It is made when the recipe is written, so not for a refused run.

    Raises:
        ConfigError: There is something already.
    """

    def __init__(self, path: str | None, name: str) -> None:
        new = f"{name.replace(':', '.')}-{time.strftime('%Y%m%d-%H%M%S')}"
        self.path = Path(path or Path("runs", new))
        if (self.path / "config.toml").exists():
            raise ConfigError(f"output directory '{self.path}' holds another run; choose a new one")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ConfigError(f"output '{self.path}' exists and is no empty directory")
        parent = next(folder for folder in (self.path, *self.path.parents) if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise ConfigError(f"output '{self.path}' cannot be made: '{parent}' takes no files")

    def begin(self, recipe: Recipe, lock: Lock) -> None:
        """Make the directory and write down how to repeat the run, and by which code it is made.

        Raises:
            ConfigError: Another run has taken the directory meanwhile.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            (self.path / "config.toml").touch(exist_ok=False)
        except FileExistsError as error:
            raise ConfigError(f"output directory '{self.path}' holds another run") from error
        write_recipe(self.path / "config.toml", recipe)
        write_lock(self.path, lock)

    def write(self, report: Report, tokenizer: PreTrainedTokenizerBase) -> None:
        """Append a step to metrics.jsonl and, every few steps, rows to samples.jsonl."""
        rounded = {name: float(f"{value:.6g}") for name, value in report.metrics.items()}
        self._append("metrics.jsonl", {"step": report.step, **rounded})
        if report.step % SAMPLES_EVERY != 1:
            return
        for sample in report.samples[:SAMPLES_KEPT]:
            scores = {k: None if math.isnan(v) else v for k, v in sample.scores.items()}
            row = {
                "step": report.step,
                "prompt": report.prompts[sample.group].content,
                "completion": tokenizer.decode(sample.completion_ids),
                "reward": sample.reward,
                "scores": scores,
                "truncated": sample.truncated,
            }
            self._append("samples.jsonl", row)

    def save(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "model"
    ) -> Path:
        """Save the model, adapters merged into it, and its tokenizer in a folder of that name."""
        folder = self.path / name
        if has_lora(model):
            whole = whole_weights(model, torch.float32)  # which small updates need
            model.save_pretrained(folder, state_dict={n: weight.cpu() for n, weight in whole})
            model.config.dtype = torch.float32
            model.config.save_pretrained(folder)
            save_lora(model, folder / "adapter")
        else:
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    def checkpoint(self, step: int, trainer: Trainer, tokenizer: PreTrainedTokenizerBase) -> None:
        """Save the model, its tokenizer, and what else the trainer remembers."""
        folder = self.save(trainer.learner.model, tokenizer, f"checkpoints/step-{step:06d}")
        torch.save(trainer.checkpoint(), folder / "state.pt")
        shutil.copy(self.path / LOCK, folder)

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
