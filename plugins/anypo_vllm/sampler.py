"""Sample completions with vLLM, whether it runs in this process or on servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch

from anypo import ConfigError, Sample, SamplerError, SamplingRequest


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


class Backend(Protocol):
    """Whatever runs vLLM."""

    max_length: int  # tokens of prompt and completion

    def generate(self, requests: Sequence[Request]) -> list[list[Generated]]:
        """Completions of every request, with the weights loaded last."""
        ...

    def load(self, model: Any) -> None:
        """Take over the weights of `model`, and forget what was computed with others."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


class VLLMEngine:
    """Samples with vLLM as `TransformersEngine` does with transformers.

    Args:
        backend: Runs vLLM.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def sample(self, request: SamplingRequest) -> list[Sample]:
        """See `anypo.Engine`."""
        request.refuse_all_but("temperature", "top_p", "top_k", "stop")
        self._check_room(request)
        seeds = torch.randint(2**31, (len(request.prompts),)).tolist()
        requests = [
            Request(prompt.ids, {**_parameters(request), "seed": seed})
            for prompt, seed in zip(request.prompts, seeds, strict=True)
        ]
        answers = self.backend.generate(requests)
        return [
            _sample(request, group, completion)
            for group, answer in enumerate(answers)
            for completion in answer
        ]

    def sync(self, model: Any) -> None:
        """Use the current weights of `model` from now on."""
        self.backend.load(model)

    def close(self) -> None:
        """Release what the engine holds."""
        self.backend.close()

    def _check_room(self, request: SamplingRequest) -> None:
        longest = max(len(prompt.ids) for prompt in request.prompts)
        if longest + request.max_completion_length > self.backend.max_length:
            raise ConfigError(
                f"a prompt has {longest} tokens and max_completion_length is "
                f"{request.max_completion_length}, but vLLM takes {self.backend.max_length} "
                "together: raise its max_length"
            )


def _parameters(request: SamplingRequest) -> dict[str, Any]:
    """Every parameter that could change the distribution is told, not left to a default."""
    return {
        "n": request.n,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k or -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_tokens": request.max_completion_length,
        "ignore_eos": True,  # the end tokens of the run end a completion, and no others
        "stop_token_ids": list(request.end_tokens),
        "stop": list(request.stop),
        "skip_special_tokens": False,
        "logprobs": 0,  # of the token drawn alone
    }


def _sample(request: SamplingRequest, group: int, completion: Generated) -> Sample:
    ids = completion.ids
    sample = request.sample(group, ids, completion.logprobs)
    if not sample.truncated or len(ids) == request.max_completion_length:
        return sample
    if request.stop:  # a server reads the text on from the prompt's, which may add a space
        return replace(sample, truncated=False)
    raise SamplerError(f"vLLM broke off a completion after {len(ids)} tokens without an end token")
