"""Models without values: what they, and what is done with them, take of a memory that is not there.

All that allocates goes through torch's fake tensors, which have shapes, types and a device, and
choose kernels by them. So any architecture is counted as it is, and nothing is known of it here.
"""

import logging
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

from anypo.models.precision import cast_anyway
from anypo.support.allocator import heap_size

FOUR_BITS = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes of a weight: QLoRA, section 3


def pretend(modules: Iterable[nn.Module], device: torch.device) -> None:
    """Have modules on the device `meta` behave as if they were on another one."""
    logging.getLogger(FakeTensor.__module__).setLevel(logging.CRITICAL)  # errors say enough
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # they meet tensors that have values
    known: dict[int, tuple[Any, Any]] = {}  # with the originals, whose identities must stay theirs

    def on_device(tensor: Any) -> Any:
        if tensor is None:
            return None
        if id(tensor) not in known:
            fake: Any = FakeTensor(mode, tensor.detach(), device)
            if isinstance(tensor, nn.Parameter):
                fake = nn.Parameter(fake, tensor.requires_grad)
            known[id(tensor)] = tensor, fake
        return known[id(tensor)][1]

    for part in (part for module in modules for part in module.modules()):
        for held in (part._parameters, part._buffers):
            held.update({name: on_device(tensor) for name, tensor in held.items()})


def stored_bytes(
    modules: Iterable[nn.Module | None], *, trained: bool, four_bits: bool = False
) -> float:
    """Bytes of the weights of some modules that are trained, or of those that are not.

    Weights that several have count once. With `four_bits`, linear layers under adapters are so.
    """
    there = [module for module in modules if module is not None]
    weights = {id(w): w for module in there for w in module.parameters()}
    quantized = set[int]()
    if four_bits:
        quantized = {
            id(w)
            for module in there
            if isinstance(module, PreTrainedModel)
            for w in cast_anyway(module)
            if w.dim() > 1
        }
    kept = [(key, w) for key, w in weights.items() if w.requires_grad == trained]
    return sum(w.numel() * FOUR_BITS if key in quantized else w.nbytes for key, w in kept)


LOOK_EVERY = 64 * 2**10  # bytes that are taken: it grows by more, and to look takes its time


class Reserve:
    """Blocks of main memory that stand for tensors elsewhere: taken, and never touched.

    An allocator cannot fill all holes again, which may cost half as much as what is alive. What it
    makes of the blocks of a run, it is asked itself.

    Args:
        device: Where the tensors would be; if not in main memory, nothing is taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._works, self._before = device.type == "cpu", heap_size()
        self._blocks: dict[int, Tensor] = {}
        self._taken = 0  # bytes since the last look
        self.most = 0  # bytes that the allocator had from the system, holes included

    def take(self, key: int, size: int) -> None:
        """Take a block, if there is so much; if not, there will be no more."""
        try:
            if self._works:
                self._blocks[key] = torch.empty(size, dtype=torch.uint8, device="cpu")
                self._taken += size
                if self._taken >= LOOK_EVERY:
                    self.most, self._taken = max(self.most, heap_size() - self._before), 0
        except RuntimeError:
            self._works = False
            self._blocks.clear()

    def give_back(self, key: int) -> None:
        """Give it back."""
        self._blocks.pop(key, None)


class Alive(TorchDispatchMode):
    """Counts the bytes of unreal tensors that are made in the block: those alive, and at most.

    Args:
        known: Whose weights do not count.
        reserve: Is to take as much.
    """

    def __init__(self, known: nn.Module, reserve: Reserve) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.reserve = reserve
        weights = (*known.parameters(), *known.buffers())
        self._storages = {weight.untyped_storage()._cdata for weight in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what an operation makes."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, FakeTensor):
                self._count(tensor)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._storages:
            self._storages.add(key)
            weakref.finalize(storage, self._forget, key, size).atexit = False
            self.now += size
            self.most = max(self.most, self.now)
            self.reserve.take(key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.reserve.give_back(key)
        self.now -= size
