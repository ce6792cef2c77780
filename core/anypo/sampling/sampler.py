"""What a rollout samples with: an engine, and what the run has to say of sampling."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Self

from transformers import PreTrainedModel

from anypo.data.prompts import followed_by
from anypo.data.tokens import Tokens
from anypo.errors import SamplerError, told
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.rollout import POLICY
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.support.foreign import foreign, place
from anypo.support.world import ALONE, World, shares

LOWEST = {"temperature": 0, "top_p": 0, "top_k": -1}  # which is too low
HIGHEST = {"top_p": 1}
Lent = Callable[[], AbstractContextManager[tuple[PreTrainedModel, PreTrainedModel]]]  # and policy


class PolicySampler:
    """Has an engine draw completions of any prompts, as the run's request says.

    Args:
        engine: None in a process that draws nothing itself, where one engine serves them all.
        request: All but the prompts.
        world: The processes, each of which draws its share and gets those of the others.
        tokens: Makes tokens of what is put behind prompts.
    """

    def __init__(
        self,
        engine: Engine | None,
        request: SamplingRequest,
        world: World = ALONE,
        tokens: Tokens | None = None,
    ) -> None:
        self.engine, self.request, self.world, self.tokens = engine, request, world, tokens
        self.models: Mapping[str, Lent] = {}  # that may draw in the policy's place
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

    def followed_by(self, prompt: Prompt, more: str | Sequence[dict[str, Any]]) -> Prompt:
        """See `anypo.Sampler`."""
        assert self.tokens is not None, "a run has a tokenizer"
        return followed_by(prompt, more, self.tokens)

    def text(self, sample: Sample) -> str:
        """See `anypo.Sampler`."""
        assert self.tokens is not None, "a run has a tokenizer"
        if sample.messages:
            return str(sample.messages[-1].get("content") or "")
        decoded = self.tokens.tokenizer.decode(sample.completion_ids, skip_special_tokens=True)
        return str(decoded)

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        greedy: bool = False,
        model: str = POLICY,
    ) -> list[Sample]:
        """See `anypo.Sampler`."""
        how = {"temperature": temperature, "top_p": top_p, "top_k": 1 if greedy else top_k}
        changes: dict[str, Any] = {name: value for name, value in how.items() if value is not None}
        for name, value in changes.items():
            if not LOWEST[name] < value <= HIGHEST.get(name, value):
                raise SamplerError(f"a rollout asks for {name} = {value!r}, with which none draws")
        if model not in (POLICY, *self.models):
            there = ", ".join([POLICY, *self.models])
            raise SamplerError(f"a rollout draws from '{model}', but there is {there}")
        asking = self.asking(replace(self.request, **changes)) if changes else self
        if model == POLICY:
            return asking._shared(prompts, n)
        with self._drawing_from(model):
            return asking._shared(prompts, n)

    @contextmanager
    def _drawing_from(self, model: str) -> Iterator[None]:
        """Inside the block, the engine has the weights of another model."""
        with self.models[model]() as (lent, policy):
            self.sync(lent)
            try:
                yield
            finally:
                self.sync(policy)

    def _shared(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """As `sample`, in all processes together."""
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
