"""Completions of the built-in model, drawn outside of a run to measure something of them."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from anypo import Sample, Tokens
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.hooks.task import ChosenTask, load_task
from anypo.runs.task import ensure_task
from anypo.sampling.generate import TransformersEngine


def task_folder() -> Path:
    """Where the built-in task lies; it is made if it does not yet."""
    entry, plugin = load_task("addition")
    task = ChosenTask(entry.shortest_name, plugin, owns_model=True)
    return ensure_task(task, lambda *_: None)


def load(folder: Path) -> Any:
    """The model of a directory."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


class BuiltIn:
    """The model of the built-in task, and its held-out problems."""

    def __init__(self) -> None:
        self.folder = task_folder()
        self.model = load(self.folder / "model")
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder / "model")

    @cached_property
    def prompts(self) -> list[Prompt]:
        """The problems; the right answers stand in the column `answer`."""
        lines = (self.folder / "held_out.jsonl").read_text(encoding="utf-8").splitlines()
        tokens = Tokens(self.tokenizer)
        rows = map(json.loads, lines)
        return [Prompt(tokens.prompt(row["prompt"]), row["prompt"], row) for row in rows]

    def drawn(self, number: int, n: int, tokens: int, *, ends: bool = True) -> list[Sample]:
        """Completions of the first prompts at temperature 1.

        Args:
            number: Of prompts.
            n: Of completions of each.
            tokens: Of a completion at most.
            ends: Whether it may end before.
        """
        request = SamplingRequest(
            prompts=self.prompts[:number],
            n=n,
            end_tokens=(self.tokenizer.eos_token_id,) if ends else (),
            max_completion_length=tokens,
        )
        return TransformersEngine(self.model, Runtime()).sample(request)
