"""How noisy the estimate of a gradient is, measured at the built-in model."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

import anypo.functional as F
from anypo import collate, run, score_tokens
from anypo_tasks import answers
from claimed.drawing import BuiltIn, load

GROUPS, SIZE, TOKENS = 96, 8, 40


def noise(seed: int, baseline: str, steps: int, *, quick: bool = False) -> Any:
    """The variance of a group's gradient over groups, and the square of the mean gradient.

    Both estimates have the same mean: that with a baseline takes the mean reward of the other
    completions of a group, so that no completion is its own baseline.

    Args:
        seed: Of the completions.
        baseline: `others`, or `none`.
        steps: Of GRPO that the policy has made before.
        quick: Of a few groups.
    """
    task, groups = BuiltIn(), 4 if quick else GROUPS
    if steps:
        with TemporaryDirectory() as home:
            how = {"seed": seed, "steps": 2 if quick else steps, "eval_every": steps}
            task.model = load(run("grpo", output=str(Path(home, "run")), **how) / "model")
    torch.manual_seed(seed)
    samples = task.drawn(groups, SIZE, TOKENS)
    gradients = torch.stack(
        [_gradient(task, samples[SIZE * g : SIZE * (g + 1)], baseline) for g in range(groups)]
    ).double()
    mean = gradients.mean(0)
    spread = (gradients - mean).square().sum() / (groups - 1)
    size = mean.square().sum() - spread / groups  # without what noise adds to it
    return {"variance": [(groups, float(spread))], "squared mean": [(groups, float(size))]}


def _gradient(task: BuiltIn, group: list[Any], baseline: str) -> Tensor:
    """Of the mean of A log pi(y) over a group."""
    batch = collate(group)
    right = [task.prompts[s.group].columns["answer"] for s in group]
    said = [task.tokenizer.decode(s.completion_ids, skip_special_tokens=True) for s in group]
    pairs = zip(said, right, strict=True)
    rewards = torch.tensor([float(answers.final(text) == answer) for text, answer in pairs])
    if baseline == "others":
        rewards = F.group_standardize(rewards, batch.group, center="leave_one_out", scale="none")
    logprobs = score_tokens(task.model, batch, temperature=1.0).logprobs
    gain = (rewards * F.masked(logprobs, batch.mask).sum(-1)).mean()
    parts = torch.autograd.grad(gain, list(task.model.parameters()))
    return torch.cat([part.flatten() for part in parts])
