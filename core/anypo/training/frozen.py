"""Log-probs of the reference for the completions of a data set, computed once and kept."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anypo.errors import ConfigError, TrainingError
from anypo.hooks.batch import Batch, Prompt, Sample, collate
from anypo.models.weights import whole_weights
from anypo.support.cache import cache_directory
from anypo.training.learner import Learner

ROWS = 512  # collated at a time


class PrecomputedReference:
    """The log-probs of known rows; rows of the same tokens have the same, whatever their masks.

    Args:
        samples: The rows.
        logprobs: Of their completion tokens, one tensor per row.
    """

    def __init__(self, samples: Sequence[Sample], logprobs: Sequence[Tensor]) -> None:
        keys = [(len(s.prompt_ids), (*s.prompt_ids, *s.completion_ids)) for s in samples]
        self.rows = dict(zip(keys, logprobs, strict=True))

    def __call__(self, batch: Batch) -> Float[Tensor, "N T"]:
        """The log-probs of the rows of a batch.

        Raises:
            TrainingError: The rollout made a row that the data set does not hold.
        """
        logprobs = torch.zeros(batch.mask.shape, device=batch.mask.device)
        for row, key in enumerate(_keys(batch)):
            if key not in self.rows:
                raise TrainingError(
                    "the rollout made a row that the data set does not hold, so its reference "
                    "log-probs are not precomputed; leave precompute_reference out"
                )
            known = self.rows[key]
            logprobs[row, : len(known)] = known.to(logprobs.device)
        return logprobs


def ensure_precomputed(learner: Learner, prompts: Sequence[Prompt]) -> PrecomputedReference:
    """The log-probs of the policy as it is now, for all completions that the prompts hold.

    Taken from the cache if they have been computed before, by the same weights, for the same
    tokens, at the same temperature and precision.

    Raises:
        ConfigError: The cache cannot be written.
    """
    samples = [prompt.sample(column, 0) for prompt in prompts for column in prompt.completions]
    # Each a group of its own, since nothing here compares rows, so none need share a forward pass;
    # and unmasked, since rows of the same tokens share an entry.
    samples = [replace(sample, group=i, mask=None) for i, sample in enumerate(samples)]
    lengths = [len(sample.completion_ids) for sample in samples]
    file = cache_directory() / f"reference-{_fingerprint(learner, samples)}.safetensors"
    logprobs = _read(file)
    if logprobs is None or len(logprobs) != sum(lengths):
        logprobs = torch.cat(list(_compute(learner, samples)))
        _write(file, logprobs)
    return PrecomputedReference(samples, logprobs.split(lengths))


def _compute(learner: Learner, samples: Sequence[Sample]) -> Iterator[Tensor]:
    for start in range(0, len(samples), ROWS):
        some = samples[start : start + ROWS]
        for sample, row in zip(some, learner.logprobs(collate(some)).cpu(), strict=True):
            yield row[: len(sample.completion_ids)]


def _read(file: Path) -> Tensor | None:
    """What the file holds; None if there is none, or it is damaged."""
    try:
        return load_file(file)["logprobs"]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(file: Path, logprobs: Tensor) -> None:
    try:  # elsewhere first: a run that is interrupted here must leave no half of it
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            save_file({"logprobs": logprobs}, Path(folder, file.name))
            Path(folder, file.name).replace(file)
    except OSError as error:
        raise ConfigError(f"the cache '{file.parent}' cannot be written: {error}") from error


def _fingerprint(learner: Learner, samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256(_weights_digest(learner.model))
    digest.update(f"{learner.config.temperature} {learner.runtime.dtype}".encode())
    for s in samples:
        digest.update(repr((s.prompt_ids, s.completion_ids)).encode())
    return digest.hexdigest()[:16]


def _weights_digest(model: nn.Module) -> bytes:
    digest = hashlib.sha256(repr(getattr(model, "config", None)).encode())
    for name, weights in whole_weights(model):
        digest.update(name.encode())
        digest.update(weights.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _keys(batch: Batch) -> list[tuple[int, tuple[int, ...]]]:
    rows = zip(
        batch.prompt_lengths.tolist(),
        batch.sequence_lengths.tolist(),
        batch.input_ids.tolist(),
        strict=True,
    )
    return [(prompt, tuple(ids[:length])) for prompt, length, ids in rows]
