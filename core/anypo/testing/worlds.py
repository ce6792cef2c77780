"""Made-up worlds that differ in nothing but in which completions are the good ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticRow, SyntheticScorer
from anypo.composition.trial import loss_of
from anypo.hooks.batch import Completion, Prompt, Sample
from anypo.hooks.requirements import LOGPROBS
from anypo.hooks.specs import beginning
from anypo.testing.cases import WEIGHTS, Case, SeededSampler, make_case, prepared
from anypo.testing.outcome import backward

THIRDS = 3  # of what is drawn; in each world another third is good
PROMPTS, LENGTH = 6, 4  # rows of made-up data, and tokens of each completion
LOGPROB = -0.7  # of every token, by all models

Tokens = tuple[int, ...]


class Rise(NamedTuple):
    """What a step does to a completion."""

    logprob: float  # by which it moves
    advantage: float  # summed over its tokens


STILL = Rise(0.0, 0.0)


class DistinctSampler(SeededSampler):
    """Completions of one length, no two alike."""

    def __init__(self) -> None:
        super().__init__(0, LENGTH)
        self.drawn = 0

    def _completion(self, prompt: Prompt, group: int, length: int) -> Sample:
        self.drawn += 1
        sample = super()._completion(prompt, group, length)
        return replace(sample, completion_ids=_ids(self.drawn))


class Judge(SyntheticScorer):
    """Rewards every third completion with 1 or a little more, the others with 0.

    Args:
        third: Which one.
    """

    def __init__(self, third: int) -> None:
        super().__init__()
        self.third, self.calls, self.good = third, 0, set[Tokens]()

    def __call__(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
        """See `anypo.hooks.rollout.Scorer`."""
        self.calls += 1  # completions that are scored by themselves must not be alike in all calls
        return super().__call__(prompts, samples)

    def scored(self, sample: Sample, i: int) -> Sample:
        """See `SyntheticScorer`."""
        reward = self._reward(i)
        if reward:
            self.good.add(tuple(sample.completion_ids))
        scores = dict.fromkeys(WEIGHTS, reward)
        return replace(sample, reward=reward, scores=scores, score_weights=WEIGHTS)

    def step_reward(self, i: int, step: int) -> float:
        """See `SyntheticScorer`."""
        return self._reward(i)

    def _reward(self, i: int) -> float:
        return 1 + 0.01 * (i % 7) if (i + self.calls) % THIRDS == self.third else 0.0


@dataclass(frozen=True)
class World:
    """What a step does to completions, and which of them are the good ones."""

    rises: dict[Tokens, Rise]  # by completion
    good: frozenset[Tokens]


def as_good_or_bad(algorithm: Algorithm) -> tuple[tuple[str, str], list[tuple[Rise, Rise]]] | None:
    """How good and other completions are told apart, and each as a good one and as another.

    None if nothing tells them apart.
    """
    seen = algorithm.inputs
    if seen.scorer:
        said = ("rewarded with 1", "rewarded with 0")
        return said, _compared([_rewarding(algorithm, third) for third in range(THIRDS)])
    if {"chosen", "rejected"} <= seen.completions:
        return ("chosen", "rejected"), _compared(_holding(algorithm, lambda p: [p["chosen"]]))
    if "label" in seen.columns and seen.completions:
        return ("labelled good", "labelled bad"), _compared(_holding(algorithm, None))
    if seen.fixed:
        shown = _step(algorithm, [_prompt(row, False) for row in range(PROMPTS)], Judge(0))
        return ("shown", "left alone"), [(rise, STILL) for rise in shown.values()]
    return None


def _compared(worlds: Sequence[World]) -> list[tuple[Rise, Rise]]:
    return [
        (world.rises.get(ids, STILL), other.rises.get(ids, STILL))  # a dropped one does not move
        for world in worlds
        for ids in sorted(world.good)
        for other in worlds
        if ids not in other.good
    ]


def _rewarding(algorithm: Algorithm, third: int) -> World:
    judge = Judge(third)
    moved = _step(algorithm, [_prompt(row, False) for row in range(PROMPTS)], judge)
    return World(moved, frozenset(judge.good))


def _holding(algorithm: Algorithm, good: Callable[..., list[Completion]] | None) -> list[World]:
    """Two worlds whose data differ in which completions are good: by label, unless it is said."""
    worlds = []
    for swapped in (False, True):
        prompts = [_prompt(row, swapped) for row in range(PROMPTS)]
        moved = _step(algorithm, prompts, Judge(0))
        held = [
            good(prompt.completions) if good else [*prompt.completions.values()]
            for prompt in prompts
            if good or prompt.columns["label"]
        ]
        worlds.append(World(moved, frozenset(tuple(c.ids) for some in held for c in some)))
    return worlds


def _step(algorithm: Algorithm, prompts: Sequence[Prompt], judge: Judge) -> dict[Tokens, Rise]:
    """How a step along the gradient moves completions, all models agreeing before."""
    state = beginning()
    samples = algorithm.rollout(prompts, DistinctSampler(), judge, state)
    if not samples:
        return {}
    case = _all_alike(make_case(algorithm, samples, 0))
    ready = prepared(algorithm, case, state)
    leaves = {name: x.clone().requires_grad_() for name, x in case.inputs.items()}
    backward(algorithm, loss_of(algorithm, ready, leaves).total)
    gradient = leaves["logprobs"].grad
    rise = torch.zeros(len(samples)) if gradient is None else -gradient.sum(-1)
    advantages = torch.where(ready.mask, ready.advantages, 0).sum(-1)
    found: dict[Tokens, Rise] = {}
    for sample, *moved in zip(samples, rise.tolist(), advantages.tolist(), strict=True):
        ids = tuple(sample.completion_ids)
        before = found.get(ids, STILL)
        found[ids] = Rise(before.logprob + moved[0], before.advantage + moved[1])
    return found


def _all_alike(case: Case) -> Case:
    """The case in which all models say the same of every token."""
    logprobs = torch.full_like(case.inputs["logprobs"], LOGPROB)
    ones = torch.ones_like(logprobs)
    inputs = {**case.inputs, "logprobs": logprobs, "values": 0.2 * ones, "entropy": ones}
    same = {**dict.fromkeys(LOGPROBS, logprobs), "values": 0.2 * ones}
    return replace(case, inputs=inputs).with_batch(**same)


def _prompt(row: int, swapped: bool) -> Prompt:
    def completion(i: int) -> Completion:
        return Completion(_ids(10_000 + 100 * row + i))

    columns = SyntheticRow(lambda _: row % 2 == 0)
    columns["label"] = (row % 2 == 0) != swapped
    completions = SyntheticRow(completion)
    pair = ("rejected", "chosen") if swapped else ("chosen", "rejected")
    completions |= {name: completion(90 + i) for i, name in enumerate(pair)}
    return Prompt([1, 2, 3 + row], "made up", columns, completions)


def _ids(name: int) -> list[int]:
    return [LENGTH * name + token for token in range(LENGTH)]
