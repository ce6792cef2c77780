"""A case in TRL, from rows to weights, as a user runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar, set_verbosity_error
from trl import maybe_apply_chat_template

from peers import rewards
from peers.case import LEARNING_RATE, LENGTH, STEPS, Case, Trace
from peers.recording import by_name, named, recorded
from peers.replay import completions
from peers.rows import ROWS

USUAL = {
    "max_steps": STEPS,
    "learning_rate": LEARNING_RATE,
    "lr_scheduler_type": "constant",
    "optim": "adamw_torch",
    "weight_decay": 0.0,
    "max_grad_norm": 1e9,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
}


@dataclass(frozen=True)
class Family:
    """One of TRL's trainers, and how it is made to replay completions."""

    module: str
    name: str  # of the trainer and its configuration
    replayed: Callable[[type], Mapping[str, Any]] | None = None  # methods in place of its own
    fixed: Mapping[str, Any] | None = None


def _single_turn(trainer: type) -> Mapping[str, Any]:
    def generate(self: Any, prompt_ids: Any, *_: Any) -> Any:
        drawn = completions(prompt_ids, self.calls, self.processing_class.eos_token_id)
        self.calls += 1
        ids, logprobs = [d.ids for d in drawn], [d.logprobs for d in drawn]
        return ids if "RLOO" in trainer.__name__ else (ids, logprobs)

    return {"_generate_single_turn": generate}


def _padded(rows: list[list[int]], filler: int, *, left: bool = False) -> torch.Tensor:
    width = max(map(len, rows))
    fill = [[filler] * (width - len(row)) for row in rows]
    return torch.tensor([f + r if left else r + f for r, f in zip(rows, fill, strict=True)])


def _pairs(trainer: type) -> Mapping[str, Any]:
    def generate(self: Any, model: Any, prompts: list[Any], images: Any = None) -> Any:
        tokenizer = self.processing_class
        texts = [maybe_apply_chat_template({"prompt": p}, tokenizer)["prompt"] for p in prompts]
        asked = [tokenizer(text)["input_ids"] for text in texts] * 2
        drawn = completions(asked, self.calls, tokenizer.eos_token_id)
        self.calls += 1
        pad, said = tokenizer.pad_token_id, [d.ids for d in drawn]
        ones = [[[1] * len(row) for row in rows] for rows in (asked, said)]
        return (
            _padded(asked, pad, left=True),
            _padded(ones[0], 0, left=True),
            _padded(said, pad),
            _padded(ones[1], 0),
            None,
        )

    return {"_generate": generate}


FAMILIES = {
    "sft": Family("trl", "SFT"),
    "dpo": Family("trl", "DPO"),
    "reward": Family("trl", "Reward"),
    "kto": Family("trl", "KTO"),
    "orpo": Family("trl.experimental.orpo", "ORPO"),
    "grpo": Family("trl", "GRPO", _single_turn, {"shuffle_dataset": False}),
    "rloo": Family("trl", "RLOO", _single_turn, {"shuffle_dataset": False}),
    "online_dpo": Family("trl.experimental.online_dpo", "OnlineDPO", _pairs),
}
OUTSIDE = {  # of what a case says of TRL, that which is no field of its configuration
    "lora_rank",
    "lora_alpha",
    "vllm",  # act as if vLLM had sampled
    "parts",  # into which the rows of a step are split
    "backwards",  # give the rows in the other order
}


def train(case: Case, model: str, folder: Path) -> Trace:
    """Run the case in an empty folder."""
    for quiet in (disable_progress_bars, disable_progress_bar, set_verbosity_error):
        quiet()
    trainer = _trainer(case, model, folder)
    before = named(trainer.model)
    losses: list[float] = []
    with recorded() as gradients:
        trainer.losses = losses
        trainer.train()
    parts = len(losses) // STEPS
    updates = _updates(case)
    means = [sum(losses[i * parts : (i + 1) * parts]) / updates for i in range(STEPS)]
    return Trace(means, by_name(trainer.model, gradients), before, named(trainer.model))


def _updates(case: Case) -> int:
    """How many steps of the optimizer one step of anypo is."""
    once = case.theirs.get("num_iterations", 1) * case.theirs.get("steps_per_generation", 1)
    return int(once) // int(case.theirs.get("gradient_accumulation_steps", once and 1)) or 1


def _trainer(case: Case, model: str, folder: Path) -> Any:
    family = FAMILIES[case.family]
    module = __import__(family.module, fromlist=[family.name])
    base, config = (getattr(module, f"{family.name}{kind}") for kind in ("Trainer", "Config"))
    rows = ROWS[case.rows][:: -1 if case.theirs.get("backwards") else 1]
    updates = _updates(case)
    size = {"max_steps": STEPS * updates, "per_device_train_batch_size": len(rows)}
    options = {k: v for k, v in case.theirs.items() if k not in OUTSIDE}
    given: dict[str, Any] = {}
    if family.replayed:
        given["reward_funcs"] = [getattr(rewards, name) for name in case.rewards]
        most = "max_new_tokens" if case.family == "online_dpo" else "max_completion_length"
        size[most] = LENGTH
        if most == "max_completion_length":
            generations = options.setdefault("num_generations", 4)
            size["per_device_train_batch_size"] *= generations
    size["per_device_train_batch_size"] //= case.theirs.get("parts", 1)
    if rank := case.theirs.get("lora_rank"):
        alpha = case.theirs.get("lora_alpha", 32)
        kind = "SEQ_CLS" if case.family == "reward" else "CAUSAL_LM"
        given["peft_config"] = LoraConfig(
            r=rank, lora_alpha=alpha, target_modules="all-linear", task_type=kind
        )
    args = config(str(folder / "trl"), **{**USUAL, **size, **(family.fixed or {}), **options})
    methods = {"training_step": _training_step(base), "calls": 0}
    methods |= family.replayed(base) if family.replayed else {}
    tokenizer = AutoTokenizer.from_pretrained(model)
    with recorded():
        made = type(base.__name__, (base,), methods)(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            **given,
        )
    made.use_vllm = case.theirs.get("vllm", getattr(made, "use_vllm", False))
    return made


def _training_step(base: Any) -> Callable[..., Any]:
    def training_step(self: Any, *arguments: Any, **named_arguments: Any) -> Any:
        loss = base.training_step(self, *arguments, **named_arguments)
        self.losses.append(float(loss))
        return loss

    return training_step
