"""Log-probs of the reference for the completions of a data set, computed once and kept."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anypo.errors import TrainingError
from anypo.hooks.batch import Batch, Prompt, Sample, collate
from anypo.models.weights import whole_weights
from anypo.support.cache import cache_directory
from anypo.support.saving import UNFINISHED, writing
from anypo.training.learner import Learner

ROWS = 512  # collated at a time


def ensure_precomputed(
    learner: Learner, prompts: Sequence[Prompt]
) -> Callable[[Batch], Float[Tensor, "N T"]]:
    """What says the log-probs of the policy as it is now, for all completions the prompts hold.

    Rows of the same tokens have the same, whatever their masks. Taken from the cache if they have
    been computed before, by the same weights, for the same tokens, at the same temperature and
    precision.

    Raises:
        ConfigError, SaveError: The cache cannot be written.
        TrainingError: What is returned was given a row that the prompts do not hold.
    """
    samples = [prompt.sample(column, 0) for prompt in prompts for column in prompt.completions]
    # Each a group of its own, since nothing here compares rows, so none need share a forward pass;
    # and unmasked, since rows of the same tokens share an entry.
    samples = [replace(sample, group=i, mask=None) for i, sample in enumerate(samples)]
    lengths = [len(sample.completion_ids) for sample in samples]
    file = cache_directory() / f"reference-{_fingerprint(learner, samples)}.safetensors"
    logprobs = learner.world.on_first(partial(_read, file))
    if logprobs is None or len(logprobs) != sum(lengths):
        parts = (collate(samples[at : at + ROWS]) for at in range(0, len(samples), ROWS))
        logprobs = torch.cat([learner.logprobs(part).cpu()[part.mask] for part in parts])
        learner.world.on_first(partial(_write, file, logprobs))
    keys = [(len(s.prompt_ids), (*s.prompt_ids, *s.completion_ids)) for s in samples]
    return partial(_look_up, dict(zip(keys, logprobs.split(lengths), strict=True)))


def _look_up(known: Mapping[Any, Tensor], batch: Batch) -> Float[Tensor, "N T"]:
    """The log-probs of the rows of a batch, all of which must be known."""
    logprobs = torch.zeros(batch.mask.shape, device=batch.mask.device)
    columns = (batch.prompt_lengths, batch.sequence_lengths, batch.input_ids)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for row, (prompt, length, ids) in enumerate(rows):
        said = known.get((prompt, tuple(ids[:length])))
        if said is None:
            raise TrainingError(
                "the rollout made a row that the data set does not hold, so its reference "
                "log-probs are not precomputed; leave precompute_reference out"
            )
        logprobs[row, : len(said)] = said.to(logprobs.device)
    return logprobs


def _read(file: Path) -> Tensor | None:
    """What the file holds; None if there is none, or it is damaged."""
    try:
        return load_file(file)["logprobs"]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(file: Path, logprobs: Tensor) -> None:
    # Elsewhere first: a run that is interrupted here must leave no half of it.
    with (
        writing(file),
        tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=file.parent) as folder,
    ):
        save_file({"logprobs": logprobs}, Path(folder, file.name))
        Path(folder, file.name).replace(file)


def _fingerprint(learner: Learner, samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256(repr(getattr(learner.model, "config", None)).encode())
    for name, weights in whole_weights(learner.model):
        digest.update(name.encode())
        digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update(f"{learner.config.temperature} {learner.runtime.dtype}".encode())
    for s in samples:
        digest.update(repr((s.prompt_ids, s.completion_ids)).encode())
    return digest.hexdigest()[:16]
