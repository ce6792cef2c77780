"""How much importance ratios vary, for completions of growing length."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import anypo.functional as F
from anypo import collate, run, score_tokens
from claimed.drawing import BuiltIn, load

LENGTHS = (8, 16, 32, 64, 128)
PROMPTS = 128
STEPS = 5  # that the policy has moved on since it drew


def variance(seed: int, ratio: str, *, quick: bool = False) -> Any:
    """The variance of the ratio between the policy after some steps and the one that drew.

    Completions are not allowed to end before their length.

    Args:
        seed: Of the steps, and of the completions.
        ratio: `sequence`, the mean of a completion, as GSPO has it; or `token`.
        quick: Of a few completions.
    """
    lengths, prompts = (LENGTHS[:2], 4) if quick else (LENGTHS, PROMPTS)
    with TemporaryDirectory() as home:
        folder = run("grpo", seed=seed, output=str(Path(home, "run")), steps=2 if quick else STEPS)
        moved = load(folder / "model")
    torch.manual_seed(seed)
    task = BuiltIn()
    return {"variance": [(n, _variance(task, moved, ratio, prompts, n)) for n in lengths]}


@torch.no_grad()
def _variance(task: BuiltIn, moved: Any, ratio: str, prompts: int, length: int) -> float:
    batch = collate(task.drawn(prompts, 1, length, ends=False))
    now, before = (score_tokens(m, batch, temperature=1.0).logprobs for m in (moved, task.model))
    if ratio == "token":
        return float(F.exp_ratio(F.token_log_ratio(now, before))[batch.mask].var())
    return float(F.exp_ratio(F.sequence_log_ratio(now, before, batch.mask)).var())
