"""Sample completions with the policy itself."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Memory, SamplingRequest
from anypo.models.logits import Making, making_of
from anypo.models.micro_batches import micro_batches
from anypo.sampling.continuation import Continuation, can_go_on, can_pad, can_remember
from anypo.sampling.decode import decode
from anypo.sampling.recall import Known

KEPT = 4  # times the tokens that go through the model together


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
        samples = []
        memory = request.memory if self.goes_on else None
        known = _take(request.prompts, memory, request.end_tokens)
        for index in self._batches(request, torch.tensor([text is not None for text in known])):
            prompts = [request.prompts[i].ids for i in index]
            texts = self.begin(prompts, [text for i in index if (text := known[i]) is not None])
            with self.runtime.autocast():
                drawn = decode(texts, request, keeps=bool(memory and not memory.is_over))
            ids, logprobs = (part.tolist() for part in (drawn.ids, drawn.logprobs))
            groups = index.repeat_interleave(request.n).tolist()
            rows = zip(groups, ids, logprobs, strict=True)
            samples += (found := [request.sample(*row) for row in rows])
            if memory:
                self._keep(memory, found, drawn.known)
        return sorted(samples, key=lambda sample: sample.group)

    def sync(self, model: Any) -> None:
        """Use `model` from now on."""
        if model is not self.model:  # what was found of the other one may not hold of it
            for found in ("pads", "remembers", "making", "goes_on"):
                vars(self).pop(found, None)
        self.model = model

    def close(self) -> None:
        """Nothing to release."""

    def _keep(self, memory: Memory, samples: Sequence[Sample], known: dict[int, Known]) -> None:
        """Keep what is known of texts, as long as there is room."""
        room = KEPT * self.runtime.token_budget - sum(map(len, memory.held))
        for row, text in known.items():
            read = tuple(samples[row].prompt_ids + samples[row].completion_ids[:-1])
            room -= len(read)
            if room >= 0:
                layers = ((keys[:, : len(read)], values[:, : len(read)]) for keys, values in text)
                memory.held[read] = list(layers)

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


def _take(
    prompts: Sequence[Prompt], memory: Memory | None, ends: Sequence[int]
) -> list[Known | None]:
    """What is known of prompts that go on from replies, up to the end of the last one.

    Nothing else is remembered any longer.
    """
    if memory is None or not memory.held:
        return [None] * len(prompts)
    held, memory.held = memory.held, {}
    return [_known(prompt.ids, held, ends) for prompt in prompts]


def _known(
    ids: list[int], held: Mapping[tuple[int, ...], Known], ends: Sequence[int]
) -> Known | None:
    places = (place for place in reversed(range(len(ids))) if ids[place] in ends)
    return next((held[read] for place in places if (read := tuple(ids[:place])) in held), None)
