"""A shape in TRL, as a user runs it."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoTokenizer, PrinterCallback, TrainerCallback

from speed.apart import peak_memory
from speed.laps import Laps
from speed.shapes import Made, Shape


class Note(TrainerCallback):
    """Notes the end of every step."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """A step is done."""
        self.laps.ended()


def train(shape: Shape, made: Made, threads: int, setting: dict[str, Any]) -> Laps:
    """The steps of GRPO without a KL penalty, one update per rollout.

    Args:
        shape: What a step is given.
        made: The model and the prompts.
        threads: Of the CPU.
        setting: Fields of its configuration, in place of those that follow from the shape.
    """
    torch.set_num_threads(threads)
    from datasets import load_dataset
    from trl import GRPOConfig, GRPOTrainer

    laps = Laps()
    with TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=made.model,
            reward_funcs=_counted(resolve_name(shape.reward), laps),
            args=GRPOConfig(folder, **_fields(shape, setting)),
            train_dataset=load_dataset("json", data_files=made.data, split="train"),
            processing_class=AutoTokenizer.from_pretrained(made.model),
            callbacks=[Note(laps)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    laps.memory = peak_memory()
    return laps


def _fields(shape: Shape, setting: dict[str, Any]) -> dict[str, Any]:
    parts = setting.get("gradient_accumulation_steps", 1)
    on_gpu = torch.cuda.is_available()
    return {
        "per_device_train_batch_size": shape.rows // parts,
        "num_generations": shape.group,
        "max_steps": shape.steps,
        "max_completion_length": shape.tokens,
        "learning_rate": shape.learning_rate,
        "lr_scheduler_type": "constant",
        "beta": 0.0,
        "temperature": 1.0,
        "loss_type": "grpo",
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
        **setting,
    }


def _counted(score: Callable[..., Any], laps: Laps) -> Callable[..., Any]:
    """A reward function that counts the tokens of a step, too."""

    def reward(**given: Any) -> Any:
        laps.tokens.append(sum(map(len, given["completion_ids"])))
        return score(**given)

    return reward
