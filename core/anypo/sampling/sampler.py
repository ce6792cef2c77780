"""What a rollout samples with: an engine, and what the run has to say of sampling."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from transformers import PreTrainedModel

from anypo.errors import SamplerError, told
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.support.foreign import foreign, place
from anypo.support.world import ALONE, World, shares


class PolicySampler:
    """Has an engine draw completions of any prompts, as the run's request says.

    Args:
        engine: None in a process that draws nothing itself, where one engine serves them all.
        request: All but the prompts.
        world: The processes, each of which draws its share and gets those of the others.
    """

    def __init__(
        self, engine: Engine | None, request: SamplingRequest, world: World = ALONE
    ) -> None:
        self.engine, self.request, self.world = engine, request, world
        self.drawing = [
            rank for rank, draws in enumerate(world.gather(engine is not None)) if draws
        ]

    @property
    def max_completion_length(self) -> int:
        """In tokens; a completion that reaches it without end is truncated."""
        return self.request.max_completion_length

    def asking(self, request: SamplingRequest) -> Self:
        """The same with another request."""
        other = copy.copy(self)
        other.request = request
        return other

    def sample(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """See `anypo.Sampler`."""
        if self.world.size == 1:
            return self._drawn(prompts, n)
        limits = [len(prompt.ids) + self.max_completion_length for prompt in prompts]
        parts = shares(limits, len(self.drawing))
        mine = dict(zip(self.drawing, parts, strict=True)).get(self.world.rank, [])
        with self.world.agreed(), self.world.apart():
            found = self._drawn([prompts[place] for place in mine], n) if mine else []
            found = [replace(sample, group=mine[sample.group]) for sample in found]
        return [sample for part in self.world.gather(found) for sample in part]

    def _drawn(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        assert self.engine is not None, "only who has an engine draws"
        with foreign(self._failure):
            return self.engine.sample(replace(self.request, prompts=prompts, n=n))

    def sync(self, model: PreTrainedModel) -> None:
        """Use the current weights of `model` from now on."""
        with self.world.agreed():
            if self.engine is not None:
                with foreign(self._failure):
                    self.engine.sync(model)

    def close(self) -> None:
        """Release what the engine holds."""
        if self.engine is not None:
            self.engine.close()

    def _failure(self, error: BaseException) -> SamplerError:
        engine = type(self.engine)
        where = place(error, engine.__module__)
        return SamplerError(f"the sampler ({engine.__name__}) failed: {told(error)}{where}")
