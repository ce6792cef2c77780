"""Measure a step: losses added up over micro-batches, samples averaged, seconds per phase."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean as mean
from statistics import pstdev
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anypo import functional as F
from anypo.composition.loss import Loss
from anypo.hooks.batch import Sample
from anypo.support.world import ALONE, World


class Meter:
    """Adds up losses and metrics over the micro-batches and updates of a step.

    They stay where they are computed until all of them are read, so that nothing waits for them.
    """

    def __init__(self) -> None:
        self.terms: dict[str, Tensor] = {}
        self.sums: dict[str, Float[Tensor, 2]] = {}  # of what is measured, and how often it is
        self.largest_mismatches: list[Tensor] = []  # of each micro-batch
        self.norms: list[float] = []  # of the gradient of each update

    def add(self, loss: Loss) -> None:
        """Count a micro-batch."""
        for name, term in {"loss": loss.total, **loss.terms}.items():
            self.terms[name] = self.terms.get(name, 0) + term.detach().double()
        for name, (total, count) in loss.metrics.items():
            self.count(name, total, count)

    def count(self, name: str, total: Float[Tensor, ""], count: Float[Tensor, ""]) -> None:
        """Count something of which the mean is wanted."""
        pair = torch.stack([total.detach().double(), count.double()])
        self.sums[name] = self.sums.get(name, 0) + pair

    def compare(
        self,
        logprobs: Float[Tensor, "N T"],
        sampler_logprobs: Float[Tensor, "N T"],
        mask: Bool[Tensor, "N T"],
    ) -> None:
        """Count how far the sampler is from the trainer, on tokens that it drew."""
        gap = F.masked(logprobs - sampler_logprobs, mask)
        for name, value in (("mean", gap.abs()), ("ratio", F.exp_ratio(gap))):
            self.count(f"mismatch/{name}", F.masked(value, mask).sum(), mask.sum())
        self.largest_mismatches.append(gap.abs().max())

    def losses(self, world: World = ALONE) -> dict[str, float]:
        """The losses of all processes, added up over the updates so far."""
        return _added(world.gather(_read(self.terms)))

    def means(self, world: World = ALONE) -> dict[str, float]:
        """Losses per update, and means of the metrics, unless there is nothing to take one of.

        They are those of all processes, of whose rows each measured its own.
        """
        updates = max(len(self.norms), 1)
        measured = _read(self.terms), _read(self.sums), [float(x) for x in self.largest_mismatches]
        terms, sums, gaps = zip(*world.gather(measured), strict=True)
        losses = _added(terms)
        if losses or self.norms:
            losses = {"loss": 0.0, **losses}
        return {
            **({"grad_norm": mean(self.norms)} if self.norms else {}),
            **{k if k == "loss" else f"loss/{k}": x / updates for k, x in losses.items()},
            **{name: total / count for name, (total, count) in _added(sums).items() if count},
            **(
                {"mismatch/max": max(every)}
                if (every := [x for part in gaps for x in part])
                else {}
            ),
        }


def _added(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums by name, of what some processes measured and others may not have."""
    names = dict.fromkeys(name for part in parts for name in part)
    found = {name: [part[name] for part in parts if name in part] for name in names}
    return {
        name: torch.tensor(each, dtype=torch.float64).sum(0).tolist()
        for name, each in found.items()
    }


def _read(measured: dict[str, Tensor]) -> dict[str, Any]:
    """The numbers, which all wait to be read no longer."""
    values = torch.stack(list(measured.values())).tolist() if measured else []
    return dict(zip(measured, values, strict=True))


def sample_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """Rewards, of samples that have them, and lengths."""
    if not samples:
        return {}
    return {
        **{f"reward/{name}": value for name, value in reward_metrics(samples).items()},
        **_spread(samples),
        "length/mean": mean(sample.length for sample in samples),
        "length/truncated": mean(float(sample.truncated) for sample in samples),
        **{name: mean(s.figures[name] for s in samples) for name in samples[0].figures},
    }


def kept_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """The mean reward of samples that are trained on, where they have rewards."""
    rewards = [sample.reward for sample in samples if sample.reward is not None]
    return {"reward/kept": mean(rewards)} if rewards else {}


def _spread(samples: Sequence[Sample]) -> dict[str, float]:
    """How far rewards differ, and the share of groups of several in which they do not."""
    groups: dict[int, list[float]] = {}
    for sample in samples:
        if sample.reward is not None:
            groups.setdefault(sample.group, []).append(sample.reward)
    if not groups:
        return {}
    several = [rewards for rewards in groups.values() if len(rewards) > 1]
    flat = [float(max(rewards) - min(rewards) <= F.EQUAL_REWARDS) for rewards in several]
    found = {"reward/std": pstdev(reward for rewards in groups.values() for reward in rewards)}
    return found | ({"groups/flat": mean(flat)} if flat else {})


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
