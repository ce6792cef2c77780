"""The weights of a model that is being trained, as everybody else wants to see them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anypo.models.adapters import ADAPTER, adapters_by_weight, own_name
from anypo.models.precision import dequantized


@torch.no_grad()
def whole_weights(
    model: nn.Module, dtype: torch.dtype | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its name in a model directory: adapters merged in, shards put together.

    Those of four bits are multiplied out. Tied weights come once, parameters in `dtype` if it is
    given. One is made whole at a time, so this takes no more memory than the largest of them.
    Processes that share the shards must all go through all of them.
    """
    adapters, seen = adapters_by_weight(model), set[int]()
    for stored_name, stored in model.state_dict(keep_vars=True).items():
        name = own_name(stored_name) if adapters else stored_name
        if name is None or id(stored) in seen:
            continue
        seen.add(id(stored))
        weight = dequantized(stored)
        if id(stored) in adapters:
            weight = weight + adapters[id(stored)].get_delta_weight(ADAPTER)
        if dtype is not None and isinstance(stored, nn.Parameter):
            weight = weight.to(dtype)
        if hasattr(weight, "full_tensor"):
            weight = weight.full_tensor()
        yield name, weight
