"""The questions an algorithm answers. Read this file first.

A plugin answers some of them with methods marked `@hookimpl`, and names only the arguments it
wants. Shapes are those of `anypo.batch`.

    loss = - sum(weight * gain) + sum over names of sum(weight_name * penalty_name)

over the unmasked tokens, where `gain` is what `clip` returns, `penalty` what `regularizer` does.
Plugins are blind to ranks and micro-batches: `advantage` and `weight` see the whole batch, and the
loss only slices it and adds up. Gradient flows through `logprobs`, `values` and `entropy` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pluggy
from jaxtyping import Float
from torch import Tensor

from anypo.batch import Batch, Prompt, Sample
from anypo.rollout import Sampler, Scorer

hookspec = pluggy.HookspecMarker("anypo")
hookimpl = pluggy.HookimplMarker("anypo")

State = dict[str, Any]


class Hooks(Protocol):
    """Five stages, the weighting of their terms, and what they need."""

    @hookspec(firstresult=True)
    def rollout(
        self, prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer, state: State
    ) -> list[Sample]:
        """Where do the samples come from? Scored samples, in groups of one prompt each."""
        ...

    @hookspec(firstresult=True)
    def advantage(
        self, batch: Batch, state: State
    ) -> Float[Tensor, " N"] | Float[Tensor, "N T"] | dict[str, Tensor]:
        """How much better than expected was each row or token?

        A dict holds `advantages` and further tensors that later stages read from the batch.
        """
        ...

    @hookspec(firstresult=True)
    def ratio(
        self, logprobs: Float[Tensor, "N T"], batch: Batch
    ) -> Float[Tensor, "N T"] | Float[Tensor, "N 1"]:
        """How far is the policy from the one it is compared with? The LOGARITHM of the ratio."""
        ...

    @hookspec(firstresult=True)
    def clip(
        self,
        log_ratio: Float[Tensor, "N T"] | Float[Tensor, "N 1"],
        advantages: Float[Tensor, "N T"] | Float[Tensor, "N 1"],
        logprobs: Float[Tensor, "N T"],
        batch: Batch,
    ) -> Float[Tensor, "N T"] | Float[Tensor, "N 1"]:
        """What is gained, and where does the gain stop growing? To be maximised."""
        ...

    @hookspec
    def regularizer(
        self,
        logprobs: Float[Tensor, "N T"],
        values: Float[Tensor, "N T"] | None,
        entropy: Float[Tensor, "N T"] | None,
        batch: Batch,
    ) -> dict[str, Float[Tensor, "N T"] | Float[Tensor, "N 1"] | None] | None:
        """What else is paid for? Penalties by name; the topmost plugin wins, None deletes."""
        ...

    @hookspec(firstresult=True)
    def weight(self, batch: Batch) -> Float[Tensor, "N T"] | dict[str, Float[Tensor, "N T"]]:
        """How much does each token count? Weights, not a mean: the objective is a weighted sum.

        A dict gives terms of their own weights by name; `policy` is the gain's and the default.
        """
        ...

    @hookspec
    def requires(self) -> set[str]:
        """What must the core provide beyond what the stages are seen to read?

        Names of `REQUIREMENTS`. Only needed where a hook reads a tensor in some batches only.
        """
        ...


STAGES = ("rollout", "advantage", "ratio", "clip", "regularizer", "weight")
HOOKS = (*STAGES, "requires")
MERGED = ("regularizer", "requires")  # every plugin is asked; elsewhere the topmost one answers
REQUIREMENTS = ("old_logprobs", "reference", "critic", "entropy", "sampler_logprobs")
