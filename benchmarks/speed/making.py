"""Make the model and the prompts of a shape: the weights are random, but for the built-in task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from anypo.hooks.task import ChosenTask, load_task
from anypo.runs.task import ensure_task
from anypo_tasks.addition.model import build_tokenizer
from speed.shapes import MODELS, Made, Shape

PROMPTS = 64  # of a data set
TEXT = "once upon a time "


def make(shape: Shape, folder: Path) -> Made:
    """Make the model and the prompts of a shape in an empty folder, or find the built-in ones."""
    if shape.model in MODELS:
        parameters = make_model(folder / "model", config_of(shape))
        make_prompts(folder / "train.jsonl", shape.prompt_tokens)
    else:
        entry, plugin = load_task(shape.model)
        task = ChosenTask(entry.shortest_name, plugin, owns_model=True)
        folder, parameters = ensure_task(task, lambda *_: None), 0
    return Made(str(folder / "model"), str(folder / "train.jsonl"), parameters)


def config_of(shape: Shape) -> dict[str, Any]:
    """The configuration of a model with random weights."""
    other = {} if shape.vocabulary is None else {"vocab_size": shape.vocabulary}
    return MODELS[shape.model] | other


def make_model(folder: Path, config: dict[str, Any]) -> int:
    """The parameters of a Qwen2 with random weights, saved with a tokenizer of bytes."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen2ForCausalLM(Qwen2Config(**config, **ends))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())


def make_prompts(file: Path, tokens: int) -> None:
    """Write prompts of as many tokens, which are bytes."""
    texts = (f"{number:02}: {TEXT * tokens}"[:tokens] for number in range(PROMPTS))
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))


def make_pairs(file: Path, prompt_tokens: int, tokens: int) -> None:
    """Write prompts with two completions of as many tokens, which are bytes."""
    texts = [f"{number:02}: {TEXT * tokens}" for number in range(PROMPTS)]
    rows = (
        {"prompt": text[:prompt_tokens], "chosen": text[:tokens], "rejected": text[-tokens:]}
        for text in texts
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
