"""A case in TRL, from rows to weights, as a user runs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback
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


def _nothing(trainer: type) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """One of TRL's trainers."""

    module: str
    name: str  # of the trainer and its configuration
    fields: Mapping[str, Any] = field(default_factory=dict)  # if it samples
    replayed: Callable[[type], Mapping[str, Any]] = _nothing  # methods in place of its own


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


SAMPLED = {"shuffle_dataset": False, "num_generations": 4, "max_completion_length": LENGTH}
FAMILIES = {
    "sft": Family("trl", "SFT"),
    "dpo": Family("trl", "DPO"),
    "reward": Family("trl", "Reward"),
    "kto": Family("trl", "KTO"),
    "orpo": Family("trl.experimental.orpo", "ORPO"),
    "grpo": Family("trl", "GRPO", SAMPLED, _single_turn),
    "rloo": Family("trl", "RLOO", SAMPLED, _single_turn),
    "online_dpo": Family(
        "trl.experimental.online_dpo", "OnlineDPO", {"max_new_tokens": LENGTH}, _pairs
    ),
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
    trainer.remove_callback(PrinterCallback)
    before = named(trainer.model)
    with recorded() as gradients:
        trainer.train()
    losses = torch.tensor(trainer.losses, dtype=torch.float64).view(STEPS, -1)
    means = (losses.sum(-1) / _updates(case)).tolist()
    return Trace(means, by_name(trainer.model, gradients), before, named(trainer.model))


def _updates(case: Case) -> int:
    """How many steps of the optimizer one step of anypo is."""
    passes, parts, together = (
        case.theirs.get(name, 1)
        for name in ("num_iterations", "steps_per_generation", "gradient_accumulation_steps")
    )
    return passes * max(1, parts // together)


def _trainer(case: Case, model: str, folder: Path) -> Any:
    family = FAMILIES[case.family]
    module = import_module(family.module)
    base, config = (getattr(module, f"{family.name}{kind}") for kind in ("Trainer", "Config"))
    rows = ROWS[case.rows][:: -1 if case.theirs.get("backwards") else 1]
    fields = {**USUAL, **family.fields, "max_steps": STEPS * _updates(case), **case.theirs}
    repeated = fields.get("num_generations", 1)
    fields["per_device_train_batch_size"] = len(rows) * repeated // fields.get("parts", 1)
    given = {"args": config(str(folder), **{k: fields[k] for k in fields.keys() - OUTSIDE})}
    if family.fields:
        given["reward_funcs"] = [getattr(rewards, name) for name in case.rewards]
    if "lora_rank" in fields:
        given["peft_config"] = _adapters(fields, scores=case.family == "reward")
    given["processing_class"] = AutoTokenizer.from_pretrained(model)
    methods = {"training_step": _training_step(base), **family.replayed(base)}
    with recorded():
        trainer: Any = type(base.__name__, (base,), {"calls": 0, **methods})(
            model=model, train_dataset=Dataset.from_list(rows), **given
        )
    trainer.losses = []
    trainer.use_vllm = fields.get("vllm", False)
    return trainer


def _adapters(fields: Mapping[str, Any], *, scores: bool) -> LoraConfig:
    return LoraConfig(
        r=fields["lora_rank"],
        lora_alpha=fields["lora_alpha"],
        target_modules="all-linear",
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
    )


def _training_step(base: Any) -> Callable[..., Any]:
    def training_step(self: Any, *arguments: Any, **named_arguments: Any) -> Any:
        loss = base.training_step(self, *arguments, **named_arguments)
        self.losses.append(float(loss))
        return loss

    return training_step
