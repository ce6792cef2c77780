"""What an update takes of the memory, found by a forward and a backward pass without values."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.checks import LINE, operations
from anypo.models.critic import Critic
from anypo.models.forward import TokenScorer
from anypo.models.lines import MicroBatch, Sharing, cut
from anypo.models.logits import Making, decoder_of
from anypo.models.unreal import Alive, Reserve
from anypo.training.options import LearnerOptions


@dataclass(frozen=True)
class Pass:
    """What goes through the model at once: lines, padded to the width of the longest."""

    lines: int
    width: int  # tokens
    own: int  # of them those of completions, of which log-probs are asked
    shared: bool  # whether rows share lines, which takes a mask

    @property
    def tokens(self) -> int:
        """All of them, padding included."""
        return self.lines * self.width

    def mask(self, dtype: torch.dtype) -> int:
        """Bytes of what tells the rows of a line apart."""
        return self.lines * self.width**2 * dtype.itemsize if self.shared else 0


class Update(NamedTuple):
    """Bytes beside the weights, at most."""

    activations: float  # what the forward pass keeps for the backward pass
    most: float  # with all that the latter takes, gradients included


def passes(
    algorithm: Algorithm,
    samples: Sequence[Sample],
    sharing: Sharing | None,
    share: int,
    budget: int,
) -> list[Pass]:
    """How the rows of one update of one process go through the model.

    Args:
        algorithm: Says which rows stay together.
        samples: Of a whole rollout, the longest first.
        sharing: See `Lines`.
        share: Among how many updates and processes they are dealt.
        budget: Tokens at a time.
    """
    batch = collate(samples)
    units = algorithm.units(batch)
    mine = units[: math.ceil(len(units) / share)]
    return [_pass(batch, part) for part in cut(batch, mine, budget, sharing)]


def sharing_assumed(model: PreTrainedModel, longest: int, budget: int) -> Sharing:
    """What `sharing_of` finds of a model that can read several rows in a line."""
    longest = max(2, min(longest, budget // 2))
    return Sharing(*operations(decoder_of(model)), up_to=longest, line=LINE * longest)


def update_of(
    model: PreTrainedModel,
    critic: Critic | None,
    config: LearnerOptions,
    runtime: Runtime,
    largest: Pass,
    reserve: Reserve,
    *,
    learns_entropy: bool,
    accumulates: bool,
) -> Update:
    """What an update of unreal models takes.

    Args:
        model: The policy.
        critic: If there is one.
        config: Of the run.
        runtime: Where and how it runs.
        largest: The largest pass.
        reserve: Is to take as much.
        learns_entropy: See `TokenScorer`.
        accumulates: Whether gradients of a pass before it are there.
    """
    making = Making(temperature=config.temperature)
    scorer = TokenScorer(
        model,
        critic,
        temperature=config.temperature,
        learns_entropy=learns_entropy,
        making=making,
    )
    batch = _made_up(largest).to(runtime.device)
    alive = Alive(scorer, reserve)
    for _ in range(1 + accumulates):
        alive.most = before = alive.now
        with alive, runtime.autocast():
            scores = scorer(batch)
        activations = alive.now - before
        with alive:
            said = [x.sum() for x in (scores.logprobs, scores.values) if x is not None]
            torch.stack(said).sum().backward()
        del scores, said
    mask = largest.mask(runtime.dtype)
    return Update(activations + mask, alive.most + mask)


def _made_up(largest: Pass) -> Batch:
    prompt, own = [0] * (largest.width - largest.own), [0] * largest.own
    return collate([Sample(prompt, own, group) for group in range(largest.lines)])


def _pass(batch: Batch, part: MicroBatch) -> Pass:
    lengths, prompts = batch.sequence_lengths[part.rows], batch.prompt_lengths[part.rows]
    own = lengths - prompts
    if part.line is None:
        lines, width = len(lengths), int(lengths.max())
    else:
        lines = int(part.line[-1]) + 1
        width = max(_widths(part.line.tolist(), prompts.tolist(), own.tolist()))
    return Pass(lines, width, math.ceil(int(own.sum()) / lines), part.line is not None)


def _widths(line: list[int], prompts: list[int], own: list[int]) -> Iterator[int]:
    """Tokens of every line: its prompt and all its completions."""
    for number in range(line[-1] + 1):
        rows = [row for row, at in enumerate(line) if at == number]
        yield prompts[rows[0]] + sum(own[row] for row in rows)
