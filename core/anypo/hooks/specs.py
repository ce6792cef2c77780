"""The questions an algorithm answers. Read this file first.

A plugin answers some of them with methods marked `@hookimpl`, and names only the arguments it
wants. Shapes are those of `anypo.hooks.batch`.

    loss = - sum(weight * gain) + sum over names of sum(weight_name * penalty_name)

over the unmasked tokens, where `gain` is what `clip` returns, `penalty` what `regularizer` does.
Plugins are blind to ranks and micro-batches: `advantage` and `weight` see the whole batch, and the
loss only slices it and adds up. Gradient flows through `logprobs`, `values`, `entropy` and
`token_statistics` alone.

The samples of a rollout are drawn by the sampler, or they are completions that the rows of a data
set hold: `prompt.sample("chosen", …)`. What a rollout reads of a row, the data set must have.

Where `requires` names a scalar head, the trained model scores whole completions, as reward models
do. `logprobs` is then the score at the last unmasked token and 0 elsewhere: it stands for an
unnormalised log-prob of the completion.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import pluggy
from jaxtyping import Float
from torch import Tensor

from anypo.hooks.batch import Batch, Prompt, Sample
from anypo.hooks.rollout import Sampler, Scorer
from anypo.hooks.stages import HOOKS as HOOKS
from anypo.hooks.stages import MERGED as MERGED
from anypo.hooks.stages import STAGES as STAGES

hookspec = pluggy.HookspecMarker("anypo")
hookimpl = pluggy.HookimplMarker("anypo")

State = dict[str, Any]  # what plugins remember from step to step, and STEP and STEPS
STEP, STEPS = "step", "steps"  # of the state: which step it is, from 1, and how many there will be
NOTES = "notes"  # of the state: a list of sentences, each of which the user is told once
MOVED = "reference_moved"  # of the state: the last step after which the reference model moved
DROPPED = "dropped"  # of the state: positions of prompts in whose place a step draws no others


def beginning(steps: int = 1) -> State:
    """What plugins remember before the first of so many steps."""
    return {STEP: 1, STEPS: steps}


class Hooks(Protocol):
    """Five stages, the weighting of their terms, and what they need."""

    @hookspec(firstresult=True)
    def rollout(
        self,
        prompts: Sequence[Prompt],
        sampler: Sampler,
        scorer: Scorer,
        state: State,
        data: Sequence[Prompt],
    ) -> list[Sample]:
        """Where do the samples come from? In groups of one prompt each, with rewards if need be.

        A step draws others in the place of prompts of which nothing is kept, but for those whose
        positions in `prompts` stand in `state["dropped"]`: they are dropped for good.
        """

    @hookspec(firstresult=True)
    def advantage(
        self, batch: Batch, state: State
    ) -> Float[Tensor, " N"] | Float[Tensor, "N T"] | dict[str, Tensor]:
        """How much better than expected was each row or token?

        A dict holds `advantages` and further tensors that later stages read from the batch.
        """

    @hookspec(firstresult=True)
    def ratio(
        self, logprobs: Float[Tensor, "N T"], batch: Batch
    ) -> Float[Tensor, "N T"] | Float[Tensor, "N 1"]:
        """How far is the policy from the one it is compared with? The LOGARITHM of the ratio."""

    @hookspec(firstresult=True)
    def clip(
        self,
        log_ratio: Float[Tensor, "N T"] | Float[Tensor, "N 1"],
        advantages: Float[Tensor, "N T"] | Float[Tensor, "N 1"],
        logprobs: Float[Tensor, "N T"],
        batch: Batch,
        token_statistics: dict[str, Float[Tensor, "N T"]],
    ) -> Float[Tensor, "N T"] | Float[Tensor, "N 1"]:
        """What is gained, and where does the gain stop growing? To be maximised."""

    @hookspec
    def regularizer(
        self,
        logprobs: Float[Tensor, "N T"],
        values: Float[Tensor, "N T"] | None,
        entropy: Float[Tensor, "N T"] | None,
        batch: Batch,
        token_statistics: dict[str, Float[Tensor, "N T"]],
    ) -> dict[str, Float[Tensor, "N T"] | Float[Tensor, "N 1"] | None] | None:
        """What else is paid for? Penalties by name; the topmost plugin wins, None deletes.

        No penalty may be called `policy`: that is the gain, in the losses that are logged.
        """

    @hookspec(firstresult=True)
    def weight(
        self,
        batch: Batch,
        state: State,
        logprobs: Float[Tensor, "N T"],
        entropy: Float[Tensor, "N T"],
    ) -> Float[Tensor, "N T"] | dict[str, Float[Tensor, "N T"]]:
        """How much does each token count? Weights, not a mean: the objective is a weighted sum.

        A dict gives terms of their own weights by name; `policy` is the gain's and the default.
        The log-probs and entropies are those of the policy now, without gradient; to name one of
        them costs one more forward pass for each optimizer step, and one for each rollout.
        """

    @hookspec
    def distribution(
        self,
        log_distribution: Float[Tensor, "m V"],
        teacher_log_distribution: Float[Tensor, "m V"],
    ) -> dict[str, Float[Tensor, " m"]]:
        """What of the whole distribution matters? Numbers per token, by name.

        Called for some of the tokens at a time, so that there is never more of [N, T, V]. `clip`
        and `regularizer` are given what comes of it as `token_statistics`, with gradient; in the
        batch stand, under their names, those of the policy before the update.
        """

    @hookspec
    def metrics(
        self,
        log_ratio: Float[Tensor, "N T"] | Float[Tensor, "N 1"],
        logprobs: Float[Tensor, "N T"],
        batch: Batch,
    ) -> dict[str, Float[Tensor, "N T"] | Float[Tensor, "N 1"] | Float[Tensor, " N"] | None] | None:
        """What is worth watching? By name; logged as means over all that is not NaN.

        The topmost plugin wins, None deletes. Called without gradient on the rows of a
        micro-batch; never part of the loss.
        """

    @hookspec
    def requires(self) -> set[str]:
        """What must the core provide beyond what the stages are seen to read?

        Names of `REQUIREMENTS`. Only needed where a hook reads a tensor in some batches only.
        """
