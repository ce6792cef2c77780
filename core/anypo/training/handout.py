"""Weights that one process has, and all processes need, whole or in parts."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from anypo.support.world import World


class Handout:
    """Gives modules that were made without weights (on torch's `meta` device) those of others.

    One tensor at a time is on its way, so that no process need hold more than the modules that it
    asks for.

    Args:
        world: The processes. All fill the same modules, in the same order.
        device: Where the modules shall be.
        origins: For each module, one like it with weights; None but in the first process.
    """

    def __init__(
        self, world: World, device: torch.device, origins: Mapping[nn.Module, nn.Module | None]
    ) -> None:
        self.world, self.device = world, device
        self._origins: dict[int, Tensor] = {}
        for module, origin in origins.items():
            if origin is not None:
                named = dict(_named_tensors(origin))
                self._origins |= {id(lack): named[name] for name, lack in _named_tensors(module)}

    @torch.no_grad()
    def fill(self, module: nn.Module) -> None:
        """Give a module, or a part of one, all that it still lacks; what is tied stays tied."""
        made: dict[int, Tensor] = {}
        for owner in module.modules():
            for name, lack in list(_named_tensors(owner, recurse=False)):
                if lack.is_meta:
                    if id(lack) not in made:
                        made[id(lack)] = self._handed_out(lack)
                    setattr(owner, name, made[id(lack)])

    def _handed_out(self, lack: Tensor) -> Tensor:
        if self.world.is_first:
            origin = self._origins[id(lack)]
            whole = origin.detach().to(self.device, lack.dtype, copy=True).contiguous()
        else:
            whole = torch.empty(lack.shape, dtype=lack.dtype, device=self.device)
        self.world.from_first_(whole)
        is_weight = isinstance(lack, nn.Parameter)
        return nn.Parameter(whole, lack.requires_grad) if is_weight else whole


def _named_tensors(module: nn.Module, *, recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters(recurse=recurse, remove_duplicate=False)
    yield from module.named_buffers(recurse=recurse, remove_duplicate=False)
