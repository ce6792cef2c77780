"""Measure a step: losses added up over micro-batches, samples averaged, seconds per phase."""

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean as mean

from torch import Tensor

from anypo import functional as F
from anypo.composition.algorithm import Loss
from anypo.hooks.batch import Sample


class Meter:
    """Adds up losses and metrics over the micro-batches and updates of a step."""

    def __init__(self) -> None:
        self.terms: dict[str, float] = defaultdict(float)
        self.sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.largest_mismatches: list[float] = []  # of each micro-batch
        self.norms: list[float] = []  # of the gradient of each update

    def add(self, loss: Loss) -> None:
        """Count a micro-batch."""
        for name, term in {"loss": loss.total, **loss.terms}.items():
            self.terms[name] += float(term.detach())
        for name, (total, count) in loss.metrics.items():
            self.sums[name][0] += float(total)
            self.sums[name][1] += float(count)

    def compare(self, logprobs: Tensor, sampler_logprobs: Tensor, mask: Tensor) -> None:
        """Count how far the sampler is from the trainer, on tokens that it drew."""
        gap = (logprobs - sampler_logprobs)[mask]
        for name, value in (("mean", gap.abs()), ("ratio", F.exp_ratio(gap))):
            self.sums[f"mismatch/{name}"][0] += float(value.sum())
            self.sums[f"mismatch/{name}"][1] += gap.numel()
        self.largest_mismatches.append(float(gap.abs().max()) if gap.numel() else 0.0)

    def means(self) -> dict[str, float]:
        """Losses per update, and means of the metrics, unless there is nothing to take one of."""
        norms, gaps = self.norms, self.largest_mismatches
        updates = max(len(norms), 1)
        losses = {k if k == "loss" else f"loss/{k}": x / updates for k, x in self.terms.items()}
        return {
            **({"grad_norm": sum(norms) / updates} if norms else {}),
            **losses,
            **{name: total / count for name, (total, count) in self.sums.items() if count},
            **({"mismatch/max": max(gaps)} if gaps else {}),
        }


def sample_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """Mean rewards, of samples that have them, and lengths."""
    if not samples:
        return {}
    return {
        **{f"reward/{name}": value for name, value in reward_metrics(samples).items()},
        "length/mean": mean(len(sample.completion_ids) for sample in samples),
        "length/truncated": mean(float(sample.truncated) for sample in samples),
    }


def reward_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """The mean reward, and the mean of every score that applies to a sample."""
    rewards = [sample.reward for sample in samples if sample.reward is not None]
    if not rewards:
        return {}
    scores = {name: [s.scores[name] for s in samples] for name in samples[0].scores}
    applying = {name: [x for x in column if not math.isnan(x)] for name, column in scores.items()}
    return {
        **{name: mean(known) for name, known in applying.items() if known},
        "mean": mean(rewards),
    }


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Note the seconds that the block takes, as `seconds/PHASE`."""
    start = time.perf_counter()
    yield
    seconds[f"seconds/{phase}"] = time.perf_counter() - start
