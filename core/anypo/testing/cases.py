"""The batches that a plugin is tried on, made by its own rollout."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from anypo.composition.algorithm import Algorithm
from anypo.composition.kept import first_kept
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer, synthetic_prompt
from anypo.composition.trial import VOCABULARY
from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.requirements import LOGPROBS
from anypo.hooks.specs import State, beginning

WEIGHTS = {"one": 0.75, "two": 0.25}  # of the two made-up rewards; what both gain, so does the sum
BUDGET = 8  # tokens a completion may have; the longest one has fewer


class SeededSampler(SyntheticSampler):
    """Completions of 1 to 6 tokens, the same for every call with the same seed.

    Args:
        seed: Of the lengths.
        fixed_length: Of all completions, instead.
    """

    max_completion_length = 6

    def __init__(self, seed: int, fixed_length: int | None = None) -> None:
        super().__init__()
        self.seed, self.fixed_length = seed, fixed_length

    def length(self, group: int, i: int) -> int:
        """See `SyntheticSampler`."""
        if self.fixed_length is not None:
            return self.fixed_length
        return random.Random(f"length {self.seed} {group} {i}").randint(1, 6)


class SeededScorer(SyntheticScorer):
    """Two rewards per completion and one per step, no two alike.

    Args:
        seed: Of the rewards.
        change: What becomes of every reward before it is handed out.
    """

    def __init__(self, seed: int, change: Callable[[float], float] = lambda reward: reward) -> None:
        super().__init__()
        self.seed, self.change = seed, change

    def scored(self, sample: Sample, i: int) -> Sample:
        """See `SyntheticScorer`."""
        scores = {name: self._draw(f"{name} {i}") for name in WEIGHTS}
        reward = sum(WEIGHTS[name] * score for name, score in scores.items())
        return replace(sample, reward=reward, scores=scores, score_weights=WEIGHTS)

    def step_reward(self, i: int, step: int) -> float:
        """See `SyntheticScorer`."""
        return self._draw(f"step {i} {step}")

    def _draw(self, what: str) -> float:
        return self.change(random.Random(f"{what} {self.seed}").uniform(-1, 2))


@dataclass(frozen=True)
class Case:
    """A batch as the stages get it, and what the models say of it now."""

    batch: Batch  # without advantages and weights
    inputs: dict[str, Tensor]  # logprobs, values, entropy and statistics, [N, T] each
    twin: Case | None = None  # the same rows with other rewards

    def __len__(self) -> int:
        return len(self.batch)

    def rows(self, index: Sequence[int]) -> Case:
        """The case of some rows."""
        rows = torch.tensor(index, dtype=torch.long, device=self.batch.mask.device)
        twin = None if self.twin is None else self.twin.rows(index)
        inputs = {name: x[rows] for name, x in self.inputs.items()}
        return Case(self.batch.rows(rows), inputs, twin)

    def with_batch(self, **changes: Any) -> Case:
        """The case with some tensors of the batch replaced."""
        return replace(self, batch=self.batch.replace(**changes))

    def agreeing(self) -> Case:
        """The case in which all models say the same."""
        same = self.inputs["logprobs"]
        return self.with_batch(**dict.fromkeys(LOGPROBS, same))

    def to(self, place: torch.device | torch.dtype) -> Case:
        """The case on a device, or with its floating-point numbers in a precision."""

        def moved(x: Tensor) -> Tensor:
            stays = isinstance(place, torch.dtype) and not x.is_floating_point()
            return x if stays else x.to(place)

        return self.each(moved)

    def each(self, change: Callable[[Tensor], Tensor]) -> Case:
        """The case with every tensor changed alike."""
        batch = self.batch
        tensors = {name: change(x) for name, x in batch.tensors.items()}
        scores = {name: change(x) for name, x in batch.scores.items()}
        changed = batch.replace(mask=change(batch.mask), scores=scores, **tensors)
        twin = None if self.twin is None else self.twin.each(change)
        return Case(changed, {name: change(x) for name, x in self.inputs.items()}, twin)

    def each_per_token(self, change: Callable[[Tensor], Tensor]) -> Case:
        """The case with every tensor of shape [N, T] changed alike."""
        shape = self.batch.mask.shape
        return self.each(lambda x: change(x) if x.shape == shape else x)


def roll_out(
    algorithm: Algorithm,
    seed: int,
    *,
    prompts: int = 3,
    sampler: SyntheticSampler | None = None,
    scorer: SyntheticScorer | None = None,
    state: State | None = None,
) -> list[Sample]:
    """The samples that the algorithm's rollout makes of made-up prompts."""
    return first_kept(
        algorithm,
        [synthetic_prompt(row) for row in range(prompts)],
        sampler or SeededSampler(seed),
        scorer or SeededScorer(seed),
        beginning() if state is None else state,
    )


