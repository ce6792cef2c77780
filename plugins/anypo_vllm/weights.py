"""Hand the weights of a model to another process by a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from anypo import whole_weights

MEMORY = Path("/dev/shm")  # files there never reach a disk


@contextmanager
def weights_file(model: PreTrainedModel, dtype: str, folder: str | None = None) -> Iterator[Path]:
    """A file of the model's weights, which is there as long as the block runs.

    Args:
        model: Tied weights are written once.
        dtype: To write them in.
        folder: Where; in memory if None.
    """
    folder = folder or (str(MEMORY) if MEMORY.is_dir() else None)
    kind = getattr(torch, dtype)
    weights = {name: w.cpu().contiguous() for name, w in whole_weights(model, kind)}
    with tempfile.TemporaryDirectory(prefix="anypo-weights-", dir=folder) as place:
        path = Path(place, "weights.safetensors")
        save_file(weights, path)
        yield path
