"""Rotary positions that depend on the longest text at hand, made the same for all texts.

`dynamic` scaling and `longrope` rotate all positions otherwise once a text is longer than those of
pretraining. Left alone, a token's log-prob would depend on what else is in the batch, and a cache
would hold keys of both kinds.
"""

from typing import Any

import torch
from torch import Tensor, nn

STRETCHING = ("dynamic", "longrope")


def rotate_as_at(model: nn.Module, length: int) -> None:
    """Have every text rotated as one of `length` tokens, the most that the run may have."""

    def with_the_last(
        _: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Any, Any]:
        states, positions, *rest = (*args, *named.values())
        last = torch.full_like(positions[..., :1], length - 1)
        return (states, torch.cat([positions, last], -1), *rest), {}

    def without_it(_: nn.Module, __: Any, rotations: Tensor | tuple[Tensor, ...]) -> Any:
        if isinstance(rotations, Tensor):  # complex ones
            return rotations[..., :-1, :]
        return tuple(rotation[..., :-1, :] for rotation in rotations)

    for module in stretching(model):
        module.register_forward_pre_hook(with_the_last, with_kwargs=True)
        module.register_forward_hook(without_it)


def stretching(model: nn.Module) -> list[nn.Module]:
    """The parts of a model whose rotations depend on the longest text at hand."""
    return [module for module in model.modules() if _stretches(module)]


def _stretches(module: nn.Module) -> bool:
    kinds = getattr(module, "rope_type", None)
    named = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any(kind in str(name) for name in named for kind in STRETCHING)