def prepared(algorithm: Algorithm, case: Case, state: State | None = None) -> Batch:
    """The batch of a case with advantages, and with weights, which may ask for the policy now."""
    now = {name: case.inputs[name] for name in ("logprobs", "entropy")}
    return algorithm.prepare(case.batch, state, **now)


def make_case(
    algorithm: Algorithm, samples: Sequence[Sample], seed: int, *, spread: float = 0.3
) -> Case:
    """The samples as a batch in float64, with made-up answers of the models.

    Args:
        algorithm: Whose statistics of distributions it has.
        samples: Of `roll_out`.
        seed: Of what the models say.
        spread: How far the policy's log-probs are from the old ones, in nats.
    """
    batch = collate(samples, max_completion_length=BUDGET)
    generator = torch.Generator().manual_seed(seed)
    shape = batch.mask.shape

    def noise(scale: float) -> Tensor:
        return scale * torch.randn(shape, generator=generator, dtype=torch.float64)

    old = -0.1 - 3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    others = [name for name in LOGPROBS if name != "old_logprobs"]
    near = {"sampler_logprobs": spread / 4}  # it means to say the same
    tensors = {"old_logprobs": old, **{x: old + noise(near.get(x, spread)) for x in others}}
    tensors |= {"values": noise(0.5), "old_entropy": noise(0.5).abs()}
    inputs = {
        "logprobs": (old + noise(spread)).clamp(max=-1e-3),
        "values": noise(0.5),
        "entropy": noise(0.5).abs(),
    }
    before, now = (_statistics(algorithm, batch.mask, generator) for _ in range(2))
    return Case(batch, inputs | now).to(torch.float64).with_batch(**tensors, **before)


def _statistics(
    algorithm: Algorithm, mask: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """What the plugins make of made-up distributions, [N, T] each."""
    sizes = mask.numel(), VOCABULARY
    both = (
        torch.randn(sizes, generator=generator, dtype=torch.float64).log_softmax(-1)
        for _ in range(2)
    )
    return {name: x.reshape(mask.shape) for name, x in algorithm.statistics(*both).items()}


def with_holes(case: Case) -> Case:
    """The case with a token in some rows that the policy did not write, such as a tool's text."""
    mask = case.batch.mask.clone()
    mask[::3, 1] &= mask[::3].sum(-1) < 3  # of long rows, so that none becomes empty
    return case.with_batch(mask=mask)


def some_rows(case: Case, couples_groups: bool, seed: int) -> Case:
    """The case without some of its rows, so that groups are of unequal size.

    Every group keeps two rows at least. Groups that belong together stay as they are.
    """
    if couples_groups:
        return case
    draw = random.Random(seed)
    kept: list[int] = []
    for rows in rows_by_group(case.batch.group):
        count = draw.randint(min(2, len(rows)), min(5, len(rows)))
        kept += sorted(draw.sample(rows, count))
    return case.rows(kept)


def joined(units: Iterable[list[int]]) -> list[int]:
    """All rows of some units."""
    return list(chain.from_iterable(units))
