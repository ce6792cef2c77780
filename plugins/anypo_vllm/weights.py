"""Hand the weights of a model to another process by a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from anypo import whole_weights

MEMORY = Path("/dev/shm")  # files there never reach a disk
PREFIX = "anypo-weights-"  # then the process that wrote it


@contextmanager
def weights_file(model: PreTrainedModel, dtype: str, folder: str | None = None) -> Iterator[Path]:
    """A file of the model's weights, which is there as long as the block runs.

    Args:
        model: Tied weights are written once.
        dtype: To write them in.
        folder: Where; in memory if None.
    """
    _sweep()
    folder = folder or (str(MEMORY) if MEMORY.is_dir() else None)
    kind = getattr(torch, dtype)
    weights = {name: w.cpu().contiguous() for name, w in whole_weights(model, kind)}
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=folder) as place:
        path = Path(place, "weights.safetensors")
        save_file(weights, path)
        yield path


def _sweep() -> None:
    """Free the memory that runs left occupied which were killed while a server read from it."""
    for left in MEMORY.glob(f"{PREFIX}*"):
        writer = left.name.removeprefix(PREFIX).partition("-")[0]
        if not Path("/proc", writer).exists():
            shutil.rmtree(left, ignore_errors=True)
