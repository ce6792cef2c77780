"""The weights of a model that is being trained, as everybody else wants to see them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anypo.lora import ADAPTER


@torch.no_grad()
def whole_weights(
    model: nn.Module, dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its name in a model directory: adapters merged in, shards put together.

    One is made whole at a time, so this takes no more memory than the largest of them. Processes
    that share the shards must all go through all of them.

    Args:
        model: Tied weights come once.
        dtype: To give floating-point numbers in; as they are if None.
    """
    adapted = {
        f"{name}.base_layer.weight": module
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }
    seen: set[int] = set()
    for name, stored in model.state_dict(keep_vars=True).items():
        if id(stored) in seen or ".lora_" in name or ".original_module." in name:
            continue
        seen.add(id(stored))
        weight = stored.detach()
        if name in adapted:
            weight = weight + adapted[name].get_delta_weight(ADAPTER)
        if dtype is not None and weight.is_floating_point():
            weight = weight.to(dtype)
        if hasattr(weight, "full_tensor"):
            weight = weight.full_tensor()
        yield name.replace(".base_layer", "").replace(f".modules_to_save.{ADAPTER}", ""), weight
