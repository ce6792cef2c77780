"""Sample completions with the policy itself, by `generate` of transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

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
)

from anypo.hooks.batch import Prompt, Sample
from anypo.models.forward import micro_batches


class TransformersSampler:
    """Samples from a transformers model, nothing but the temperature applied to its logits.

    Args:
        model: The policy; it always samples with its current weights.
        end_tokens: Token ids that end a completion.
        temperature: Divides the logits.
        max_completion_length: In tokens; a completion that reaches it without end is truncated.
        token_budget: At most so many tokens at a time, rows times their full length.
        autocast: Makes the context that sets the precision of computation.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        end_tokens: Sequence[int],
        temperature: float,
        max_completion_length: int,
        token_budget: int,
        autocast: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model = model
        self.end_tokens = list(end_tokens)
        self.temperature = temperature
        self.max_completion_length = max_completion_length
        self.token_budget = token_budget
        self.autocast = autocast

    @torch.no_grad()
    def sample(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """See `Sampler`; `logprobs` are those of the distribution sampled from."""
        lengths = torch.tensor([len(p.ids) + self.max_completion_length for p in prompts])
        samples: dict[int, list[Sample]] = {}
        for index in micro_batches(lengths, max(1, self.token_budget // n)):
            chosen = index.tolist()
            samples |= {group: [] for group in chosen}
            with self.autocast():
                completions = self._complete([prompts[i].ids for i in chosen], n)
            for position, (ids, logprobs) in enumerate(completions):
                group = chosen[position // n]
                samples[group].append(self._sample(prompts[group], group, ids, logprobs))
        return [sample for group in range(len(prompts)) for sample in samples[group]]

    def sync(self, model: PreTrainedModel) -> None:
        """Use `model` from now on."""
        self.model = model

    def close(self) -> None:
        """Nothing to release."""

    def _complete(self, prompts: list[list[int]], n: int) -> list[tuple[list[int], list[float]]]:
        input_ids, attention_mask = _left_padded(prompts, self.model.device)
        cache = _prefilled(self.model, input_ids[:, :-1], attention_mask[:, :-1], n)
        recorder = _Recorder(self.temperature)
        with _neutral_generation(self.model):
            sequences: Tensor = self.model.generate(  # type: ignore[operator]
                input_ids.repeat_interleave(n, 0),
                attention_mask=attention_mask.repeat_interleave(n, 0),
                past_key_values=cache,
                generation_config=GenerationConfig(
                    do_sample=True,
                    top_k=0,
                    max_new_tokens=self.max_completion_length,
                    eos_token_id=self.end_tokens,
                    pad_token_id=self.end_tokens[0],
                ),
                logits_processor=LogitsProcessorList([recorder]),
            )
        completions = sequences[:, input_ids.shape[1] :]
        logprobs = recorder.logprobs(sequences)
        ends = torch.isin(completions, torch.tensor(self.end_tokens, device=completions.device))
        # Filler after the end is an end token too: the first one counts, itself included.
        lengths = completions.shape[1] - (ends.cumsum(-1) > 0).sum(-1) + ends.any(-1).long()
        return [
            (completions[row, :length].tolist(), logprobs[row, :length].tolist())
            for row, length in enumerate(lengths.tolist())
        ]

    def _sample(self, prompt: Prompt, group: int, ids: list[int], logprobs: list[float]) -> Sample:
        ended = bool(ids) and ids[-1] in self.end_tokens
        return Sample(prompt.ids, ids, group, logprobs=logprobs, truncated=not ended)


class _Recorder(LogitsProcessor):
    """Applies the temperature and remembers the log-prob of each token drawn from the result.

    `generate` would keep the scores of all tokens, [T, N, V]; this keeps one step of them.
    """

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature
        self.last: Tensor | None = None
        self.steps: list[Tensor] = []

    def __call__(
        self, input_ids: Int[Tensor, "N L"], scores: Float[Tensor, "N V"]
    ) -> Float[Tensor, "N V"]:
        self._record(input_ids)
        scores = scores.float() / self.temperature
        self.last = scores.log_softmax(-1)
        return scores

    def logprobs(self, sequences: Int[Tensor, "N L"]) -> Float[Tensor, "N T"]:
        """The log-probs of all tokens drawn, the last one included."""
        self._record(sequences)
        return torch.stack(self.steps, -1)

    def _record(self, input_ids: Tensor) -> None:
        if self.last is not None:
            self.steps.append(self.last.gather(-1, input_ids[:, -1:]).squeeze(-1))


def _left_padded(
    prompts: list[list[int]], device: torch.device
) -> tuple[Int[Tensor, "P L"], Int[Tensor, "P L"]]:
    ids = [torch.tensor(prompt, device=device) for prompt in prompts]
    real = [torch.ones_like(prompt) for prompt in ids]
    pad = partial(pad_sequence, batch_first=True, padding_side="left")
    return pad(ids), pad(real)


def _prefilled(
    model: PreTrainedModel,
    input_ids: Int[Tensor, "P L"],
    attention_mask: Int[Tensor, "P L"],
    n: int,
) -> DynamicCache:
    """The cache of all prompt tokens but the last, computed once and repeated n times."""
    cache = DynamicCache(config=model.config)
    if input_ids.shape[1]:
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        model.get_decoder()(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        cache.batch_repeat_interleave(n)
    return cache


@contextmanager
def _neutral_generation(model: PreTrainedModel) -> Iterator[None]:
    """Hide the model's own generation settings: top-p or a penalty would bias every log-prob."""
    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
