"""Tensors in files of bounded size, whoever holds their shards."""

from collections.abc import Iterator
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anypo.errors import SaveError
from anypo.support.saving import write_on_first
from anypo.support.world import World

LARGEST_FILE = 2**30  # bytes that are put together before they are written


class TensorFiles:
    """Numbered files of tensors, which are put together from their shards one at a time.

    All processes add the same ones in the same order, and the first one writes.
    """

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.held: dict[str, Tensor] = {}
        self.bytes = self.number = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Write it, now or later.

        Raises:
            SaveError: It is of a kind of its own, or what is held cannot be written.
        """
        whole = tensor.detach()
        whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
        if type(whole) not in (Tensor, nn.Parameter):
            raise SaveError(f"'{name}' is a {type(whole).__name__}, which no checkpoint can hold")
        if self.world.is_first:
            self.held[name] = whole.to("cpu", copy=True).contiguous()
        self.bytes += whole.nbytes
        if self.bytes >= LARGEST_FILE:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        self.number += 1
        path = self.folder / f"tensors-{self.number:05d}.safetensors"
        write_on_first(self.world, path, lambda: save_file(self.held, path))
        self.held, self.bytes = {}, 0


def tensors_in(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All that stand in the files of a folder, one at a time; the same order everywhere."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                yield name, file.get_tensor(name)
