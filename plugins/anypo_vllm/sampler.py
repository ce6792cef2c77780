"""Sample completions with vLLM, whether it runs in this process or on servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from transformers import PreTrainedModel

from anypo.errors import ConfigError, SamplerError
from anypo.hooks.batch import Prompt, Sample


class Generated(NamedTuple):
    """What vLLM wrote."""

    ids: list[int]  # with the end token, if there was one
    logprobs: list[float]  # nats, of the distribution sampled from


@dataclass(frozen=True)
class Request:
    """Completions of one prompt, to be drawn.

    Attributes:
        prompt: Token ids.
        parameters: What `SamplingParams` and the HTTP interface of vLLM both call so.
    """

    prompt: list[int]
    parameters: dict[str, Any]


class Engine(Protocol):
    """Whatever runs vLLM."""

    max_length: int  # tokens of prompt and completion

    def generate(self, requests: Sequence[Request]) -> list[list[Generated]]:
        """Completions of every request, with the weights loaded last."""
        ...

    def load(self, model: PreTrainedModel) -> None:
        """Take over the weights of `model`, and forget what was computed with others."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class VLLMSampler:
    """Samples with vLLM as `TransformersSampler` does with transformers.

    Args:
        engine: Runs vLLM.
        end_tokens: Token ids that end a completion.
        temperature: Divides the logits.
        max_completion_length: In tokens; a completion that reaches it without end is truncated.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        end_tokens: Sequence[int],
        temperature: float,
        max_completion_length: int,
    ) -> None:
        self.engine = engine
        self.end_tokens = list(end_tokens)
        self.temperature = temperature
        self.max_completion_length = max_completion_length

    def sample(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """See `Sampler`; `logprobs` are those of the distribution sampled from."""
        self._check_room(prompts)
        seeds = torch.randint(2**31, (len(prompts),)).tolist()
        requests = [
            Request(prompt.ids, {**self._parameters(n), "seed": seed})
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        answers = self.engine.generate(requests)
        return [
            self._sample(prompt, group, completion)
            for group, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
            for completion in answer
        ]

    def sync(self, model: PreTrainedModel) -> None:
        """Use the current weights of `model` from now on."""
        self.engine.load(model)

    def close(self) -> None:
        """Release what the engine holds."""
        self.engine.close()

    def _parameters(self, n: int) -> dict[str, Any]:
        """Every parameter that could change the distribution is told, not left to a default."""
        return {
            "n": n,
            "temperature": self.temperature,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_tokens": self.max_completion_length,
            "ignore_eos": True,  # the end tokens of the run end a completion, and no others
            "stop_token_ids": self.end_tokens,
            "skip_special_tokens": False,
            "logprobs": 0,  # of the token drawn alone
        }

    def _check_room(self, prompts: Sequence[Prompt]) -> None:
        longest = max(len(prompt.ids) for prompt in prompts)
        if longest + self.max_completion_length > self.engine.max_length:
            raise ConfigError(
                f"a prompt has {longest} tokens and max_completion_length is "
                f"{self.max_completion_length}, but vLLM takes {self.engine.max_length} together: "
                "raise its max_length"
            )

    def _sample(self, prompt: Prompt, group: int, completion: Generated) -> Sample:
        ids, logprobs = completion
        ended = bool(ids) and ids[-1] in self.end_tokens
        if not ended and len(ids) < self.max_completion_length:
            raise SamplerError(
                f"vLLM broke off a completion after {len(ids)} tokens without an end token"
            )
        return Sample(prompt.ids, ids, group, logprobs=logprobs, truncated=not ended)
