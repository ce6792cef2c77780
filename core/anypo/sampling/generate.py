"""Sample completions with the policy itself."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from anypo.hooks.batch import Sample
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.logits import Making, making_of
from anypo.models.micro_batches import micro_batches
from anypo.sampling.continuation import Continuation, can_go_on, can_pad, can_remember
from anypo.sampling.decode import decode
from anypo.sampling.recall import Known, keep, taken


class TransformersEngine:
    """Samples from a transformers model, always with its current weights, as requests say."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self.model: PreTrainedModel = model
        self.runtime = runtime

    @cached_property
    def pads(self) -> bool:
        """See `can_pad`."""
        return can_pad(self.model)

    @cached_property
    def remembers(self) -> bool:
        """See `can_remember`; tried when it is first asked, as a model may have nothing to say."""
        return can_remember(self.model, self.runtime)

    @cached_property
    def making(self) -> Making | None:
        """See `making_of`."""
        return making_of(self.model)

    @cached_property
    def goes_on(self) -> bool:
        """See `can_go_on`."""
        return self.remembers and can_go_on(self.model)

    def begin(self, prompts: list[list[int]], known: Sequence[Known] = ()) -> Continuation:
        """Texts of token ids that are to grow, of which the beginnings may be known."""
        return Continuation(self.model, prompts, self.making, known, remembers=self.remembers)

    @torch.no_grad()
    def sample(self, request: SamplingRequest) -> list[Sample]:
        """See `Engine`."""
        request.refuse_all_but("temperature", "top_p", "top_k", "stop")
        memory = request.memory if self.goes_on else None
        known = taken(memory, request.prompts, request.end_tokens)
        samples = []
        is_known = torch.tensor([text is not None for text in known], dtype=torch.bool)
        for index in self._batches(request, is_known):
            prompts = [request.prompts[i].ids for i in index]
            texts = self.begin(prompts, [text for i in index if (text := known[i]) is not None])
            for place in index:
                known[place] = None  # the memory is needed for what is read now
            with self.runtime.autocast():
                drawn = decode(texts, request, keeps=bool(memory and not memory.is_over))
            groups = index.repeat_interleave(request.n).tolist()
            rows = zip(groups, drawn.ids.tolist(), drawn.logprobs.tolist(), strict=True)
            found = [request.sample(*row) for row in rows]
            keep(memory, found, drawn.known, self.runtime.token_budget)
            samples += found
        return sorted(samples, key=lambda sample: sample.group)

    def sync(self, model: Any) -> None:
        """Use `model` from now on."""
        if model is not self.model:  # what was found of the other one may not hold of it
            for found in ("pads", "remembers", "making", "goes_on"):
                vars(self).pop(found, None)
        self.model = model

    def close(self) -> None:
        """Nothing to release."""

    def _batches(
        self, request: SamplingRequest, known: Bool[Tensor, " P"]
    ) -> Iterator[Int[Tensor, " p"]]:
        """Which prompts go through the model together."""
        prompts = torch.tensor([len(prompt.ids) for prompt in request.prompts])
        parts = [known, ~known] if self.pads else [prompts == n for n in prompts.unique()]
        for part in parts:
            index = part.nonzero().squeeze(-1)
            lengths = prompts[index] + request.max_completion_length
            budget = max(1, self.runtime.token_budget // request.n)
            yield from (index[rows] for rows in micro_batches(lengths, budget))
