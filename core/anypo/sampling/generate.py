"""Sample completions with the policy itself, by `generate` of transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    TopKLogitsWarper,
    TopPLogitsWarper,
    cache_utils,
)

from anypo.hooks.batch import Sample
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.logits import decoder_of
from anypo.models.micro_batches import micro_batches

ATTENTION = {  # layers of a cache that are repeated for a group
    getattr(cache_utils, name, DynamicCache)
    for name in ("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer")
}


class TransformersEngine:
    """Samples from a transformers model, always with its current weights, as requests say."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self.model: PreTrainedModel = model
        self.runtime = runtime
        self.pads = can_pad(model)

    @torch.no_grad()
    def sample(self, request: SamplingRequest) -> list[Sample]:
        """See `Engine`."""
        request.refuse_all_but("temperature", "top_p", "top_k")
        prompts, n = request.prompts, request.n
        samples = []
        for index in self._batches(request):
            with self.runtime.autocast():
                completions = self._complete([prompts[i].ids for i in index], request)
            groups = index.repeat_interleave(n).tolist()
            for group, (ids, logprobs) in zip(groups, completions, strict=True):
                ended = bool(ids) and ids[-1] in request.end_tokens
                samples.append(
                    Sample(prompts[group].ids, ids, group, logprobs=logprobs, truncated=not ended)
                )
        return sorted(samples, key=lambda sample: sample.group)

    def sync(self, model: Any) -> None:
        """Use `model` from now on."""
        self.model = model

    def close(self) -> None:
        """Nothing to release."""

    def _batches(self, request: SamplingRequest) -> Iterator[Int[Tensor, " p"]]:
        """Which prompts go through the model together."""
        prompts = torch.tensor([len(prompt.ids) for prompt in request.prompts])
        parts = [prompts >= 0] if self.pads else [prompts == n for n in prompts.unique()]
        for part in parts:
            index = part.nonzero().squeeze(-1)
            lengths = prompts[index] + request.max_completion_length
            budget = max(1, self.runtime.token_budget // request.n)
            yield from (index[rows] for rows in micro_batches(lengths, budget))

    def _complete(
        self, prompts: list[list[int]], request: SamplingRequest
    ) -> list[tuple[list[int], list[float]]]:
        n, end_tokens = request.n, list(request.end_tokens)
        ids = [torch.tensor(prompt, dtype=torch.long) for prompt in prompts]
        pad = partial(pad_sequence, batch_first=True, padding_side="left")
        input_ids = pad(ids).to(self.model.device)
        attention_mask = pad(list(map(torch.ones_like, ids))).to(self.model.device)
        if self.pads:
            cache = self._prefilled(input_ids[:, :-1], attention_mask[:, :-1], n)
            prefilled = {"past_key_values": cache}
        else:  # its state is more than keys and values
            prefilled = {}
        recorder = _Recorder(request)
        with _neutral_generation(self.model):
            sequences: Tensor = self.model.generate(  # type: ignore[operator]
                input_ids.repeat_interleave(n, 0),
                attention_mask=attention_mask.repeat_interleave(n, 0),
                logits_processor=LogitsProcessorList([recorder]),
                do_sample=True,
                top_k=0,
                max_new_tokens=request.max_completion_length,
                eos_token_id=end_tokens,
                pad_token_id=end_tokens[0],
                **prefilled,
            )
        completions = sequences[:, input_ids.shape[1] :]
        logprobs = recorder.logprobs(sequences)
        ends = torch.isin(completions, torch.tensor(end_tokens, device=completions.device))
        # Filler after the end is an end token too: the first one counts, itself included.
        lengths = completions.shape[1] - (ends.cumsum(-1) > 0).sum(-1) + ends.any(-1).long()
        drawn = zip(completions.tolist(), logprobs.tolist(), lengths.tolist(), strict=True)
        return [(ids[:length], scores[:length]) for ids, scores, length in drawn]

    def _prefilled(
        self, input_ids: Int[Tensor, "P L"], attention_mask: Int[Tensor, "P L"], n: int
    ) -> DynamicCache:
        """The cache of all prompt tokens but the last, computed once and repeated n times."""
        cache = _cache(self.model)
        if input_ids.shape[1]:
            decoder_of(self.model)(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=(attention_mask.cumsum(-1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
            cache.batch_repeat_interleave(n)
        return cache


def can_pad(model: PreTrainedModel) -> bool:
    """Whether padding before a prompt changes nothing: all is attention, and told the positions.

    What reads its tokens one after the other, by recurrence or convolution, would read it too.
    """
    takes = signature(decoder_of(model).forward).parameters.keys()
    told = {"position_ids", "past_key_values"} <= takes
    attention = all(type(layer) in ATTENTION for layer in _cache(model).layers)
    return told and attention and not model._is_stateful


def _cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache, with sliding layers only where the configuration says which they are.

    A window that it merely mentions may be a leftover that the model does not heed.
    """
    config = model.config.get_text_config()
    return DynamicCache(config=config if getattr(config, "layer_types", None) else None)


class _Recorder(LogitsProcessor):
    """Makes the distribution asked for, and remembers the log-prob of each token drawn from it.

    `generate` would keep the scores of all tokens, [T, N, V]; this keeps one step of them.
    """

    def __init__(self, request: SamplingRequest) -> None:
        self.temperature = request.temperature
        top_k = [TopKLogitsWarper(request.top_k)] if request.top_k else []
        top_p = [TopPLogitsWarper(request.top_p)] if request.top_p < 1 else []
        self.cuts: list[LogitsProcessor] = [*top_k, *top_p]
        self.last: Tensor | None = None
        self.steps: list[Tensor] = []

    def __call__(
        self, input_ids: Int[Tensor, "N L"], scores: Float[Tensor, "N V"]
    ) -> Float[Tensor, "N V"]:
        self._record(input_ids)
        scores = scores.float() / self.temperature
        for cut in self.cuts:
            scores = cut(input_ids, scores)
        self.last = scores.log_softmax(-1)
        return scores

    def logprobs(self, sequences: Int[Tensor, "N L"]) -> Float[Tensor, "N T"]:
        """The log-probs of all tokens drawn, the last one included."""
        self._record(sequences)
        return torch.stack(self.steps, -1)

    def _record(self, input_ids: Tensor) -> None:
        if self.last is not None:
            self.steps.append(self.last.gather(-1, input_ids[:, -1:]).squeeze(-1))


@contextmanager
def _neutral_generation(model: PreTrainedModel) -> Iterator[None]:
    """Hide the model's own generation settings: top-p or a penalty would bias every log-prob."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
