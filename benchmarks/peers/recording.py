"""What happens in training, noted from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from peers.case import Named

Gradients = list[dict[int, torch.Tensor]]  # of each step, by the identity of the parameter


def named(model: nn.Module) -> Named:
    """What a model trains, by names that do not tell who holds it."""
    return {plain(n): p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def by_name(model: nn.Module, gradients: Gradients) -> list[Named]:
    """Gradients by the names of the parameters."""
    names = {id(p): plain(n) for n, p in model.named_parameters()}
    return [{names[i]: g for i, g in step.items()} for step in gradients]


def plain(name: str) -> str:
    """The name of a parameter without what peft puts before it."""
    return name.removeprefix("base_model.model.")


@contextmanager
def recorded() -> Iterator[Gradients]:
    """Notes the gradients of every step of AdamW in the block, in which nobody shuffles.

    Tensors that are drawn at random, as those of new adapters are, depend on their shape alone.
    """
    steps: Gradients = []

    def note(optimizer: Any, *_: Any) -> None:
        if type(optimizer) is torch.optim.AdamW:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            steps.append({id(p): p.grad.clone() for p in parameters if p.grad is not None})

    handle = register_optimizer_step_pre_hook(note)
    try:
        with patch("torch.randperm", _in_order), patch.object(nn.init, "kaiming_uniform_", _drawn):
            yield steps
    finally:
        handle.remove()


def _in_order(n: int, **_: Any) -> torch.Tensor:
    return torch.arange(n)


@torch.no_grad()
def _drawn(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor.normal_(std=0.1, generator=torch.Generator().manual_seed(tensor.numel()))
